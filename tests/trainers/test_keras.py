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


def slots(model: Any) -> list[Any]:
    """The variables of the model's optimizer: its step, its rate, its slots."""
    variables = model.optimizer.variables
    return [each.numpy().tolist() for each in (variables() if callable(variables) else variables)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- saving -------------------------------------------------------------------------------------


def test_what_is_saved(library: Library, tmp_path: Path) -> None:
    """After each epoch, a .weights.h5 file that Keras loads, and a sidecar. The weights and the
    optimizer are those of the model."""
    model = library.model()
    library.fit(model, [library.trainers.ModelSaver(tmp_path)], 2)
    assert files(tmp_path) == [
        "model-2.weights.h5",
        "model-2.weights.h5.resume.json",
        "model-4.weights.h5",
        "model-4.weights.h5.resume.json",
    ]
    loaded = load(library, tmp_path / "model-4.weights.h5")
    assert (weights(loaded), slots(loaded)) == (weights(model), slots(model))
    point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (2, 4, ())


def test_a_file_as_keras_writes_it(library: Library, tmp_path: Path) -> None:
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


def test_which_are_kept(library: Library, tmp_path: Path) -> None:
    """The newest so many, over two runs. The last epoch is saved whatever every_n_epochs says."""
    for epochs, kept in ((3, [4, 6]), (7, [12, 14])):
        saver = library.trainers.ModelSaver(tmp_path, max_to_keep=2, every_n_epochs=2)
        library.fit(library.model(), [saver], epochs)
        assert files(tmp_path) == sorted(
            f"model-{step}.weights.h5{ending}" for step in kept for ending in ("", ".resume.json")
        )


def test_the_best_are_kept(library: Library, tmp_path: Path) -> None:
    """The weights of the epochs with the smallest and the largest value, and these values."""
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
    """A quantity that is not logged is reported once, with those that are."""
    saver = library.trainers.MinSaver(tmp_path, "val_los")
    with caplog.at_level(logging.WARNING, "initreg"):
        library.model().fit(X, Y, 4, 2, callbacks=[saver], verbose=0)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "there is no 'val_los'; logged: loss" in said
    assert not files(tmp_path)


@pytest.mark.parametrize("name", ["best.h5", "a/best.weights.h5"])
def test_a_name_that_keras_does_not_load(library: Library, tmp_path: Path, name: str) -> None:
    """It is refused when the saver is made."""
    with pytest.raises(ValueError, match=r"give a file name that ends in '\.weights\.h5'"):
        library.trainers.MinSaver(tmp_path, filename=name)


def test_a_full_disk(
    library: Library,
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
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
    names = [name for name in files(tmp_path) if name.endswith(".h5")]
    assert names == ["min-score.weights.h5", "model-2.weights.h5", "model-8.weights.h5"]
    assert (best.best, best.best_epoch) == (3.0, 1)
    point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (4, 8, ())


# --- resuming -----------------------------------------------------------------------------------


def test_a_run_in_two_parts(library: Library, tmp_path: Path) -> None:
    """It ends in the weights, the optimizer, the states, the history, the log and the random
    numbers of an uninterrupted run. The second part takes nothing from the process of the first:
    its callbacks and its generators are new."""

    def run(name: str, epochs: int) -> tuple[int, dict[str, Any]]:
        callbacks = library.keras.callbacks
        scores = library.given(score=[5.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.0, 3.0])
        rng = np.random.default_rng(1)

        class Draw(callbacks.Callback):  # type: ignore[misc, name-defined]
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                logs["drawn"] = rng.random()
                self.weights = weights(self.model)

        draw = Draw()
        early = callbacks.EarlyStopping("score", mode="min", patience=20, restore_best_weights=True)
        plateau = callbacks.ReduceLROnPlateau(
            "score", mode="min", patience=2, factor=0.5, cooldown=1
        )
        check = callbacks.ModelCheckpoint(
            str(tmp_path / f"{name}.check.weights.h5"),
            "score",
            mode="min",
            save_best_only=True,
            save_weights_only=True,
        )
        log = callbacks.CSVLogger(str(tmp_path / f"{name}.csv"))
        best = library.trainers.MinSaver(tmp_path / name, "score")
        saver = library.trainers.ModelSaver(
            tmp_path / name, objects={"random": initreg.RandomStates(data=rng)}
        )
        model, history = library.model(dropout=True), callbacks.History()
        start, _ = library.fit(
            model, [scores, draw, early, plateau, check, log, best, history, saver], epochs
        )
        return start.epoch, {
            "weights": weights(model),  # the best, which EarlyStopping restores in the end
            "last weights": draw.weights,
            "optimizer": slots(model),
            "rate": float(np.asarray(model.optimizer.learning_rate)),
            "early": (early.best, early.wait, early.best_epoch, early.stopped_epoch),
            "best weights": [each.tolist() for each in early.best_weights],
            "plateau": (plateau.best, plateau.wait, plateau.cooldown_counter),
            "check": check.best,
            "best": (best.best, best.best_epoch),
            "epochs": history.epoch,
            "history": history.history,
            "log": Path(log.filename).read_text(),
            "drawn next": rng.random(),
        }

    if library.keras.__name__ == "tf_keras":
        library.keras.backend.experimental.enable_tf_random_generator()
    started, whole = run("whole", 7)
    assert started == 0
    run("parts", 4)
    started, parts = run("parts", 7)
    assert started == 4
    assert parts == whole
    # What was compared is what a run like this one has to arrive at.
    assert whole["early"][:3] == (4.0, 5, 1)
    assert whole["rate"] == pytest.approx(0.0025)  # halved twice
    assert whole["epochs"] == list(range(7))
    assert len(set(whole["history"]["drawn"])) == 7
    assert whole["best weights"] == whole["weights"] != whole["last weights"]


@pytest.mark.parametrize("kind", ["schedule", "momentum", "average", "scaled loss"])
def test_optimizers(library: Library, tmp_path: Path, kind: str) -> None:
    """A run in three parts ends in the weights and the optimizer's variables of an uninterrupted
    run, with a rate that depends on the step, slots, averages, and a scale of the loss."""
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
        found.append((weights(model), slots(model)))
    assert found[0] == found[1]
    assert len(slots(model)) >= 2


def test_a_stop_lasts(library: Library, tmp_path: Path) -> None:
    """A training that EarlyStopping ended does not go on, unless the user says so."""

    def make() -> list[Any]:
        early = library.keras.callbacks.EarlyStopping("score", mode="min", patience=1)
        return [library.given(score=[1.0] * 9), early, library.trainers.ModelSaver(tmp_path)]

    library.fit(library.model(), make(), 9)
    assert initreg.resume(tmp_path).epoch == 2  # type: ignore[union-attr]
    start, history = library.fit(library.model(), make(), 9)
    assert (start.stopped, start.epoch, start.initial_epoch) == (True, 2, sys.maxsize)
    assert history.epoch == []
    _, history = library.fit(library.model(), make(), 3, initial_epoch=start.epoch)
    assert history.epoch == [2]


def test_a_first_start(library: Library, tmp_path: Path) -> None:
    """Without a folder the first epoch is 0, and the model stays as it is."""
    model = library.model()
    start = library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path / "run")])
    assert (start.initial_epoch, start.point, start.stopped) == (0, None, False)
    assert weights(model) == weights(library.model())


