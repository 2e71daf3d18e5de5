"""A Keras 3 model as a target: checkpoints and exports of TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras_models import (
    SIZE,
    bits,
    fill,
    later,
    nested,
    sequential,
    shared,
    train,
)

from initreg import (
    InitregWarning,
    SmartInit,
    UnusedWarning,
)

# Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.mark.parametrize("build", [sequential, shared, nested])
def test_a_tensorflow_checkpoint_of_the_model(build: Callable[[], Any], tmp_path: Path) -> None:
    """An object-based checkpoint is matched by places in the model, not by automatic names."""
    saved, ours, theirs = build(), later(build), later(build)
    fill(saved)
    prefix = tf.train.Checkpoint(saved).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(theirs).read(prefix).expect_partial()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InitregWarning)  # a checkpoint lacks nested models' weights
        SmartInit(prefix).init(ours)
    assert bits(ours.weights) == bits(theirs.weights)


def test_an_object_based_checkpoint_of_a_compiled_model(tmp_path: Path) -> None:
    """TensorFlow's keys lead through the optimizer's lists. The places in the model are aliases, so
    that a model of another name is restored completely."""

    def model(name: str) -> Any:
        made = keras.Sequential(name=name)
        made.add(keras.Input((SIZE,)))
        made.add(layers.Dense(3, name="a"))
        made.add(layers.BatchNormalization(name="b"))
        made.add(layers.Dense(3, name="c"))
        return made

    saved, ours = model("one"), model("two")
    train(saved, 0)
    tf.train.Checkpoint(saved).write(str(tmp_path / "model"))
    plan = SmartInit(tmp_path / "model").init(ours)
    assert [note.is_quiet for note in plan.states] == [True]
    assert len(plan.restored) == len(ours.weights) == 8
    assert bits(ours.weights) == bits(saved.weights)
    trained = model("three")
    train(trained, 1)
    trained.get_layer("a").trainable = False
    SmartInit(tmp_path / "model").init(trained)
    assert bits(trained.weights) == bits(saved.weights)
    assert bits(trained.optimizer.variables) == bits(saved.optimizer.variables)


@pytest.mark.parametrize("trained", [False, True])
def test_a_checkpoint_of_one_model(trained: bool, tmp_path: Path) -> None:
    """``Checkpoint(model=m)`` restores the model itself by place, even if the automatic names of
    its layers are those of the next layer."""

    def model() -> Any:
        x = inputs = keras.Input((SIZE,))
        for _ in range(4):
            x = layers.Dense(3)(x)
        return keras.Model(inputs, x)

    keras.backend.clear_session()
    saved = model()
    if trained:
        train(saved, 0)
    tf.train.Checkpoint(model=saved).save(str(tmp_path / "ck"))
    keras.backend.clear_session()
    layers.Dense(1)  # takes the first of the automatic names
    ours = model()
    assert [v.path for v in ours.weights] != [v.path for v in saved.weights]
    with pytest.warns(UnusedWarning, match="save_counter"):
        SmartInit(tmp_path).init(ours)
    assert bits(ours.weights) == bits(saved.weights)


class Scaled(keras.Model):
    """A model with a weight of its own beside its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(SIZE)
        self.second = layers.Dense(SIZE, name="second")
        self.gain = self.add_weight(shape=(SIZE,), name="gain")

    def call(self, x: Any) -> Any:
        return self.second(self.first(x)) * self.gain


@pytest.mark.parametrize("kind", ["read", "model=", "export", "weights"])
def test_a_weight_of_the_model_itself(kind: str, tmp_path: Path) -> None:
    """A weight beside layers is restored with them, though its name begins with an automatic one
    of the model: ``scaled/gain`` is ``scaled_1/gain``."""
    x = np.random.default_rng(0).uniform(-1, 1, (2, SIZE)).astype("f4")
    saved, ours = Scaled(), Scaled()
    saved(x), ours(x)
    fill(saved)
    path = tmp_path / ("m.weights.h5" if kind == "weights" else "m")
    if kind == "read":
        tf.train.Checkpoint(saved).write(str(path))
    elif kind == "model=":
        tf.train.Checkpoint(model=saved, step=tf.Variable(1)).write(str(path))
    elif kind == "export":
        saved.export(path, verbose=False)
    else:
        saved.save_weights(path)
    SmartInit(path, on_missing="error", on_unused="ignore").init(ours)
    assert np.array_equal(ours(x), saved(x))
    assert bits(ours.weights) == bits(saved.weights)


def test_an_exported_model(tmp_path: Path) -> None:
    """``export()`` saves every variable twice, and each is restored into the variable of its
    name. The copies are not reported."""

    def model() -> Any:
        made = keras.Sequential([keras.Input((SIZE,)), layers.Dense(3, name="a")], name="one")
        made.add(layers.Dense(2, name="b"))
        return made

    saved, ours = model(), model()
    saved.export(tmp_path / "exported", verbose=False)
    plan = SmartInit(tmp_path / "exported", on_unused="error").init(ours)
    assert bits(ours.weights) == bits(saved.weights)
    copies = plan.of("not needed")
    assert {row.name for row in copies} == {f"_all_variables/{n}" for n in range(4)}
    assert {row.reason for row in copies} == {f"a copy of 'variables/{n}'" for n in range(4)}


class Nested(layers.Layer):
    """A layer whose layers are built in it, so that their variables share their names."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [layers.Dense(SIZE), layers.Dense(SIZE)]

    def call(self, x: Any) -> Any:
        return self.parts[1](self.parts[0](x))


def test_copies_of_variables_that_share_a_name(tmp_path: Path) -> None:
    """Variables of an exported model that share a name are saved twice as well, and nobody is told
    of the second ones."""
    x = np.random.default_rng(0).uniform(-1, 1, (2, SIZE)).astype("f4")
    saved, ours = (keras.Sequential([keras.Input((SIZE,)), Nested(), Nested()]) for _ in range(2))
    fill(saved)
    saved.export(tmp_path / "m", verbose=False)
    plan = SmartInit(tmp_path / "m", on_missing="error", on_unused="error").init(ours)
    assert np.array_equal(ours(x), saved(x))
    copies = {row.name: row.reason for row in plan.of("not needed")}
    assert set(copies) == {f"_all_variables/{n}" for n in range(8)}
    assert all(reason.startswith("a copy of 'variables/") for reason in copies.values())


def test_seeds_in_an_exported_model(tmp_path: Path) -> None:
    """An export holds the seeds of an RNN, which is reported once, though it holds some twice."""

    def model() -> Any:
        return keras.Sequential([keras.Input((4, SIZE)), layers.LSTM(2, dropout=0.5)])

    saved, ours = model(), model()
    saved.export(tmp_path / "exported", verbose=False)
    with pytest.warns(UnusedWarning, match="1 only in the source") as told:
        SmartInit(tmp_path / "exported").init(ours)
    assert len(told) == 1
    assert bits(ours.weights) == bits(saved.weights)
