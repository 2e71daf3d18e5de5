"""Fits of Keras 3 and tf_keras that are really run: saved, stopped, resumed."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import initreg
from initreg import InitregError, MismatchError, ResumeWarning, TargetError

X = np.random.default_rng(0).random((8, 3)).astype("f4")
Y = X.sum(1, keepdims=True)

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]


class Library(NamedTuple):
    """A Keras, and what initreg has for it."""

    keras: Any
    trainers: Any

    def model(self, units: int = 2, dropout: bool = False, optimizer: Any = None) -> Any:
        """Compiled, with the same weights each time."""
        layers = self.keras.layers
        model = self.keras.Sequential(
            [
                layers.Input((3,)),
                layers.Dense(units, kernel_initializer="ones"),
                *([layers.Dropout(0.5, seed=1)] if dropout else []),
                layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        model.compile(optimizer or self.keras.optimizers.Adam(0.01), "mse")
        return model

    def fit(self, model: Any, callbacks: list[Any], epochs: int, **options: Any) -> Any:
        """As a user of initreg fits; returns where it started, and the History."""
        start = self.trainers.resume(model, callbacks)
        options = {"initial_epoch": start.initial_epoch, "verbose": 0, "shuffle": False, **options}
        return start, model.fit(X, Y, 4, epochs, callbacks=callbacks, **options)

    def given(self, **logs: list[float]) -> Any:
        """A callback that logs given values."""

        class Given(self.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
            def on_epoch_end(self, epoch: int, found: Any = None) -> None:
                found.update({name: values[epoch] for name, values in logs.items()})

        return Given()


@pytest.fixture(params=["keras", "tf_keras"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(
        importlib.import_module(request.param),
        importlib.import_module(f"initreg.trainers.{request.param}"),
    )


def load(library: Library, path: Path) -> Any:
    """A model with the weights and the optimizer that Keras reads from a file."""
    model = library.model()
    model.optimizer.build(model.trainable_variables)
    model.load_weights(str(path))
    return model


def weights(model: Any) -> list[Any]:
    return [each.tolist() for each in model.get_weights()]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- saving -------------------------------------------------------------------------------------


def test_what_is_saved(library: Library, tmp_path: Path) -> None:
    """A .weights.h5 file that Keras loads, after each epoch, and a sidecar."""
    model = library.model()
    library.fit(model, [library.trainers.ModelSaver(tmp_path)], 2)
    assert files(tmp_path) == [
        "model-2.weights.h5",
        "model-2.weights.h5.resume.json",
        "model-4.weights.h5",
        "model-4.weights.h5.resume.json",
    ]
    assert weights(load(library, tmp_path / "model-4.weights.h5")) == weights(model)
    point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (2, 4, ())


def test_a_file_as_keras_writes_it(library: Library, tmp_path: Path) -> None:
    """The same arrays under the same names as save_weights, the optimizer's among them."""
    model = library.model()
    library.fit(model, [library.trainers.ModelSaver(tmp_path)], 1)
    model.save_weights(str(tmp_path / "theirs.weights.h5"))
    ours = initreg.load(tmp_path / "model-2.weights.h5")
    theirs = initreg.load(tmp_path / "theirs.weights.h5")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert any(name.startswith("optimizer/") for name in ours)


def test_which_stay(library: Library, tmp_path: Path) -> None:
    """The newest so many, over two runs; the last epoch is saved whatever every_n_epochs says."""
    for epochs, kept in ((3, [4, 6]), (7, [12, 14])):
        saver = library.trainers.ModelSaver(tmp_path, max_to_keep=2, every_n_epochs=2)
        library.fit(library.model(), [saver], epochs)
        assert files(tmp_path) == sorted(
            f"model-{step}.weights.h5{ending}" for step in kept for ending in ("", ".resume.json")
        )