def test_an_incomplete_checkpoint_is_skipped(library: Library, tmp_path: Path) -> None:
    """The one before it is taken, with a warning that points at the user's line. The run ends in
    the weights and the optimizer of an uninterrupted one."""
    whole = library.model()
    library.fit(whole, [library.trainers.ModelSaver(tmp_path)], 2)
    path = tmp_path / "model-4.weights.h5"
    path.write_bytes(path.read_bytes()[:-100])
    model = library.model()
    with pytest.warns(
        ResumeWarning, match=r"model-4\.weights\.h5: has [\d,]+ bytes, but [\d,]+ were saved"
    ) as said:
        start, _ = library.fit(model, [library.trainers.ModelSaver(tmp_path)], 2)
    assert [each.filename for each in said if each.category is ResumeWarning] == [__file__]
    assert start.epoch == 1
    assert (weights(model), slots(model)) == (weights(whole), slots(whole))
    assert initreg.resume(tmp_path, verify=True).epoch == 2  # type: ignore[union-attr]


def test_a_flipped_bit_is_found_when_asked(library: Library, tmp_path: Path) -> None:
    """verify=True compares the checksums in the sidecar, as HDF5 has none. The model gets the
    values of the checkpoint before."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 2)
    path = tmp_path / "model-4.weights.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    model, saver = library.model(), library.trainers.ModelSaver(tmp_path)
    with pytest.warns(ResumeWarning, match="fails its crc32c"):
        start = library.trainers.resume(model, [saver], verify=True)
    assert start.epoch == 1
    one = load(library, tmp_path / "model-2.weights.h5")
    assert (weights(model), slots(model)) == (weights(one), slots(one))


def test_objects_and_generators(library: Library, tmp_path: Path) -> None:
    """Random generators go on from where they were after the epoch, and so do callbacks that have
    states."""
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
    """The file of a CSVLogger is, byte for byte, that of an uninterrupted run."""

    def make(name: str) -> list[Any]:
        log = library.keras.callbacks.CSVLogger(str(tmp_path / f"{name}.csv"))
        return [log, library.trainers.ModelSaver(tmp_path / name, every_n_epochs=2)]

    library.fit(library.model(), make("whole"), 4)
    library.fit(library.model(), make("parts"), 3)
    (tmp_path / "parts/model-6.weights.h5").unlink()  # as if it was killed in its third epoch
    start, _ = library.fit(library.model(), make("parts"), 4)
    assert start.epoch == 2
    rows = (tmp_path / "parts.csv").read_text()
    assert [row.split(",")[0] for row in rows.splitlines()] == ["epoch", "0", "1", "2", "3"]
    assert rows == (tmp_path / "whole.csv").read_text()


def test_callbacks_that_came_and_went(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the callbacks that have no state, and the states without a callback."""
    best = library.trainers.MinSaver(tmp_path / "best", "loss")
    library.fit(library.model(), [best, library.trainers.ModelSaver(tmp_path)], 1)
    early = library.keras.callbacks.EarlyStopping("loss")
    with caplog.at_level(logging.WARNING, "initreg"):
        library.trainers.resume(library.model(), [early, library.trainers.ModelSaver(tmp_path)])
    assert "has no state of 'EarlyStopping', which starts afresh" in caplog.text
    assert "has a state of 'MinSaver', but there is no such callback" in caplog.text


