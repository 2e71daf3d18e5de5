"""A tf_keras (Keras 2) model as a target: it ends as tf_keras itself would restore it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from initreg import MissingWarning, SmartInit, TargetError, UnusedWarning
from initreg_targets.keras_model import initreg_target

# tf_keras's own saving says that its formats are old, and numpy's that its __array__ is.
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

SIZE = 3


def sequential() -> Any:
    dense = [layers.Dense(SIZE), layers.BatchNormalization(), layers.Dense(SIZE)]
    return keras.Sequential([layers.InputLayer((SIZE,)), *dense])


def shared() -> Any:
    x = inputs = keras.Input((SIZE,))
    dense = layers.Dense(SIZE)
    return keras.Model(inputs, layers.Add()([dense(dense(x)), layers.Dense(SIZE)(x)]))


def nested() -> Any:
    inputs = keras.Input((SIZE,))
    x = layers.Dense(SIZE)(inputs)
    for _ in range(2):
        x = keras.Sequential([layers.Dense(SIZE), keras.Sequential([layers.Dense(SIZE)])])(x)
    return keras.Model(inputs, x)


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(SIZE)
        self.rest = [layers.Dense(SIZE), layers.Dense(SIZE)]
        self.own = self.add_weight(shape=(SIZE,), name="own")

    def call(self, x: Any) -> Any:
        for each in (self.first, *self.rest):
            x = each(x)
        return x + self.own


def subclassed() -> Any:
    model = Subclassed()
    model(np.zeros((1, SIZE), "f4"))
    return model


def many_kinds() -> Any:
    x = inputs = keras.Input((4, SIZE))
    x = layers.SeparableConv1D(SIZE, 2, padding="same")(layers.Conv1D(SIZE, 2, padding="same")(x))
    x = layers.MultiHeadAttention(2, 2)(x, x)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    x = layers.GRU(SIZE, return_sequences=True)(layers.EinsumDense("abc,cd->abd", (4, SIZE))(x))
    return keras.Model(inputs, layers.Dense(SIZE)(x))


MODELS = [sequential, shared, nested, subclassed, many_kinds]


def fill(model: Any, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for v in model.weights:
        v.assign(rng.random(v.shape).astype(v.dtype.as_numpy_dtype))


def later(build: Callable[[], Any]) -> Any:
    """The model once more, with names that count on from the last one's."""
    model = build()
    fill(model, seed=99)
    return model


def bits(variables: Any) -> list[bytes]:
    return [v.numpy().tobytes() for v in variables]


def train(model: Any, optimizer: Any = "adam") -> None:
    rng = np.random.default_rng(0)
    model.compile(optimizer, "mse", metrics=["mae"])
    model.fit(rng.random((8, SIZE)), rng.random((8, SIZE)), verbose=0)