def test_the_best_are_kept(library: Library, tmp_path: Path) -> None:
    """The weights of the epoch with the smallest and the largest value, and what it was."""
    best = library.trainers.MinSaver(tmp_path, "score")
    worst = library.trainers.MaxSaver(tmp_path, "score", filename="top.weights.h5")
    seen: list[Any] = []

    class Seen(library.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(weights(self.model))

    scores = library.given(score=[3.0, 1.0, float("nan"), 5.0, 2.0])
    library.model().fit(X, Y, 4, 5, callbacks=[scores, Seen(), best, worst], verbose=0)
    for name, epoch, value in (("min-score", 2, 1.0), ("top", 4, 5.0)):
        assert weights(load(library, tmp_path / f"{name}.weights.h5")) == seen[epoch - 1]
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert about == {"monitor": "score", "value": value, "epoch": epoch, "step": 2 * epoch}


def test_nothing_to_monitor(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A quantity that is not logged is told once, with those that are."""
    saver = library.trainers.MinSaver(tmp_path, "val_los")
    with caplog.at_level(logging.WARNING, "initreg"):
        library.model().fit(X, Y, 4, 2, callbacks=[saver], verbose=0)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "there is no 'val_los'; logged: loss" in said
    assert not files(tmp_path)


@pytest.mark.parametrize("name", ["best.h5", "a/best.weights.h5"])
def test_a_name_that_keras_does_not_load(library: Library, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"is no name that ends in '\.weights\.h5'"):
        library.trainers.MinSaver(tmp_path, filename=name)


def test_a_full_disk(
    library: Library,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Training goes on, what stood stands, nothing is left over, and the log says why. More often
    than HDF5 would survive it."""
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


# --- resuming -----------------------------------------------------------------------------------


def test_a_run_in_two_parts(library: Library, tmp_path: Path) -> None:
    """Ends in the weights, the optimizer and the states of one in one part."""

    def make(name: str) -> tuple[Any, list[Any]]:
        callbacks = library.keras.callbacks
        scores = library.given(score=[5.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.0, 3.0])
        early = callbacks.EarlyStopping("score", mode="min", patience=20, restore_best_weights=True)
        plateau = callbacks.ReduceLROnPlateau("score", mode="min", patience=2, factor=0.5)
        check = callbacks.ModelCheckpoint(
            str(tmp_path / f"{name}.check.weights.h5"),
            "score",
            mode="min",
            save_best_only=True,
            save_weights_only=True,
        )
        saver = library.trainers.ModelSaver(tmp_path / name)
        return library.model(dropout=True), [scores, early, plateau, check, saver]

    if library.keras.__name__ == "tf_keras":
        library.keras.backend.experimental.enable_tf_random_generator()
    whole, callbacks_of_whole = make("whole")
    library.fit(whole, callbacks_of_whole, 7)
    parts: Any = None
    for epochs in (4, 7):
        parts, callbacks = make("parts")
        start, _ = library.fit(parts, callbacks, epochs)
    assert start.epoch == 4
    assert weights(parts) == weights(whole)
    early, early_of_whole = callbacks[1], callbacks_of_whole[1]
    assert (early.best, early.wait, early.best_epoch) == (4.0, 5, 1)
    assert [w.tolist() for w in early.best_weights] == [
        w.tolist() for w in early_of_whole.best_weights
    ]
    plateau, plateau_of_whole = callbacks[2], callbacks_of_whole[2]
    assert (plateau.best, plateau.wait) == (plateau_of_whole.best, plateau_of_whole.wait)
    rates = [float(np.asarray(model.optimizer.learning_rate)) for model in (parts, whole)]
    assert rates[0] == rates[1] == pytest.approx(0.0025)  # halved twice
    assert callbacks[3].best == 4.0


@pytest.mark.parametrize("kind", ["schedule", "momentum", "average", "scaled loss"])
def test_optimizers(library: Library, tmp_path: Path, kind: str) -> None:
    """In two parts as in one: a rate by the step, slots, averages, a scale of the loss."""
    optimizers = library.keras.optimizers

    def make() -> Any:
        if kind == "schedule":
            return optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))
        if kind == "momentum":
            return optimizers.SGD(0.01, momentum=0.9, nesterov=True)
        if kind == "average":
            return optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3)
        where = library.keras.mixed_precision if kind_of_2 else optimizers
        return where.LossScaleOptimizer(optimizers.Adam(0.01))

    kind_of_2 = library.keras.__name__ == "tf_keras"
    found = []
    for parts in ([4], [1, 2, 4]):
        for epochs in parts:
            model = library.model(optimizer=make())
            saver = library.trainers.ModelSaver(tmp_path / str(len(parts)))
            library.fit(model, [saver], epochs)
        found.append(weights(model))
    assert found[0] == found[1]


