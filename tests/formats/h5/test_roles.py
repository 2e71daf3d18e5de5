"""initreg_formats.h5.roles: what the config of an archive says that numbered weights are."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import initreg

NORM = {"module": "keras.layers", "class_name": "BatchNormalization", "registered_name": None}


def archive(folder: Path, config: Any, groups: dict[str, tuple[str, int]]) -> Path:
    """An archive with this config. ``groups`` has a layer's name and number of weights by path."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, (name, count) in groups.items():
            group = file.create_group(f"{path}/vars")
            if name:
                group.attrs["name"] = name
            for number in range(count):
                group[str(number)] = np.full(2, number, "f4")
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        file.writestr("model.weights.h5", buffer.getvalue())
    return path


def roles(path: Path) -> dict[str, str]:
    with initreg.open(path) as arrays:
        return {spec.name: spec.role for spec in arrays.specs() if spec.role}


def model(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "functional", "layers": layers}}


def test_the_options_of_a_layer_say_what_its_numbers_are(tmp_path: Path) -> None:
    """Each layer has its own options, and layers of one class are numbered."""
    config = model(
        {**NORM, "config": {"name": "a", "center": False}},
        {**NORM, "config": {"name": "b", "scale": False}},
    )
    groups = {
        "layers/batch_normalization": ("a", 3),
        "layers/batch_normalization_1": ("", 3),  # as in tf_keras, which records no names
    }
    statistics = ["moving_mean", "moving_variance"]
    assert list(roles(archive(tmp_path, config, groups)).items()) == [
        (f"{path}/vars/{number}", role)
        for path, first in zip(groups, ("gamma", "beta"), strict=True)
        for number, role in enumerate([first, *statistics])
    ]


def test_a_layer_of_another_name_is_another_one(tmp_path: Path) -> None:
    """Nothing is said of a group that the file calls otherwise than the config."""
    config = model({**NORM, "config": {"name": "a"}})
    assert not roles(archive(tmp_path, config, {"layers/batch_normalization": ("b", 4)}))


@pytest.mark.parametrize("more", [{"module": "mine"}, {"registered_name": "mine>B"}])
def test_a_class_of_a_user(more: dict[str, str], tmp_path: Path) -> None:
    """It may order its weights in any way, whatever it is called."""
    config = model({**NORM, **more, "config": {"name": "a"}})
    assert not roles(archive(tmp_path, config, {"layers/batch_normalization": ("a", 4)}))


def test_a_quantized_layer(tmp_path: Path) -> None:
    """It may have a bias before its kernel."""
    dense = {"module": "keras.layers", "class_name": "Dense"}
    policy = {"class_name": "QuantizedDTypePolicy", "config": {"mode": "gptq"}}
    config = model(
        {**dense, "config": {"name": "a", "dtype": policy}},
        {**dense, "config": {"name": "b", "dtype": {"class_name": "DTypePolicy"}}},
    )
    groups = {"layers/dense": ("a", 2), "layers/dense_1": ("b", 2)}
    assert roles(archive(tmp_path, config, groups)) == {"layers/dense_1/vars/0": "kernel"}


def nested(depth: int) -> dict[str, Any]:
    config = {**NORM, "config": {"name": "a"}}
    for _ in range(depth):
        config = {**NORM, "config": {"name": "a", "layer": config}}
    return model(config)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[1",
        "[" * 100_000,
        "null",
        json.dumps(model(None)),
        json.dumps(model({**NORM, "config": []})),
        json.dumps(model({**NORM, "class_name": [1], "config": {"name": 3, "dtype": [1]}})),
        json.dumps(nested(200)),
        # Paths of a million letters, a hundred thousand of them.
        json.dumps(model({"class_name": "x" * 1_000_000, **model(*[NORM] * 100_000)})),
        json.dumps(model({**NORM, "config": {"y" * 1_000_000: model(*[NORM] * 100_000)}})),
    ],
    ids=range(10),
)
def test_a_config_that_is_something_else(config: str, tmp_path: Path) -> None:
    """The arrays are read, whatever is beside them, and it takes no memory."""
    path = archive(tmp_path, config, {"layers/batch_normalization": ("b", 1)})
    assert not roles(path)
    assert [a.tolist() for a in initreg.load(path).values()] == [[0, 0]]