def restore(source: Any, model: Any, by: Any = None) -> Any:
    """Restore. Only the state of metrics, and counters, may remain."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        plan = SmartInit(source, by=by).init(model)
    assert {each.category for each in found} <= {MissingWarning, UnusedWarning}
    left = [row.name for row in plan.of("only in target", "only in source")]
    assert [n for n in left if not n.startswith(("metrics/", "optimizer/", "save_counter"))] == []
    return plan


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ""])
@pytest.mark.parametrize("build", MODELS)
def test_a_file_of_the_same_model(build: Callable[[], Any], suffix: str, tmp_path: Path) -> None:
    """HDF5 weights, an archive and a TensorFlow checkpoint restore as tf_keras restores them,
    though all names count on."""
    if suffix == ".keras" and build is subclassed:
        suffix = ".weights.h5"  # tf_keras would have to be told how to make the class again
    saved, ours, theirs = build(), later(build), later(build)
    fill(saved)
    path = str(tmp_path / f"model{suffix}")
    saved.save(path) if suffix == ".keras" else saved.save_weights(path)
    loaded = theirs.load_weights(path)
    if suffix == "":
        loaded.expect_partial()
    restore(path, ours)
    assert bits(ours.weights) == bits(theirs.weights) == bits(saved.weights)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("build", [sequential, shared, many_kinds])
def test_a_legacy_file_by_weight_names(
    build: Callable[[], Any], whole: bool, tmp_path: Path
) -> None:
    """A Keras 2 ``.h5`` restores by weight names into a model of the same names."""
    keras.backend.clear_session()
    saved = build()
    keras.backend.clear_session()
    ours = later(build)
    assert [v.name for v in ours.weights] == [v.name for v in saved.weights]
    fill(saved)
    path = str(tmp_path / "model.h5")
    saved.save(path) if whole else saved.save_weights(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(saved.weights)


@pytest.mark.parametrize("suffix", [".weights.h5", ""])
def test_a_trained_model_with_its_optimizer(suffix: str, tmp_path: Path) -> None:
    """The state of a built optimizer is restored with the model. A .weights.h5 does not say of what
    class it is."""
    saved, ours = nested(), nested()
    train(saved)
    train(ours)
    fill(ours, 5)
    for v in ours.optimizer.variables:
        v.assign(tf.zeros_like(v))
    path = str(tmp_path / f"model{suffix}")
    saved.save_weights(path)
    restore(path, ours, by="place" if suffix else None)
    assert bits(ours.weights) == bits(saved.weights)
    assert bits(ours.optimizer.variables) == bits(saved.optimizer.variables)


def test_by_weight_name() -> None:
    """A dict of weight names, with and without ':0', fills the model."""
    model = keras.Sequential([layers.InputLayer((SIZE,)), layers.Dense(2, name="fc")])
    target = initreg_target(model)
    assert target is not None
    specs = target.variables()
    assert [(s.name, s.shape, s.dtype) for s in specs] == [
        ("fc/kernel", (SIZE, 2), "float32"),
        ("fc/bias", (2,), "float32"),
    ]
    assert specs[0].aliases[:3] == (
        "fc/vars/0",
        "fc: weight 0 of 2",
        "layers/dense/vars/0",
    )
    assert "layer_with_weights-0/kernel" in specs[0].places
    assert "#layer 0 of 1, weight 0 of 2" in specs[0].places
    SmartInit({"fc/kernel:0": np.ones((SIZE, 2), "f4"), "fc/bias": np.ones(2, "f4")}).init(model)
    assert all(v.numpy().min() == 1 for v in model.weights)


def test_places_are_the_names_in_the_files(tmp_path: Path) -> None:
    """Each variable's places have its dataset in the HDF5 file and its key in a checkpoint."""
    model = nested()
    fill(model)
    target = initreg_target(model)
    assert target is not None
    by_name = {v.name.removesuffix(":0"): v.numpy() for v in model.weights}
    model.save_weights(str(tmp_path / "m.weights.h5"))
    model.save_weights(str(tmp_path / "ckpt"))
    reader = tf.train.load_checkpoint(str(tmp_path / "ckpt"))
    with h5py.File(tmp_path / "m.weights.h5") as file:
        for spec in target.variables():
            datasets = [place for place in spec.places if place in file]
            keys = [f"{place}/.ATTRIBUTES/VARIABLE_VALUE" for place in spec.places]
            keys = [key for key in keys if reader.has_tensor(key)]
            assert len(datasets) == len(keys) == 1
            assert file[datasets[0]][()].tobytes() == by_name[spec.name].tobytes()
            assert reader.get_tensor(keys[0]).tobytes() == by_name[spec.name].tobytes()


def test_equal_weight_names_are_told_apart(tmp_path: Path) -> None:
    """If two weights have the same name, their names in the file are their primary names."""

    class Twins(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="twins")
            self.a = layers.Dense(SIZE, name="x")
            self.b = layers.Dense(SIZE, name="x")

        def call(self, x: Any) -> Any:
            return self.b(self.a(x))

    def build() -> Any:
        model = Twins()
        model(np.zeros((1, SIZE), "f4"))
        return model

    saved, ours = build(), build()
    fill(saved)
    assert len({v.name for v in ours.weights}) == 2
    target = initreg_target(ours)
    assert target is not None
    assert len({spec.name for spec in target.variables()}) == 4
    path = str(tmp_path / "m.weights.h5")
    saved.save_weights(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(saved.weights)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str, tmp_path: Path) -> None:
    """Variables that are cast when they are read are written in their stored dtype."""

    def build() -> Any:
        dense = layers.Dense(SIZE, dtype=policy)
        return keras.Sequential([layers.InputLayer((SIZE,)), dense])

    saved, ours, again = build(), build(), build()
    fill(saved)
    saved.save_weights(str(tmp_path / "m.weights.h5"))
    saved.save_weights(str(tmp_path / "ckpt"))
    restore(str(tmp_path / "m.weights.h5"), ours)
    restore(str(tmp_path / "ckpt"), again)
    assert ours.weights[0].dtype == tf.float32
    assert bits(ours.weights) == bits(again.weights) == bits(saved.weights)


def test_what_is_not_built_is_refused() -> None:
    """A model that has no variables yet is an error that says to build it."""
    for model in (keras.Sequential([layers.Dense(2)]), Subclassed(), layers.Dense(2)):
        with pytest.raises(TargetError, match="not built"):
            SmartInit({"v": np.float32(1)}).init(model)


def test_in_a_graph_the_session_is_asked_for() -> None:
    """The model of a TF1 graph is an error that says to pass the session."""
    with tf.Graph().as_default():
        model = sequential()
        with pytest.raises(TargetError, match="Pass the session"):
            SmartInit({"v": np.float32(1)}).init(model)


def test_shares_no_memory_with_the_source() -> None:
    """Editing the user's array changes no weight, and training changes none of the user's
    arrays."""
    model = sequential()
    given = {v.name: np.full(v.shape, 0.5, "f4") for v in model.weights}
    SmartInit(given).init(model)
    train(model)
    assert all((array == 0.5).all() for array in given.values())
    before = bits(model.weights)
    for array in given.values():
        array[:] = 7
    assert bits(model.weights) == before