def test_a_stop_lasts(library: Library, tmp_path: Path) -> None:
    """A training that EarlyStopping ended is not taken up again, unless the user says so."""

    def make() -> list[Any]:
        early = library.keras.callbacks.EarlyStopping("score", mode="min", patience=1)
        return [library.given(score=[1.0] * 9), early, library.trainers.ModelSaver(tmp_path)]

    library.fit(library.model(), make(), 9)
    assert initreg.resume(tmp_path).epoch == 2  # type: ignore[union-attr]
    start, history = library.fit(library.model(), make(), 9)
    assert (start.stopped, start.epoch, start.initial_epoch) == (True, 2, sys.maxsize)
    assert history.epoch[2:] == []
    _, history = library.fit(library.model(), make(), 3, initial_epoch=start.epoch)
    assert history.epoch[-1] == 2


def test_a_first_start(library: Library, tmp_path: Path) -> None:
    """There is no folder: the first epoch is 0, and the model is left as it is."""
    model = library.model()
    start = library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path / "run")])
    assert (start.initial_epoch, start.point, start.stopped) == (0, None, False)
    assert weights(model) == weights(library.model())


def test_a_torn_checkpoint_is_passed_over(library: Library, tmp_path: Path) -> None:
    """The one before it is taken, with a warning."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 2)
    path = tmp_path / "model-4.weights.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(
        ResumeWarning, match=r"model-4\.weights\.h5: has [\d,]+ bytes, but [\d,]+ were saved"
    ):
        start, _ = library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 2)
    assert start.epoch == 1
    assert initreg.resume(tmp_path, verify=True).epoch == 2  # type: ignore[union-attr]


def test_a_flipped_bit_is_found_when_asked(library: Library, tmp_path: Path) -> None:
    """verify=True compares the checksums that the sidecar keeps; HDF5 has none."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 2)
    path = tmp_path / "model-4.weights.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(ResumeWarning, match="fails its crc32c"):
        start = library.trainers.resume(
            library.model(), [library.trainers.ModelSaver(tmp_path)], verify=True
        )
    assert start.epoch == 1


