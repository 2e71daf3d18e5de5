"""Fits of Keras 3 and tf_keras that are really run: stopped and resumed."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, InitregWarning, MismatchError, ResumeWarning, TargetError

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]


def test_a_run_in_two_parts(library: Any, tmp_path: Path) -> None:
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
                self.weights = library.weights(self.model)

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
            "weights": library.weights(model),  # the best, which EarlyStopping restores in the end
            "last weights": draw.weights,
            "optimizer": library.slots(model),
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["schedule", "momentum", "average", "scaled loss"])
def test_optimizers(library: Any, tmp_path: Path, kind: str) -> None:
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
        found.append(library.state(model))
    assert found[0] == found[1]
    assert len(library.slots(model)) >= 2


@pytest.mark.parametrize("is_scaled", [False, True])
def test_a_product_that_is_not_among_the_variables(
    library: Any, tmp_path: Path, is_scaled: bool
) -> None:
    """Nadam's running product, which tf_keras does not save, continues, too.

    In its first steps, that of tf_keras also depends on how often it was traced.
    """
    kind_of_2 = library.keras.__name__ == "tf_keras"
    where = library.keras.mixed_precision if kind_of_2 else library.keras.optimizers
    found = []
    for parts in ([9], [8, 9]):
        for epochs in parts:
            nadam = optimizer = library.keras.optimizers.Nadam(0.01)
            if is_scaled:
                optimizer = where.LossScaleOptimizer(nadam)
            model = library.model(optimizer=optimizer)
            saver = library.trainers.ModelSaver(tmp_path / str(len(parts)))
            library.fit(model, [saver], epochs)
        found.append((library.state(model), float(nadam._u_product.numpy())))
    assert found[0] == found[1]
    assert 0 < found[0][1] < 0.5


def test_a_stop_lasts(library: Any, tmp_path: Path) -> None:
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


def test_a_first_start(library: Any, tmp_path: Path) -> None:
    """Without a folder the first epoch is 0, and the model stays as it is."""
    model = library.model()
    start = library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path / "run")])
    assert (start.initial_epoch, start.point, start.stopped) == (0, None, False)
    assert library.weights(model) == library.weights(library.model())


def test_an_incomplete_checkpoint_is_skipped(library: Any, tmp_path: Path) -> None:
    """The one before it is taken, with a warning that points at the user's line. The run ends in
    the weights and the optimizer of an uninterrupted one."""
    whole = library.model()
    library.fit(whole, [library.trainers.ModelSaver(tmp_path)], 2)
    path = tmp_path / "model-4.weights.h5"
    path.write_bytes(path.read_bytes()[:-100])
    model, saver = library.model(), library.trainers.ModelSaver(tmp_path)
    with pytest.warns(
        ResumeWarning, match=r"model-4\.weights\.h5: has [\d,]+ bytes, but [\d,]+ were saved"
    ) as said:
        start = library.trainers.resume(model, [saver])
    assert [each.filename for each in said if each.category is ResumeWarning] == [__file__]
    assert start.epoch == 1
    options = {"initial_epoch": start.initial_epoch, "shuffle": False, "verbose": 0}
    model.fit(library.x, library.y, 4, 2, callbacks=[saver], **options)
    assert library.state(model) == library.state(whole)
    assert initreg.resume(tmp_path, verify=True).epoch == 2  # type: ignore[union-attr]


def test_a_flipped_bit_is_found_when_asked(library: Any, tmp_path: Path) -> None:
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
    one = library.load(tmp_path / "model-2.weights.h5")
    assert library.state(model) == library.state(one)


def test_objects_and_generators(library: Any, tmp_path: Path) -> None:
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


def test_generators_of_other_names(library: Any, tmp_path: Path) -> None:
    """They are refused, and nothing is changed."""
    import tensorflow as tf

    one = library.trainers.GeneratorStates(a=tf.random.Generator.from_seed(1))
    two = library.trainers.GeneratorStates(b=tf.random.Generator.from_seed(2))
    before = two.state_dict()["b"].tolist()
    with pytest.raises(InitregError, match=r"\['a'\] were saved, and there are \['b'\]"):
        two.load_state_dict(one.state_dict())
    assert two.state_dict()["b"].tolist() == before


def test_a_log_loses_the_epochs_that_are_trained_again(library: Any, tmp_path: Path) -> None:
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
    library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
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


def test_the_saver_comes_last(library: Any, tmp_path: Path) -> None:
    """Otherwise it would save the states that callbacks have before the epoch ends."""
    saver = library.trainers.ModelSaver(tmp_path)
    early = library.keras.callbacks.EarlyStopping("loss")
    for callbacks in ([saver, early], [early], []):
        with pytest.raises(InitregError, match="the last of the callbacks has to be a ModelSaver"):
            library.trainers.resume(library.model(), callbacks)


def test_a_callback_that_restores_as_well(library: Any, tmp_path: Path) -> None:
    """resume() says that BackupAndRestore loads its weights over those of the checkpoint."""

    def trained(epochs: int, *others: Any) -> Any:
        model = library.model()
        saver = library.trainers.ModelSaver(tmp_path / "run", every_n_epochs=4)
        callbacks = [*others, saver]
        start = library.trainers.resume(model, callbacks)
        given = {"initial_epoch": start.initial_epoch, "callbacks": callbacks, "verbose": 0}
        model.fit(library.x, library.y, 4, epochs, **given)
        return start

    backup = library.keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    with pytest.warns(InitregWarning, match="fit begins, BackupAndRestore puts the weights"):
        assert trained(1, backup).initial_epoch == 0
    assert trained(2).initial_epoch == 1


def test_the_saver_has_to_know_the_others(
    library: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without resume() it saves the model alone, and says what to do."""
    saver = library.trainers.ModelSaver(tmp_path)
    with caplog.at_level(logging.WARNING, "initreg"):
        library.model().fit(library.x, library.y, 4, 1, callbacks=[saver], verbose=0)
    assert "call resume(model, callbacks) before fit, also on a first start" in caplog.text
    assert initreg.resume(tmp_path).epoch == 1  # type: ignore[union-attr]


