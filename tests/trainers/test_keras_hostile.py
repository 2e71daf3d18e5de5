"""Runs of Keras 3 and tf_keras that are resumed in a stranger's folder, with hostile sidecars."""

from __future__ import annotations

import copy
import importlib
import json
import random
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, ResumeWarning

X = np.random.default_rng(0).random((8, 3)).astype("f4")
Y = X.sum(1, keepdims=True)
Place = tuple[str | int, ...]

pytestmark = [
    pytest.mark.framework,
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]


class Run:
    """A run of one epoch in ``folder/run``, its sidecar, and files that must not be touched."""

    def __init__(self, name: str, folder: Path) -> None:
        self.keras = importlib.import_module(name)
        self.trainers = importlib.import_module(f"initreg.trainers.{name}")
        self.folder = folder / "run"
        self.log = folder / "log.csv"
        model, callbacks = self.model(), self.callbacks()
        self.trainers.resume(model, callbacks)
        model.fit(X, Y, 4, 1, callbacks=callbacks, verbose=0)
        (self.sidecar,) = self.folder.glob("*.resume.json")
        self.content = json.loads(self.sidecar.read_text())
        self.victim = folder / "victim.weights.h5"
        self.victim.write_bytes(b"precious")
        self.rows = self.log.read_bytes()
        self.files = {path: path.read_bytes() for path in self.folder.iterdir()}

    def model(self) -> Any:
        layers = self.keras.layers
        model = self.keras.Sequential(
            [layers.Input((3,)), layers.Dense(2), layers.Dropout(0.5, seed=1), layers.Dense(1)]
        )
        model.compile(self.keras.optimizers.Adam(0.01), "mse")
        return model

    def callbacks(self) -> list[Any]:
        """The last but one writes a log, the last saves. There is a generator of each kind."""
        kinds = (np.random.MT19937, np.random.Philox, np.random.PCG64, np.random.SFC64)
        self.generators = {kind.__name__: np.random.Generator(kind(0)) for kind in kinds}
        named = initreg.RandomStates(python=random.Random(0), **self.generators)
        known = self.keras.callbacks
        return [
            known.EarlyStopping("loss", patience=3, restore_best_weights=True),
            known.ReduceLROnPlateau("loss"),
            known.ModelCheckpoint(
                str(self.folder / "x.weights.h5"), monitor="loss", save_weights_only=True
            ),
            known.CSVLogger(str(self.log)),
            self.trainers.ModelSaver(self.folder, max_to_keep=1, objects={"random": named}),
        ]

    def write(self, place: Place, value: Any) -> None:
        """Restore the folder as the run left it, except for one place in the sidecar."""
        for path, data in self.files.items():
            path.write_bytes(data)
        content = copy.deepcopy(self.content)
        inner = content
        for step in place[:-1]:
            inner = inner[step]
        if value == "DELETE":
            del inner[place[-1]]
        else:
            inner[place[-1]] = value
        self.sidecar.write_text(json.dumps(content))

    def go_on(self, model: Any) -> None:
        """Resume, up to where the first batch would be trained. Then draw from the generators."""
        callbacks = self.callbacks()
        try:
            for each in callbacks:
                each.set_model(model)
            self.trainers.resume(model, callbacks)
            for each in callbacks:
                each.on_train_begin()
        finally:
            log = getattr(callbacks[-2], "csv_file", None)
            if log is not None:
                log.close()
            for each in (*self.generators.values(), np.random, random):
                assert 0 <= each.random() < 1


@pytest.fixture(params=["keras", "tf_keras"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    before = np.random.get_state()
    yield Run(request.param, tmp_path)
    np.random.set_state(before)


HOSTILE = [
    (("states",), 5),
    (("states",), {"__tuple__": []}),
    (("states", "ModelSaver", "keeping", "recent"), [["../victim", 0.0], ["model-1", 1.0]]),
    (("states", "ModelSaver", "name"), "../victim"),
    (("states", "ModelSaver", "saved_at"), "x"),
    (("states", "ModelSaver", "keeping"), None),
    (("states", "ReduceLROnPlateau", "best"), "x"),
    (("states", "ReduceLROnPlateau"), 5),
    (("states", "CSVLogger", "size"), -1),
    (("states", "CSVLogger", "size"), "x"),
    (("states", "CSVLogger"), []),
    (("states", "model"), []),
    (("states", "model", "seeds"), [1]),
    (("states", "model", "seeds"), [{"__array__": ["uint32", [1], "AAAAAA=="]}]),
    (("states", "model", "learning_rate"), "x"),
    (("states", "model", "stopped"), "DELETE"),
    (("states", "random", "numpy", "state", "pos"), 10**8),
    (("states", "random", "generators", "Philox", "buffer_pos"), -(10**8)),
    (("states", "random", "python"), [3]),
    (("files", ".."), {"size": 1, "crc32c": "00000000"}),
    (("files", "a/b"), {"size": 1, "crc32c": "00000000"}),
]


def test_the_sidecar_of_a_stranger(run: Run) -> None:
    """It is skipped, or it is one error that names the checkpoint. No file elsewhere is touched,
    and no log is cut."""
    model = run.model()
    for place, value in HOSTILE:
        run.write(place, value)
        if place == ("states",) or place[0] == "files":
            with pytest.warns(ResumeWarning, match="1 incomplete checkpoint skipped"):
                assert run.trainers.resume(model, run.callbacks()).point is None
        else:
            with pytest.raises(InitregError, match=re.escape(str(run.folder))):
                run.go_on(model)
        assert run.victim.read_bytes() == b"precious", place
        assert run.log.read_bytes() == run.rows, place


VALUES = [
    *(None, True, "x", -1, 1.5, 1 << 40, 10**400, [], {}, "../victim", "DELETE"),
    *({"__float__": "nan"}, {"__float__": 10**400}, {"__tuple__": []}),
    {"__array__": ["<f4", [2], "AAAAAAAAAAA="]},
    {"__tuple__": ["MT19937", {"__array__": ["uint32", [624], "AAAA" * 832]}, 10**9, 0, 0.0]},
    [["../victim", 0.0], ["a", 1.0], ["../victim", 0.0]],
]


def places(content: Any, place: Place = ()) -> Iterator[Place]:
    """Each place in JSON. In long lists, only the first and the last."""
    if place:
        yield place
    keys = list(content) if isinstance(content, dict) else []
    if isinstance(content, list):
        keys = list(range(len(content)))
        keys = keys if len(keys) < 50 else [keys[0], keys[-1]]
    for key in keys:
        yield from places(content[key], (*place, key))


def test_any_value_in_any_place(run: Run) -> None:
    """With 200 out of 2,000 such sidecars, the run goes on, or there is an InitregError. Nothing
    else is touched."""
    model = run.model()
    every = [(place, value) for place in places(run.content) for value in VALUES]
    outcomes = set()
    for place, value in random.Random(0).sample(every, 200):
        run.write(place, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResumeWarning)
            try:
                run.go_on(model)
            except InitregError as error:
                outcomes.add(type(error).__name__)
            else:
                outcomes.add("goes on")
        assert run.victim.read_bytes() == b"precious", (place, value)
    assert {"goes on", "DamagedFile"} <= outcomes
