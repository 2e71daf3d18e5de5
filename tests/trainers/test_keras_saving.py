"""Fits of Keras 3 and tf_keras that are really run: what is saved, and what is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import TargetError

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]


def test_what_is_saved(library: Any, tmp_path: Path) -> None:
    """After each epoch, a .weights.h5 file that Keras loads, and a sidecar. The weights and the
    optimizer are those of the model."""
    model = library.model()
    library.fit(model, [library.trainers.ModelSaver(tmp_path)], 2)
    assert library.files(tmp_path) == [
        "model-2.weights.h5",
        "model-2.weights.h5.resume.json",
        "model-4.weights.h5",
        "model-4.weights.h5.resume.json",
    ]
    loaded = library.load(tmp_path / "model-4.weights.h5")
    assert library.state(loaded) == library.state(model)
    point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (2, 4, ())


def test_a_file_as_keras_writes_it(library: Any, tmp_path: Path) -> None:
    """It has the same arrays, of the same dtypes, under the same names as the file of save_weights,
    and those of the optimizer are among them."""
    model = library.model()
    library.fit(model, [library.trainers.ModelSaver(tmp_path)], 1)
    model.save_weights(str(tmp_path / "theirs.weights.h5"))
    ours = initreg.load(tmp_path / "model-2.weights.h5")
    theirs = initreg.load(tmp_path / "theirs.weights.h5")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name, strict=True)
    assert any(name.startswith("optimizer/") for name in ours)


def test_which_are_kept(library: Any, tmp_path: Path) -> None:
    """The newest so many, over two runs. The last epoch is saved whatever every_n_epochs says."""
    for epochs, kept in ((3, [4, 6]), (7, [12, 14])):
        saver = library.trainers.ModelSaver(tmp_path, max_to_keep=2, every_n_epochs=2)
        library.fit(library.model(), [saver], epochs)
        assert library.files(tmp_path) == sorted(
            f"model-{step}.weights.h5{ending}" for step in kept for ending in ("", ".resume.json")
        )


def test_the_best_are_kept(library: Any, tmp_path: Path) -> None:
    """The weights of the epochs with the smallest and the largest value, and these values."""
    best = library.trainers.MinSaver(tmp_path, "score")
    worst = library.trainers.MaxSaver(tmp_path, "score", filename="top.weights.h5")
    seen: list[Any] = []

    class Seen(library.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(library.weights(self.model))

    scores = library.given(score=[3.0, 1.0, float("nan"), 5.0, 2.0])
    library.model().fit(
        library.x, library.y, 4, 5, callbacks=[scores, Seen(), best, worst], verbose=0
    )
    for name, epoch, value in (("min-score", 2, 1.0), ("top", 4, 5.0)):
        assert library.weights(library.load(tmp_path / f"{name}.weights.h5")) == seen[epoch - 1]
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert about == {"monitor": "score", "value": value, "epoch": epoch, "step": 2 * epoch}


def test_nothing_to_monitor(library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A quantity that is not logged is reported once, with those that are."""
    saver = library.trainers.MinSaver(tmp_path, "val_los")
    with caplog.at_level(logging.WARNING, "initreg"):
        library.model().fit(library.x, library.y, 4, 2, callbacks=[saver], verbose=0)
    (said,) = [each.getMessage() for each in caplog.records if each.name == "initreg"]
    assert "there is no 'val_los'; logged: loss" in said
    assert not library.files(tmp_path)


@pytest.mark.parametrize("name", ["best.h5", "a/best.weights.h5"])
def test_a_name_that_keras_does_not_load(library: Any, tmp_path: Path, name: str) -> None:
    """It is refused when the saver is made."""
    with pytest.raises(ValueError, match=r"give a file name that ends in '\.weights\.h5'"):
        library.trainers.MinSaver(tmp_path, filename=name)


def test_a_full_disk(
    library: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Training goes on, the old files stay, nothing is left over, and the log says why. It happens
    more often than HDF5 would survive it."""
    library.fit(library.model(20_000), [library.trainers.ModelSaver(tmp_path)], 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    saver = library.trainers.ModelSaver(tmp_path)
    best = library.trainers.MinSaver(tmp_path, "loss")
    with full_disk(100_000), caplog.at_level(logging.WARNING, "initreg"):
        _, history = library.fit(library.model(20_000), [best, saver], 5)
    assert history.epoch == [1, 2, 3, 4]
    said = [r.getMessage() for r in caplog.records if "was not saved" in r.getMessage()]
    assert len([text for text in said if "epoch" in text and "min-loss" not in text]) == 4
    assert all("training goes on: " in text and "File too large" in text for text in said)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert best.best is None


def test_a_layer_that_fails_to_save(
    library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in a layer's own code, or in Keras, is logged like a full disk. Training goes on,
    the old files stay, and the next save is complete."""

    class Fragile(library.keras.layers.Dense):  # type: ignore[misc, name-defined]
        fails = False

        def save_own_variables(self, store: Any) -> None:
            if self.fails:
                raise RuntimeError("no more ink")
            super().save_own_variables(store)

    class Break(library.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            layer.fails = epoch in (1, 2)

    layer = Fragile(1)
    model = library.keras.Sequential([library.keras.layers.Input((3,)), layer])
    model.compile("sgd", "mse")
    best = library.trainers.MinSaver(tmp_path, "score")
    given = library.given(score=[3.0, 2.0, 1.0, 5.0])
    saver = library.trainers.ModelSaver(tmp_path)
    with caplog.at_level(logging.WARNING, "initreg"):
        _, history = library.fit(model, [Break(), given, best, saver], 4)
    assert history.epoch == [0, 1, 2, 3]
    said = [r.getMessage() for r in caplog.records if "was not saved" in r.getMessage()]
    assert len(said) == 4
    assert all("Keras does not save the weights of model" in text for text in said)
    assert all("RuntimeError: no more ink" in text for text in said)
    names = [name for name in library.files(tmp_path) if name.endswith(".h5")]
    assert names == ["min-score.weights.h5", "model-2.weights.h5", "model-8.weights.h5"]
    assert (best.best, best.best_epoch) == (3.0, 1)
    point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (4, 8, ())


@pytest.mark.parametrize("library", ["tf_keras"], indirect=True)
def test_a_legacy_optimizer(library: Any, tmp_path: Path) -> None:
    """It is refused, because tf_keras would not save its state in a .weights.h5 file."""
    model = library.model(optimizer=library.keras.optimizers.legacy.Adam(0.01))
    with pytest.raises(TargetError, match=r"compile the model with the optimizer of tf_keras\.opt"):
        library.fit(model, [library.trainers.ModelSaver(tmp_path)], 1)
    assert not library.files(tmp_path)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"every_n_epochs": 0}, "is less than 1"),
        ({"max_to_keep": -1}, "is negative"),
        ({"keep_checkpoint_every_n_hours": 0}, "is not positive"),
    ],
)
def test_options_that_are_out_of_range(library: Any, options: dict[str, Any], what: str) -> None:
    """They are refused when the saver is made."""
    with pytest.raises(ValueError, match=what):
        library.trainers.ModelSaver("run", **options)