# --- what does not fit --------------------------------------------------------------------------


def test_the_saver_comes_last(library: Library, tmp_path: Path) -> None:
    """Otherwise it would save the states that callbacks have before the epoch ends."""
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
    """An object may not have the name of a callback."""
    objects = {"EarlyStopping": initreg.RandomStates()}
    saver = library.trainers.ModelSaver(tmp_path, objects=objects)
    early = library.keras.callbacks.EarlyStopping("loss")
    with pytest.raises(InitregError, match=r"'EarlyStopping': \.\.\.}: the name is taken"):
        library.trainers.resume(library.model(), [early, saver])


def test_a_model_that_is_not_built(library: Library, tmp_path: Path) -> None:
    """The error says that it has to be built first."""
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
    """It is an error: Keras would silently drop the variables of the other one."""
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
    """It is refused, because tf_keras would not save its state in a .weights.h5 file."""
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
        ({"every_n_epochs": 0}, "is less than 1"),
        ({"max_to_keep": -1}, "is negative"),
        ({"keep_checkpoint_every_n_hours": 0}, "is not positive"),
    ],
)
def test_options_that_are_out_of_range(
    library: Library, options: dict[str, Any], what: str
) -> None:
    """They are refused when the saver is made."""
    with pytest.raises(ValueError, match=what):
        library.trainers.ModelSaver("run", **options)