def test_objects_and_generators(library: Library, tmp_path: Path) -> None:
    """Random generators go on where they stood after the epoch, and callbacks that have states."""
    import tensorflow as tf

    class Counter(library.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        count = 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.count += 1

        def state_dict(self) -> Any:
            return self.count

        def load_state_dict(self, state: Any) -> None:
            self.count = state

    def run(epochs: int) -> Any:
        rng, noise = np.random.default_rng(1), tf.random.Generator.from_seed(2)

        class Draw(library.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                rng.random()
                noise.uniform([])

        objects = {
            "random": initreg.RandomStates(data=rng),
            "noise": library.trainers.GeneratorStates(noise=noise),
        }
        saver = library.trainers.ModelSaver(tmp_path, objects=objects)
        counter = Counter()
        library.fit(library.model(), [Draw(), counter, saver], epochs)
        return rng.random(), noise.uniform([]).numpy(), counter.count

    rng, noise = np.random.default_rng(1), tf.random.Generator.from_seed(2)
    wanted = [(rng.random(), noise.uniform([]).numpy()) for _ in range(6)]
    assert run(2) == (*wanted[2], 2)
    assert run(5) == (*wanted[5], 5)


def test_generators_of_other_names(library: Library, tmp_path: Path) -> None:
    """They are refused, and nothing is changed."""
    import tensorflow as tf

    one = library.trainers.GeneratorStates(a=tf.random.Generator.from_seed(1))
    two = library.trainers.GeneratorStates(b=tf.random.Generator.from_seed(2))
    before = two.state_dict()["b"].tolist()
    with pytest.raises(InitregError, match=r"\['a'\] were saved, and there are \['b'\]"):
        two.load_state_dict(one.state_dict())
    assert two.state_dict()["b"].tolist() == before


def test_a_log_loses_the_epochs_that_are_trained_again(library: Library, tmp_path: Path) -> None:
    """A CSVLogger goes on where the checkpoint was saved."""

    def make() -> list[Any]:
        log = library.keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
        return [log, library.trainers.ModelSaver(tmp_path / "run", every_n_epochs=2)]

    library.fit(library.model(), make(), 3)
    (tmp_path / "run/model-6.weights.h5").unlink()  # as if it was killed in its third epoch
    library.fit(library.model(), make(), 4)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2", "3"]


def test_callbacks_that_came_and_went(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names what has no state, and the states that nobody takes."""
    best = library.trainers.MinSaver(tmp_path / "best", "loss")
    library.fit(library.model(), [best, library.trainers.ModelSaver(tmp_path)], 1)
    early = library.keras.callbacks.EarlyStopping("loss")
    with caplog.at_level(logging.WARNING, "initreg"):
        library.trainers.resume(library.model(), [early, library.trainers.ModelSaver(tmp_path)])
    assert "has no state of 'EarlyStopping', which begins anew" in caplog.text
    assert "has a state of 'MinSaver', which is not there to take it" in caplog.text


# --- what does not fit --------------------------------------------------------------------------


def test_the_saver_comes_last(library: Library, tmp_path: Path) -> None:
    """Otherwise it would save states of before the epoch."""
    saver = library.trainers.ModelSaver(tmp_path)
    early = library.keras.callbacks.EarlyStopping("loss")
    for callbacks in ([saver, early], [early], []):
        with pytest.raises(InitregError, match="the last of the callbacks has to be a ModelSaver"):
            library.trainers.resume(library.model(), callbacks)


def test_the_saver_has_to_know_the_others(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without resume() it saves the model alone, and says what to do."""
    saver = library.trainers.ModelSaver(tmp_path)
    with caplog.at_level(logging.WARNING, "initreg"):
        library.model().fit(X, Y, 4, 1, callbacks=[saver], verbose=0)
    assert "call resume(model, callbacks) before fit, also on a first start" in caplog.text
    assert initreg.resume(tmp_path).epoch == 1  # type: ignore[union-attr]


def test_names_that_are_taken(library: Library, tmp_path: Path) -> None:
    """An object may not be called as a callback is."""
    objects = {"EarlyStopping": initreg.RandomStates()}
    saver = library.trainers.ModelSaver(tmp_path, objects=objects)
    early = library.keras.callbacks.EarlyStopping("loss")
    with pytest.raises(InitregError, match=r"'EarlyStopping': \.\.\.}: the name is taken"):
        library.trainers.resume(library.model(), [early, saver])


def test_a_model_that_is_not_built(library: Library, tmp_path: Path) -> None:
    """It says how to build it."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.keras.Sequential([library.keras.layers.Dense(1)])
    with pytest.raises(TargetError, match="is not built"):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])


def test_another_model(library: Library, tmp_path: Path) -> None:
    """Shapes that differ are one error, and nothing is changed."""
    library.fit(library.model(2), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.model(5)
    before = weights(model)
    with pytest.raises(MismatchError):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])
    assert weights(model) == before


def test_another_optimizer(library: Library, tmp_path: Path) -> None:
    """Its variables are counted, as Keras would drop them in silence."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.model(optimizer=library.keras.optimizers.SGD(0.1))
    before = weights(model)
    with pytest.raises(MismatchError, match="compile the model with the optimizer that it was"):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])
    assert weights(model) == before


def test_another_number_of_seeds(tmp_path: Path) -> None:
    """A Dropout more or less is another model, though the weights are the same."""
    keras = Library(
        importlib.import_module("keras"), importlib.import_module("initreg.trainers.keras")
    )
    keras.fit(keras.model(), [keras.trainers.ModelSaver(tmp_path)], 1)
    with pytest.raises(InitregError, match=r"has 1 seeds .* and 0 were saved"):
        keras.trainers.resume(keras.model(dropout=True), [keras.trainers.ModelSaver(tmp_path)])


def test_a_legacy_optimizer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """tf_keras saves no state of one in .weights.h5: it is refused rather than lost."""
    tf_keras = importlib.import_module("tf_keras")
    trainers = importlib.import_module("initreg.trainers.tf_keras")
    library = Library(tf_keras, trainers)
    model = library.model(optimizer=tf_keras.optimizers.legacy.Adam(0.01))
    with pytest.raises(TargetError, match=r"compile the model with the optimizer of tf_keras\.opt"):
        library.fit(model, [trainers.ModelSaver(tmp_path)], 1)
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"every_n_epochs": 0}, "is no number of epochs"),
        ({"max_to_keep": -1}, "is no number of checkpoints"),
        ({"keep_checkpoint_every_n_hours": 0}, "is no time"),
    ],
)
def test_options_that_mean_nothing(library: Library, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        library.trainers.ModelSaver("run", **options)
