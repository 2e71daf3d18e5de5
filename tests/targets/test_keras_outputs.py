"""What the layers of a Keras model compute for an input."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from initreg import TargetError
from initreg_targets.keras_model import initreg_target

pytestmark = pytest.mark.framework

X = np.random.default_rng(0).normal(size=(2, 4)).astype("f4")


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    found = importlib.import_module(request.param)
    found.backend.clear_session()
    return found


def ask(model: Any, inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    adapter: Any = initreg_target(model)
    return dict(adapter.outputs(inputs, names))


def of_two(K: Any) -> Any:
    """Two Dense layers with a Dropout between them."""
    inputs = K.Input((4,), name="x")
    x = K.layers.Dropout(0.5, name="drop")(K.layers.Dense(3, name="one")(inputs))
    return K.Model(inputs, K.layers.Dense(2, name="two")(x))


def test_layers_in_the_order_of_computation(K: Any) -> None:
    """And the output of the model last. Nothing is dropped: it runs as in inference."""
    model = of_two(K)
    found = ask(model, {"anything": X}, "two", "drop", "one")
    assert list(found) == ["one", "drop", "two", ""]
    one, bias = model.get_layer("one").get_weights()
    two, last = model.get_layer("two").get_weights()
    hidden = X @ one + bias
    for name, expected in {"one": hidden, "drop": hidden, "two": hidden @ two + last}.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found[""], found["two"])


def test_without_names_only_the_model(K: Any) -> None:
    """It need not be functional."""

    class Double(K.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    model = Double()
    model(X)
    found = ask(model, {"x": X})
    assert list(found) == [""]
    np.testing.assert_array_equal(found[""], X * 2)
    with pytest.raises(TargetError, match="only known for functional and sequential models"):
        ask(model, {"x": X}, "layer")


def test_a_sequential_model(K: Any) -> None:
    """Its layers can be asked as well."""
    model = K.Sequential([K.Input((4,)), K.layers.ReLU(name="r"), K.layers.Dense(2, name="d")])
    found = ask(model, {"x": X}, "r")
    np.testing.assert_array_equal(found["r"], np.maximum(X, 0))
    np.testing.assert_array_equal(found[""], np.asarray(model(X)))


def test_several_inputs_go_by_their_names(K: Any) -> None:
    """The order of the arrays means nothing."""
    a, b = K.Input((4,), name="a"), K.Input((4,), name="b")
    model = K.Model([a, b], K.layers.Subtract(name="less")([a, b]))
    for inputs in ({"a": X, "b": 3 * X}, {"b": 3 * X, "a": X}):
        found = ask(model, inputs, "less")
        np.testing.assert_allclose(found[""], -2 * X, rtol=1e-6)
        np.testing.assert_array_equal(found["less"], found[""])


def test_several_outputs(K: Any) -> None:
    """With names they are kept by name. Without, it is said that they have none."""
    inputs = K.Input((4,))
    y = K.layers.ReLU()(inputs)
    found = ask(K.Model(inputs, {"p": y, "q": inputs}), {"x": X})
    np.testing.assert_array_equal(found[""]["p"], np.maximum(X, 0))
    np.testing.assert_array_equal(found[""]["q"], X)
    with pytest.raises(TargetError, match="has 2 outputs without names"):
        ask(K.Model(inputs, [y, inputs]), {"x": X})


def test_a_layer_that_is_not_there(K: Any) -> None:
    """The message has the names of those that are."""
    with pytest.raises(TargetError, match=r"no layer 'tow' with one output\. Its layers: x, one"):
        ask(of_two(K), {"x": X}, "tow")


def test_a_layer_with_two_outputs(K: Any) -> None:
    """A layer that is called twice, or returns two tensors, has none that could be meant."""
    inputs = K.Input((4,))
    shared = K.layers.Dense(4, name="shared")
    with pytest.raises(TargetError, match="no layer 'shared' with one output"):
        ask(K.Model(inputs, shared(shared(inputs))), {"x": X}, "shared")
    steps = K.Input((3, 4))
    several = K.layers.GRU(4, return_state=True, name="several")(steps)
    with pytest.raises(TargetError, match="no layer 'several' with one output"):
        ask(K.Model(steps, several[0]), {"x": np.zeros((2, 3, 4), "f4")}, "several")


def test_a_layer_of_two_models(K: Any) -> None:
    """It is asked what it computes in this one."""
    shared = K.layers.Dense(4, name="shared")
    one, two = K.Input((4,)), K.Input((4,))
    first = K.Model(one, shared(one))
    second = K.Model(two, shared(K.layers.ReLU()(two)))
    for model in (first, second):
        found = ask(model, {"x": X}, "shared")
        np.testing.assert_array_equal(found["shared"], np.asarray(model(X)))


@pytest.mark.parametrize("names", [(), ("one",)])
def test_inputs_that_do_not_fit(K: Any, names: tuple[str, ...]) -> None:
    """One error, with their shapes."""
    with pytest.raises(TargetError, match=r"cannot be run on 'x' \(2, 7\): "):
        ask(of_two(K), {"x": np.zeros((2, 7), "f4")}, *names)
