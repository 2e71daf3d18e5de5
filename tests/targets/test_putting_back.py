"""A restore that fails while it writes says what was written, or puts the old values back."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from initreg import PartialRestoreError, SmartInit, TargetError

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
X = np.float32([[1, 2, 3]])


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def loading(K: Any, name: str, fails: str = "") -> Any:
    """A layer that loads in its own way, and changes much of itself before it fails.

    Args:
        K: the version of Keras.
        name: the name of the layer.
        fails: "once", "always", "forever" without loading anything, or "" for never.
    """

    class Loading(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 3), name="kernel")
            self.table, self.count, self.constant = np.zeros(4), 0, None
            self.is_armed = fails == "once"

        def call(self, x: Any) -> Any:
            kernel = tf.convert_to_tensor(self.kernel) if self.constant is None else self.constant
            return x @ kernel + float(self.table.sum()) + self.count

        def save_own_variables(self, store: Any) -> None:
            store["kernel"] = self.kernel
            store["table"], store["count"] = self.table, self.count

        def load_own_variables(self, store: Any) -> None:
            if fails == "forever":
                self.table += 1
                raise ValueError("never")
            self.kernel.assign(np.array(store["kernel"]))
            self.table[:] = np.array(store["table"])  # in place
            self.count = int(store["count"])
            self.constant = np.array(self.kernel)
            if fails == "always" or self.is_armed:
                self.is_armed = False
                raise ValueError("not today")

    return Loading(name=name)


def model_of(K: Any, seed: int, *layers: Any) -> Any:
    """A model of a Dense layer, a Normalization, and these layers, with values of the seed."""
    x = inputs = K.Input((3,))
    norm = K.layers.Normalization(name="norm")
    for layer in (K.layers.Dense(3, name="first"), norm, *layers):
        x = layer(x)
    model = K.Model(inputs, x)
    rng = np.random.default_rng(seed)
    for each in model.weights:
        values = rng.random(tuple(each.shape)) + 0.5
        each.assign(values.astype(each.dtype if isinstance(each.dtype, str) else each.dtype.name))
    norm.finalize_state()
    for layer in layers:
        layer.table, layer.count = rng.random(4), int(rng.integers(9))
        layer.constant = np.array(layer.kernel)
    return model


def state(model: Any) -> list[Any]:
    """All that may change: weights, what layers have beside them, and outputs of both sorts."""
    own = [layer for layer in model.layers if hasattr(layer, "table")]
    return [
        *(np.array(each) for each in model.weights),
        *(np.array(layer.table) for layer in own),
        *(np.array(layer.count) for layer in own),
        np.array(model(X)),
        np.array(model.predict(X, verbose=0)),
    ]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(map(np.array_equal, one, other))


def of_file(K: Any, folder: Path, model: Any) -> Any:
    path = folder / "m.weights.h5"
    model.save_weights(str(path))
    return path


def of_chain(K: Any, folder: Path, model: Any) -> Any:
    """The weights of the first layer in an earlier source, all others in a later one."""
    path = of_file(K, folder, model)
    first = {
        "first/kernel": np.array(model.layers[1].kernel),
        "first/bias": np.array(model.layers[1].bias),
    }
    return [first, SmartInit(path, drop="layers/dense/vars/*")]


@pytest.mark.parametrize("fails", ["once", "always"])
@pytest.mark.parametrize("source", [of_file, of_chain])
def test_a_loader_that_fails_after_others_were_written(
    K: Any, source: Callable[..., Any], fails: str, tmp_path: Path
) -> None:
    """With ``atomic``, weights, layers that have loaded, and traced functions are as before.

    Without it, the error says what was written, and what it does not name is as before. That is
    also true of the layer whose loader failed in the middle, and failed to load its old values.
    """
    saved = model_of(K, 0, loading(K, "one"), loading(K, "two"))
    target = model_of(K, 1, loading(K, "one"), loading(K, "two", fails))
    given = source(K, tmp_path, saved)
    before = state(target)
    message = r"layer 'two' \(Loading\) .*load_own_variables\(\) raised ValueError: not today"
    with pytest.raises(TargetError, match=message) as refused:
        SmartInit(given, atomic=True).init(target)
    assert "writing failed, and everything has its old value again" in str(refused.value)
    assert same(before, state(target))

    target.layers[-1].is_armed = True
    with pytest.raises(PartialRestoreError, match=message) as caught:
        SmartInit(given).init(target)
    written = set(caught.value.written)
    assert {"first/kernel", "first/bias"} <= written
    assert not any("_1/vars" in name for name in written)
    assert any("_1/vars" in name for name in caught.value.not_written)
    np.testing.assert_array_equal(target.layers[1].kernel, saved.layers[1].kernel)
    one, two = target.layers[-2:]
    is_loaded = any("layers/loading/vars" in name for name in written)
    assert np.array_equal(one.table, saved.layers[-2].table) is is_loaded
    old = model_of(K, 1, loading(K, "one"), loading(K, "two")).layers[-1]
    np.testing.assert_array_equal(two.kernel, old.kernel)
    np.testing.assert_array_equal(two.table, old.table)
    assert two.count == old.count

    if fails == "once":
        two.is_armed = False
        SmartInit(given, atomic=True).init(target)
        assert same(state(saved), state(target))


def test_a_loader_that_fails_alone(K: Any, tmp_path: Path) -> None:
    """If nothing else was written, nothing was: the layer has what it had."""
    saved = model_of(K, 0, loading(K, "own"))
    target = model_of(K, 1, loading(K, "own", "once"))
    path = of_file(K, tmp_path, saved)
    before = state(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(TargetError, match="not today") as error:
            SmartInit(path, keep="layers/loading/*").init(target)
    assert "It may have changed" not in str(error.value)
    assert same(before, state(target))


def test_a_loader_that_cannot_put_its_values_back(K: Any, tmp_path: Path) -> None:
    """The error says so."""
    saved = model_of(K, 0, loading(K, "own"))
    target = model_of(K, 1, loading(K, "own", "forever"))
    path = of_file(K, tmp_path, saved)
    with pytest.raises(PartialRestoreError, match="ValueError: never") as error:
        SmartInit(path).init(target)
    text = "It may have changed by then, because putting its old values back failed: layer 'own'"
    assert text in str(error.value)
    with pytest.raises(PartialRestoreError, match="ValueError: never") as error:
        SmartInit(path, atomic=True).init(target)
    assert "Putting the old values back failed, too: layer 'own'" in str(error.value)


def test_a_vocabulary_that_does_not_fit(K: Any, tmp_path: Path) -> None:
    """What was written before ``set_vocabulary`` fails is put back, and so are other
    vocabularies."""

    def build(words: list[str], more: list[str]) -> Any:
        one, two = (K.layers.StringLookup(name=name) for name in "ab")
        one.adapt(words)
        two.adapt(more)
        text = K.Input((1,), dtype="string")
        x = K.layers.Concatenate()([K.layers.Embedding(9, 2)(each(text)) for each in (one, two)])
        return K.Model(text, x)

    probe = tf.constant([["x"], ["y"], ["z"]])
    saved, target = build(["y", "y", "z"], ["z"]), build(["x", "z"], ["x"])
    path = tmp_path / "m.keras"
    saved.save(path)
    before = np.array(target(probe))
    twice = {"layers/string_lookup_1/vocabulary": np.array([b"q", b"q"], object)}
    with pytest.raises(TargetError, match="set_vocabulary") as error:
        SmartInit([path, twice], atomic=True).init(target)
    assert "everything has its old value again" in str(error.value)
    np.testing.assert_array_equal(target(probe), before)
    SmartInit(path, atomic=True).init(target)
    np.testing.assert_array_equal(target(probe), saved(probe))


def test_variables_of_tensorflow() -> None:
    """Other targets put values back, too."""
    one, two = tf.Variable([1.0, 2.0], name="one"), tf.Variable(["a"], name="two")
    given = {"one": np.float32([5, 6]), "two": np.array(["\ud800"], object)}  # has no UTF-8
    with pytest.raises(TargetError, match="old value again: variable 'two' cannot be written"):
        SmartInit(given, atomic=True).init([one, two])
    assert one.numpy().tolist() == [1, 2]


def test_a_dict() -> None:
    """Strings that do not fit into their array are found midway."""
    arrays = {"one": np.zeros(2), "two": np.array(["a"])}
    given = {"one": np.ones(2), "two": np.array(["longer"])}
    with pytest.raises(TargetError, match=r"old value again: .* would cut the strings short"):
        SmartInit(given, atomic=True).init(arrays)
    assert arrays["one"].tolist() == [0, 0]
    with pytest.raises(PartialRestoreError) as error:
        SmartInit(given).init(arrays)
    assert error.value.written == ("one",)
    assert arrays["one"].tolist() == [1, 1]
