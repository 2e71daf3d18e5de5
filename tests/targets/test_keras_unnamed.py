"""Weights that a layer of ``tf_keras`` makes without a name, which TensorFlow tracks under None."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

import initreg
from initreg import SmartInit

pytestmark = pytest.mark.framework
X = np.arange(8, dtype="float32").reshape(2, 4)


class Unnamed(layers.Layer):  # type: ignore[misc]
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(4,), initializer="ones")
        self.more = [self.add_weight(shape=(4,), initializer="zeros", trainable=False)]
        super().build(shape)

    def call(self, x: Any) -> Any:
        return x * self.scale + self.more[0]


def functional() -> Any:
    inputs = tf_keras.Input((4,))
    return tf_keras.Model(inputs, layers.Dense(4, name="fc")(Unnamed(name="one")(inputs)))


def layer() -> Any:
    found = Unnamed()
    found(X)
    return found


def module() -> Any:
    found = tf.Module()
    found.layer = layer()
    return found


def checkpoint() -> Any:
    return tf.train.Checkpoint(model=functional())


def filled(target: Any) -> Any:
    arrays = initreg.load(target)
    rng = np.random.default_rng(0)
    SmartInit({n: rng.normal(size=a.shape).astype("f4") for n, a in arrays.items()}).init(target)
    return target


@pytest.mark.parametrize("ending", [".weights.h5", ".safetensors", ".npz"])
def test_a_model(ending: str, tmp_path: Path) -> None:
    """What Keras or initreg saved of such a model restores its outputs."""
    model, other = filled(functional()), functional()
    path = initreg.save(tmp_path / f"m{ending}", model)
    SmartInit(path, on_missing="error", on_unused="error").init(other)
    assert np.array_equal(other(X), model(X))


@pytest.mark.parametrize("build", [layer, module, checkpoint])
def test_other_targets(build: Callable[[], Any], tmp_path: Path) -> None:
    """So does whatever else holds such a layer."""
    one, other = filled(build()), build()
    SmartInit(initreg.save(tmp_path / "m.npz", one), on_missing="error").init(other)
    found, expected = initreg.load(other), initreg.load(one)
    assert len(expected) == (2 if build is not checkpoint else 4)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)
