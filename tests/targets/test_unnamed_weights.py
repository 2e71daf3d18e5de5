"""Weights that nobody named, which Keras 3 numbers in each program: ``scale/variable_4``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import SmartInit

pytestmark = [
    pytest.mark.framework,
    # Keras, when it writes a variable.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]
PROBE = np.linspace(-1.0, 2.0, 12, dtype="float32").reshape(3, 4)


class Scale(keras.layers.Layer):
    def __init__(self, count: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: Any) -> None:
        self.weights_of_it = [
            self.add_weight(shape=(shape[-1],), initializer="ones", trainable=bool(n % 2))
            for n in range(self.count)
        ]

    def call(self, x: Any) -> Any:
        for n, weight in enumerate(self.weights_of_it):
            x = x * weight + n
        return x


def model(before: int, count: int = 2) -> Any:
    """A model in a program that has made as many other variables without a name."""
    keras.backend.clear_session()
    for _ in range(before):
        keras.Variable(0.0)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="d")(inputs)
    x = Scale(count, name="first")(x)
    return keras.Model(inputs, Scale(1, name="second")(x))


def filled(net: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    for variable in net.weights:
        variable.assign(rng.uniform(-1, 1, tuple(variable.shape)))
    return net


def out(net: Any) -> np.ndarray:
    return np.array(net(tf.constant(PROBE)).numpy())


@pytest.mark.parametrize(("before", "later"), [(0, 0), (0, 1), (1, 0), (0, 2), (3, 97)])
@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5", ".weights.h5", ".keras"])
def test_a_file_is_restored_in_a_program_that_counts_otherwise(
    ending: str, before: int, later: int, tmp_path: Path
) -> None:
    """It computes what the saved model did, and nothing is missing, also from a file of Keras."""
    source = filled(model(before), 1)
    path = str(tmp_path / f"m{ending}")
    initreg.save(path, source)
    target = filled(model(later), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", initreg.InitregWarning)
        SmartInit(path).init(target)
    np.testing.assert_array_equal(out(target), out(source))
    if ending in (".weights.h5", ".keras"):
        reference = filled(model(later), 3)
        reference.load_weights(path)
        np.testing.assert_array_equal(out(target), out(reference))


def test_another_count_of_them_is_not_guessed(tmp_path: Path) -> None:
    """Nothing is written where equal numbers may be other weights."""
    path = str(tmp_path / "m.npz")
    initreg.save(path, filled(model(1), 1))
    target = filled(model(0, count=3), 2)
    before = out(target)
    with pytest.raises(initreg.AmbiguousNames, match="in the layer 'first'"):
        SmartInit(path).init(target)
    np.testing.assert_array_equal(out(target), before)
