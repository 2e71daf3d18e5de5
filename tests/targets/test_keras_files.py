"""``.weights.h5`` and ``.keras`` files that Keras itself loads, saved of a model."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import keras_models
import numpy as np
import pytest

import initreg
from initreg import InitregError, SmartInit, TargetError
from initreg.cli import main
from tests.targets.test_as_sources import fill, outputs

pytestmark = [
    pytest.mark.framework,
    # Keras, when it writes a variable.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def built(K: Any, seed: int) -> Any:
    """A compiled and trained model, with the state of Adam."""
    K.utils.set_random_seed(seed)
    layers = [K.layers.Dense(4, name="first"), K.layers.BatchNormalization(name="norm")]
    model = K.Sequential([K.layers.Input((3,)), *layers, K.layers.Dense(2, name="head")])
    model.compile(K.optimizers.Adam(0.05), "mse")
    x = np.random.default_rng(seed).random((16, 3)).astype("f4")
    model.fit(x, x[:, :2], verbose=0)
    return model


X = np.random.default_rng(3).random((5, 3)).astype("f4")


def contents(file: Any) -> dict[str, Any]:
    """All groups and datasets of an HDF5 file, with the bytes and the attributes of each."""
    found: dict[str, Any] = {}

    def note(name: str, each: Any) -> None:
        attributes = {key: str(value) for key, value in each.attrs.items()}
        data = None
        if isinstance(each, h5py.Dataset):
            data = each.shape, each.dtype.str, each[()].tobytes()
        found[name] = attributes, data

    with h5py.File(file, "r") as opened:
        opened.visititems(note)
    return found


def test_weights_that_keras_loads(K: Any, tmp_path: Path) -> None:
    """``load_weights`` takes the file, and the model and its optimizer go on as the saved one."""
    model, other = built(K, 0), built(K, 1)
    path = initreg.save(tmp_path / "m.weights.h5", model)
    model.save_weights(str(tmp_path / "theirs.weights.h5"))
    assert contents(path) == contents(tmp_path / "theirs.weights.h5")
    assert not np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    other.load_weights(str(path))
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    for each in (model, other):
        each.fit(X, X[:, :2], verbose=0, shuffle=False)
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_that_keras_loads(K: Any, tmp_path: Path) -> None:
    """``load_model`` makes the same model of the file: config, weights, and the optimizer."""
    model = built(K, 0)
    path = initreg.save(tmp_path / "m.keras", model)
    model.save(str(tmp_path / "theirs.keras"))
    members = []
    for each in (path, tmp_path / "theirs.keras"):
        with zipfile.ZipFile(each) as archive:
            weights = contents(io.BytesIO(archive.read("model.weights.h5")))
            members.append((archive.namelist(), archive.read("config.json"), weights))
    assert members[0] == members[1]
    other = K.models.load_model(str(path))
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    for each in (model, other):
        each.fit(X, X[:, :2], verbose=0, shuffle=False)
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("build", keras_models.MODELS)
@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_they_are_restored_by_initreg(
    build: Callable[[], Any], ending: str, tmp_path: Path
) -> None:
    """The file restores another model of the same kind, whatever Keras calls its layers."""
    model, other = build(), build()
    fill(model, 3)
    path = initreg.save(tmp_path / f"m{ending}", model)
    fill(other, 4)
    assert not np.array_equal(outputs(other), outputs(model))
    SmartInit(path, on_missing="error").init(other)
    assert np.array_equal(outputs(other), outputs(model))


def test_a_manifest_is_that_of_the_file(tmp_path: Path) -> None:
    """Its arrays are called as the file calls them, so that ``verify`` finds them."""
    path = initreg.save(tmp_path / "m.weights.h5", built(keras, 0), manifest=True)
    found = initreg.verify(path)
    assert found.ok
    assert found.manifest is not None
    assert all(each.in_manifest for each in found.arrays)
    assert "layers/dense/vars/0" in {each.name for each in found.arrays}


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A layer that cannot save itself is an error that names the model. Nothing has changed."""

    class Failing(keras.layers.Layer):  # type: ignore[misc]
        fails = False

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(3,), name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

        def save_own_variables(self, store: Any) -> None:
            if self.fails:
                raise ValueError("no")
            store["w"] = self.w

    layer = Failing()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), layer], name="net")
    for ending in (".weights.h5", ".keras"):
        layer.fails = False
        path = initreg.save(tmp_path / f"m{ending}", model)
        before = path.read_bytes()
        with initreg.open(model) as opened:
            layer.fails = True
            with pytest.raises(TargetError, match=r"cannot save the model 'net'.*ValueError: no"):
                initreg.save(path, opened)
        assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.keras", "m.weights.h5"]


def test_what_keras_would_not_load_is_refused(tmp_path: Path) -> None:
    """Rules, arrays without a model, a layer, and options of other formats. Nothing is written."""
    model = built(keras, 0)
    arrays = initreg.load(model)
    for ending in (".weights.h5", ".keras"):
        path = tmp_path / f"m{ending}"
        for source, options, why in (
            (arrays, {}, "only the model can write them"),
            ([model, arrays], {}, "only the model can write them"),
            ([model, built(keras, 1)], {}, "only the model can write them"),
            (model, {"cast": "float16"}, "rules have changed its arrays"),
            (model, {"drop": "*/bias"}, "rules have changed its arrays"),
            (model, {"prefix": "x/"}, "rules have changed its arrays"),
            (model, {"compress": True}, "Leave out compress"),
            (model, {"shard_size": "1GB"}, "Leave out shard_size"),
            (model.layers[0], {}, "'first' is a layer"),
            (model.weights, {}, "only the model can write them"),
        ):
            with pytest.raises(InitregError, match=why):
                initreg.convert(source, path, **options)
    with pytest.raises(InitregError, match=r"files that end in \.weights\.h5"):
        initreg.save(tmp_path / "m.npz", model, format="keras_model")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run(tmp_path: Path) -> None:
    """It finds what is refused, and writes nothing."""
    path = tmp_path / "m.keras"
    assert initreg.convert(built(keras, 0), path, dry_run=True) == path
    with pytest.raises(InitregError, match="only the model can write them"):
        initreg.convert({"a": np.ones(2)}, path, dry_run=True)
    assert list(tmp_path.iterdir()) == []


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that code builds is converted into a file that Keras loads."""
    (tmp_path / "made.py").write_text(
        "import keras\n\n\ndef model():\n    keras.utils.set_random_seed(0)\n"
        "    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "made.py:model", "m.keras"]) == 0
    assert capsys.readouterr().out.startswith("m.keras: 2 arrays, ")
    keras.utils.set_random_seed(0)
    expected = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    found = keras.models.load_model("m.keras")
    assert np.array_equal(found.predict(X, verbose=0), expected.predict(X, verbose=0))
