"""Places of the weights of a model that its file or its checkpoint has under another path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from initreg import SmartInit

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
]
X = np.random.default_rng(0).uniform(-1, 1, (2, 3)).astype("f4")


def in_attributes(library: Any) -> Any:
    class Model(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = library.layers.Dense(3)
            self.second = library.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    return Model()


def in_a_list(library: Any) -> Any:
    """The same layers in a list. Their old names are properties."""

    class Model(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.all_blocks = [library.layers.Dense(3), library.layers.Dense(3)]

        @property
        def first(self) -> Any:
            return self.all_blocks[0]

        @property
        def second(self) -> Any:
            return self.all_blocks[1]

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    return Model()


def in_two_attributes(library: Any) -> Any:
    """The same layers, each under another name, too, that comes first."""

    class Model(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a_first = self.first = library.layers.Dense(3)
            self.a_second = self.second = library.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    return Model()


@pytest.mark.parametrize("make", [in_a_list, in_two_attributes])
def test_a_layer_under_its_old_name(tmp_path: Path, make: Any) -> None:
    """A layer is found under each of its paths, as by Keras 3, which tries all of them."""
    written = in_attributes(keras)
    expected = np.asarray(written(X))
    written.save_weights(tmp_path / "m.weights.h5")
    model, reference = make(keras), make(keras)
    model(X), reference(X)
    reference.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(np.asarray(reference(X)), expected)
    plan = SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(model)
    np.testing.assert_array_equal(np.asarray(model(X)), expected)
    assert len(plan.restored) == 4


def test_a_layer_of_keras_2_under_its_old_name(tmp_path: Path) -> None:
    """The same for tf_keras, whose own loader only knows the first path."""
    written = in_attributes(tf_keras)
    expected = np.asarray(written(X))
    written.save_weights(tmp_path / "m.weights.h5")
    model = in_two_attributes(tf_keras)
    model(X)
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(model)
    np.testing.assert_array_equal(np.asarray(model(X)), expected)


class Scaled(keras.layers.Layer):
    """A layer with a sub-layer, and with weights in a list and in a dict."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = keras.layers.Dense(3)

    def build(self, shape: Any) -> None:
        self.scales = [self.add_weight(shape=(), name=name) for name in ("one", "two")]
        self.offsets = {"zero": self.add_weight(shape=(), name="three")}
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(x * self.scales[0]) * self.scales[1] + self.offsets["zero"]


def scaled(names: tuple[str | None, str | None], *, trained: bool = True) -> Any:
    model = keras.Sequential([keras.Input((3,)), *(Scaled(name=name) for name in names)])
    model.compile("adam", "mse")
    if trained:
        model.fit(X, X, verbose=0)
    rng = np.random.default_rng(len(model.layers))
    for variable in [*model.weights, *model.optimizer.variables][: None if trained else 10]:
        variable.assign(rng.uniform(1, 2, variable.shape))
    return model


@pytest.mark.parametrize("names", [("a", "b"), (None, None), ("a", None)])
@pytest.mark.parametrize("root", ["model", "self"])
def test_weights_in_lists_of_a_layer(
    tmp_path: Path, names: tuple[str | None, str | None], root: str
) -> None:
    """A checkpoint of Keras 3 has weights that a layer keeps in a list or a dict in the optimizer's
    list of what it trains, and nowhere else. They are restored from there, and all else, too."""
    written = scaled(names)
    prefix = str(tmp_path / "ckpt")
    made = tf.train.Checkpoint(written) if root == "self" else tf.train.Checkpoint(model=written)
    made.write(prefix)
    expected = np.asarray(written(X))
    state = [v.numpy() for v in [*written.weights, *written.optimizer.variables]]
    model = scaled(names)
    for variable in [*model.weights, *model.optimizer.variables]:
        variable.assign(np.zeros(variable.shape))
    plan = SmartInit(prefix, on_missing="error", on_unused="error").init(model)
    np.testing.assert_array_equal(np.asarray(model(X)), expected)
    for ours, theirs in zip([*model.weights, *model.optimizer.variables], state, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    assert len(plan.restored) == len(state) == 32


def test_weights_in_lists_of_another_length(tmp_path: Path) -> None:
    """A place in the optimizer's list means nothing if another number of weights is trained. Such
    weights are left, with a warning, unless they have names."""
    written = scaled((None, None))
    tf.train.Checkpoint(written).write(str(tmp_path / "ckpt"))
    model = scaled((None, None), trained=False)
    model.layers[0].inner.trainable = False
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    plan = SmartInit(tmp_path / "ckpt", on_missing="ignore", on_unused="ignore").plan(model)
    assert {row.name.rpartition("/")[2] for row in plan.restored} == {"kernel", "bias"}
