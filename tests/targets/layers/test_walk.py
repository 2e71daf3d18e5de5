"""The walk over a model finds what Keras's own walk finds when it saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from cases import Case, cases
from keras.src.saving import saving_lib
from keras_models import MODELS
from sweep import Sample

from initreg_targets.frameworks import is_variable
from initreg_targets.keras_layout import layout

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


class Notes(saving_lib.NpzIOStore):  # type: ignore[misc]  # Keras insists on its own stores
    """A store that writes nothing, and remembers what it was given."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.noted: dict[str, dict[str, Any]] = {}

    def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
        if metadata and path:
            self.names[path] = metadata["name"]
        return self.noted.setdefault(path, {})


def saved_by_keras(model: Any, without: tuple[int, ...] = ()) -> tuple[list[Any], dict[str, str]]:
    """The places and ids of the variables that Keras saves, and the names of its layers."""
    notes = Notes()
    saving_lib._save_state(model, notes, None, "", set(without))
    found = [
        (f"{path}/vars/{key}" if path else f"vars/{key}", id(variable))
        for path, entries in notes.noted.items()
        for key, variable in entries.items()
        if is_variable(variable)
    ]
    return found, notes.names


def check(model: Any) -> None:
    expected, names = saved_by_keras(model)
    found, found_names = layout(model)
    # Further paths to the same variables follow.
    assert [(place, id(variable)) for place, variable in found[: len(expected)]] == expected
    assert {id(variable) for _, variable in found} == {of for _, of in expected}
    assert found_names == names
    assert expected


@pytest.mark.parametrize("build", MODELS)
def test_models(build: Callable[[], Any]) -> None:
    """Models with shared, nested, listed and custom layers, compiled or not."""
    model = build()
    check(model)
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    check(model)
    optimizer = id(model.optimizer)
    found, _ = layout(model, [optimizer])
    expected, _ = saved_by_keras(model, (optimizer,))
    assert [(place, id(variable)) for place, variable in found[: len(expected)]] == expected
    assert not any(place.startswith("optimizer/") for place, _ in found)


@pytest.mark.parametrize("case", cases(keras), ids=lambda case: case.name)
def test_layers(case: Case) -> None:
    """Every class of layers, in a model with a Dense layer."""
    check(Sample(keras, case, 0).model)


class Odd(keras.layers.Layer):  # type: ignore[misc]
    """Attributes that classes seldom have: in slots, properties, static, and a class attribute."""

    shared = keras.layers.Dense(2, name="shared")
    made = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self._inner = keras.layers.Dense(2)
        self.call_in = {"b": keras.layers.Dense(2), "a": [keras.layers.Dense(2)]}
        self.compute = keras.layers.Dense(2)  # hides a method

    def compute(self) -> None:
        """A method of this name, which each object hides."""

    @property
    def beside(self) -> Any:
        return self._inner

    @property
    def failing(self) -> Any:
        raise RuntimeError("no such attribute today")

    def call(self, x: Any) -> Any:
        for each in (self.shared, self._inner, self.call_in["b"], self.call_in["a"][0]):
            x = each(x)
        return self.compute(x)


class Hidden(Odd):
    """It says itself which attributes it has."""

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name != "beside"]


@pytest.mark.parametrize("kind", [Odd, Hidden])
def test_odd_attributes(kind: type) -> None:
    """A layer that is an attribute of its class, a property, or hides a method is found."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, kind()(inputs))
    model.predict(np.zeros((1, 2), "f4"), verbose=0)
    check(model)
    places = {place for place, _ in layout(model)[0]}
    assert any("/shared/vars/0" in place for place in places)
    assert any("/compute/vars/0" in place for place in places)
    assert any("/beside/vars/0" in place for place in places) is (kind is Odd)
