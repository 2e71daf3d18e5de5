"""Keras 3 models for the tests of models as targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from initreg import MissingWarning, SmartInit, UnusedWarning

SIZE = 3


def sequential() -> Any:
    return keras.Sequential(
        [keras.Input((SIZE,)), layers.Dense(SIZE), layers.BatchNormalization(), layers.Dense(SIZE)]
    )


def shared() -> Any:
    """A functional model with a layer that is used twice."""
    x = inputs = keras.Input((SIZE,))
    dense = layers.Dense(SIZE)
    return keras.Model(inputs, layers.Add()([dense(dense(x)), layers.Dense(SIZE)(x)]))


def nested() -> Any:
    inputs = keras.Input((SIZE,))
    x = layers.Dense(SIZE)(inputs)
    for _ in range(2):
        x = keras.Sequential([layers.Dense(SIZE), keras.Sequential([layers.Dense(SIZE)])])(x)
    return keras.Model(inputs, x)


@keras.saving.register_keras_serializable("initreg_tests")
class Scale(layers.Layer):  # type: ignore[misc]
    """A layer with weights of its own, layers in a list, and a list in a dict."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(SIZE,), name="scale")
        self.blocks = [layers.Dense(SIZE), layers.Dense(SIZE)]
        self.more = {"a": [layers.Dense(SIZE)], "b": layers.LayerNormalization()}
        for each in (*self.blocks, *self.more["a"], self.more["b"]):
            each.build(shape)

    def call(self, x: Any) -> Any:
        for each in (*self.blocks, *self.more["a"], self.more["b"]):
            x = each(x)
        return x * self.scale


def custom() -> Any:
    return keras.Sequential([keras.Input((SIZE,)), Scale(), Scale()])


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
    """Convolutions, recurrent layers, attention, an embedding and a normalization."""
    x = inputs = keras.Input((4, SIZE))
    normal = layers.Normalization()
    normal.adapt(np.random.default_rng(0).random((8, 4, SIZE)).astype("f4"))
    x = layers.Conv1D(SIZE, 2, padding="same")(normal(x))
    x = layers.SeparableConv1D(SIZE, 2, padding="same")(x)
    x = layers.MultiHeadAttention(2, 2)(x, x)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    x = layers.GRU(SIZE, return_sequences=True)(layers.EinsumDense("abc,cd->abd", (4, SIZE))(x))
    return keras.Model(inputs, layers.Dense(SIZE)(x))


def embedding() -> Any:
    inputs = keras.Input((4,), dtype="int32")
    return keras.Model(inputs, layers.Dense(SIZE)(layers.Embedding(5, SIZE)(inputs)))


MODELS = [sequential, shared, nested, custom, subclassed, many_kinds, embedding]


def fill(model: Any, seed: int = 0) -> None:
    """Give each variable of the model values of its own."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        if v.dtype.startswith("float"):
            v.assign(rng.random(tuple(v.shape)).astype(v.dtype))


def later(build: Callable[[], Any], *, compiled: bool = False) -> Any:
    """The model once more, with names that count on from the last one's."""
    model = build()
    if compiled:
        train(model, 0)
    fill(model, seed=99)
    return model


def train(model: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(rng.random((8, SIZE)), rng.random((8, SIZE)), verbose=0)


def bits(variables: Any) -> list[bytes]:
    return [np.asarray(v).tobytes() for v in variables]


def restore(source: Any, model: Any) -> Any:
    """Restore. Only the state of optimizers may remain."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        plan = SmartInit(source).init(model)
    assert {each.category for each in found} <= {MissingWarning, UnusedWarning}
    left = [row.name for row in plan.of("only in target", "only in source")]
    assert [name for name in left if "optimizer" not in name] == []
    return plan