def test_names_that_are_taken(library: Any, tmp_path: Path) -> None:
    """An object may not have the name of a callback."""
    objects = {"EarlyStopping": initreg.RandomStates()}
    saver = library.trainers.ModelSaver(tmp_path, objects=objects)
    early = library.keras.callbacks.EarlyStopping("loss")
    with pytest.raises(InitregError, match=r"'EarlyStopping': \.\.\.}: the name is taken"):
        library.trainers.resume(library.model(), [early, saver])


def test_a_model_that_is_not_built(library: Any, tmp_path: Path) -> None:
    """The error says that it has to be built first."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.keras.Sequential([library.keras.layers.Dense(1)])
    with pytest.raises(TargetError, match="is not built"):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])


def test_another_model(library: Any, tmp_path: Path) -> None:
    """Shapes that differ are one error, and nothing is changed."""
    library.fit(library.model(2), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.model(5)
    before = library.weights(model)
    with pytest.raises(MismatchError):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])
    assert library.weights(model) == before


def test_another_optimizer(library: Any, tmp_path: Path) -> None:
    """It is an error: Keras would silently drop the variables of the other one."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 1)
    model = library.model(optimizer=library.keras.optimizers.SGD(0.1))
    before = library.weights(model)
    with pytest.raises(MismatchError, match="compile the model with the optimizer that it was"):
        library.trainers.resume(model, [library.trainers.ModelSaver(tmp_path)])
    assert library.weights(model) == before


@pytest.mark.parametrize("library", ["keras"], indirect=True)
def test_another_number_of_seeds(library: Any, tmp_path: Path) -> None:
    """A Dropout more or less is another model, though the weights are the same."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path)], 1)
    with pytest.raises(InitregError, match=r"has 1 seeds .* and 0 were saved"):
        library.trainers.resume(
            library.model(dropout=True), [library.trainers.ModelSaver(tmp_path)]
        )
