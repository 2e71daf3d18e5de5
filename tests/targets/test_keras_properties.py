"""Properties of layers of ``tf_keras``: a plan makes no weight by reading one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from initreg import SmartInit
from initreg_targets.keras_properties import making_weights

pytestmark = pytest.mark.framework
X = np.arange(8, dtype="float32").reshape(2, 4)


class Base(layers.Layer):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._inner = layers.Dense(4)

    def call(self, x: Any) -> Any:
        return self._inner(x)

    @property
    def renamed(self) -> Any:
        """A name by which Keras finds the layer first."""
        return self._inner


class Lazy(Base):
    @property
    def scale(self) -> Any:
        if "_scale" not in vars(self):
            self._scale = self.add_weight(name="scale", shape=(2,))
        return self._scale


class LazyByMethod(Base):
    @property
    def scale(self) -> Any:
        return vars(self).get("_scale") or self._make()

    def _make(self) -> Any:
        self._scale = tf.Variable(tf.ones(2), name="scale")
        return self._scale


class Cached(Base):
    @functools.cached_property
    def scale(self) -> Any:
        return self.add_weight(name="scale", shape=(2,))


def build(kind: type[Any]) -> Any:
    inputs = tf_keras.Input((4,))
    return tf_keras.Model(inputs, layers.Dense(2)(kind()(inputs)))


@pytest.mark.parametrize("kind", [Lazy, LazyByMethod, Cached])
@pytest.mark.parametrize("source", [".weights.h5", ".ckpt"])
def test_a_plan_makes_no_weight(kind: type[Any], source: str, tmp_path: Path) -> None:
    """Neither planning nor restoring makes one, and a layer that Keras saved under a property is
    found there. Keras makes it when it saves a file of weights, and does not write it."""
    model = build(kind)
    model.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in model.weights])
    path = str(tmp_path / f"m{source}")
    if source == ".ckpt":
        path = tf.train.Checkpoint(model).write(path)
    else:
        model.save_weights(path)
    other = build(kind)
    restore = SmartInit(path, on_missing="error", on_unused="error")
    restore.plan(other)
    assert len(other.weights) == 4
    restore.init(other)
    assert len(other.weights) == 4
    assert "_scale" not in vars(other.layers[1])
    assert "scale" not in vars(other.layers[1])
    assert np.array_equal(other(X), model(X))


def test_which_properties_make_weights() -> None:
    """Those whose code, or a method that it calls, makes one. A method is no property, and what
    Keras itself has makes none."""
    assert making_weights(Base) == frozenset()
    for kind in (Lazy, LazyByMethod, Cached):
        assert making_weights(kind) == {"scale"}
    assert making_weights(layers.Dense) == frozenset()
