"""The order of layers, their paths, and what comes right before each."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from keras_specs import by_layer, specs

pytestmark = pytest.mark.framework


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    found = importlib.import_module(request.param)
    found.backend.clear_session()
    return found


def block_of(K: Any) -> Any:
    """A class of a layer with a shortcut that it makes first, a list, and a layer with a name."""

    class Block(K.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.shortcut = K.layers.Dense(4)
            self.convs = [K.layers.Dense(4), K.layers.Dense(4)]
            self._hidden = K.layers.Dense(4)
            self.named = K.layers.Dense(4, name="given")

        def call(self, x: Any) -> Any:
            y = self._hidden(x)
            for each in self.convs:
                y = each(y)
            return self.named(y) + self.shortcut(x)

    return Block


PARTS = ("shortcut", "convs/0", "convs/1", "hidden", "given")


def test_the_order_is_that_of_the_computation(K: Any) -> None:
    """Not that in which the layers were made, nor that of their names."""
    dense = K.layers.Dense
    last, first, middle = dense(4, name="a"), dense(4, name="z"), dense(4, name="m")
    inputs = K.Input((4,))
    x = K.layers.ReLU()(first(inputs))
    found = by_layer(K.Model(inputs, last(K.layers.ReLU()(middle(x)))))
    assert {name: (spec.order, spec.after) for name, spec in found.items()} == {
        "z": (0, ()),
        "m": (1, ("z",)),
        "a": (2, ("m",)),
    }


def test_branches_and_where_they_meet(K: Any) -> None:
    """What comes before is seen through layers without weights, and is several layers."""
    dense = K.layers.Dense
    inputs = K.Input((4,))
    x = dense(4, name="stem")(inputs)
    left, right = dense(4, name="left")(x), dense(4, name="right")(K.layers.Dropout(0.1)(x))
    met = K.layers.Add()([left, K.layers.ReLU()(right)])
    found = by_layer(K.Model(inputs, dense(4, name="head")(met)))
    assert {name: spec.after for name, spec in found.items()} == {
        "stem": (),
        "left": ("stem",),
        "right": ("stem",),
        "head": ("left", "right"),
    }


def test_a_layer_that_is_called_twice(K: Any) -> None:
    """It comes after all that it gets the output of, and is there once."""
    inputs = K.Input((4,))
    shared, other = K.layers.Dense(4, name="shared"), K.layers.Dense(4, name="other")
    found = by_layer(K.Model(inputs, shared(other(shared(inputs)))))
    assert {name: spec.after for name, spec in found.items()} == {
        "shared": ("other",),
        "other": ("shared",),
    }
    assert sorted(spec.order for spec in found.values()) == [0, 1]


def test_models_in_models(K: Any) -> None:
    """The path has the names of both. The layers of the one come after the layers of the other."""
    dense = K.layers.Dense
    one = K.Sequential([K.Input((4,)), dense(4, name="same")], name="one")
    two = K.Sequential([K.Input((4,)), dense(4, name="same")], name="two")
    inputs = K.Input((4,))
    found = by_layer(K.Model(inputs, dense(4, name="head")(two(one(inputs)))))
    assert {name: spec.order for name, spec in found.items()} == {
        "one/same": 0,
        "two/same": 1,
        "head": 2,
    }
    assert found["head"].after is not None
    assert {"two", "two/same"} <= set(found["head"].after)
    assert "one/same" not in found["head"].after


def test_automatic_names(K: Any) -> None:
    """They are marked, unless somebody gave a name on the way to the layer."""
    inner = K.Sequential([K.Input((4,)), K.layers.Dense(4)], name="given")
    inputs = K.Input((4,))
    x = K.layers.Dense(4, name="mine")(K.layers.Dense(4)(inputs))
    found = by_layer(K.Model(inputs, inner(x)))
    marks = {name.partition("/")[0].partition("_")[0]: s.automatic for name, s in found.items()}
    assert marks == {"dense": True, "mine": False, "given": False}


def test_attributes_name_the_layers_of_a_layer(K: Any) -> None:
    """What its code calls them says more than numbers. The order is that in which it holds them,
    and what comes before them is what comes before the layer."""
    inputs = K.Input((4,))
    x = block_of(K)(name="block")(K.layers.Dense(4, name="stem")(inputs))
    found = by_layer(K.Model(inputs, K.layers.Dense(2, name="head")(x)))
    paths = {f"block/{part}" for part in PARTS}
    assert found.keys() == {"stem", "head"} | paths
    for path in paths:
        spec = found[path]
        assert (spec.after, spec.inside, spec.automatic) == (("stem",), "block", False)
    assert (found["stem"].inside, found["head"].inside) == ("", "")
    assert found["head"].after is not None
    assert paths < set(found["head"].after)
    assert (found["stem"].order, found["head"].order) == (0, 6)


def test_a_subclassed_model(K: Any) -> None:
    """Nothing is known of what comes before, and the attributes of all levels are the path."""
    block = block_of(K)

    class Net(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.two = block()
            self.blocks = {"x": block()}
            self.head = K.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.head(self.two(self.blocks["x"](x)))

    model = Net()
    model(np.zeros((1, 4), "f4"))
    found = by_layer(model)
    assert found.keys() == {
        *(f"{above}/{part}" for above in ("two", "blocks/x") for part in PARTS),
        "head",
    }
    assert {spec.after for spec in found.values()} == {None}
    assert {spec.inside for spec in found.values()} == {""}
    assert {spec.automatic for spec in found.values()} == {False}


def test_paths_are_unique(K: Any) -> None:
    """Two layers of one name in one layer are told apart."""

    class Twins(K.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.one = K.layers.Dense(4, name="same")
            self.two = K.layers.Dense(4, name="same")

        def call(self, x: Any) -> Any:
            return self.two(self.one(x))

    inputs = K.Input((4,))
    found = by_layer(K.Model(inputs, Twins(name="twins")(inputs)))
    assert found.keys() == {"twins/same", "twins/same#2"}


def test_a_layer_with_two_variables_is_one_layer(K: Any) -> None:
    """All weights of a layer have its path, order and what comes before."""
    inputs = K.Input((4,))
    x = K.layers.BatchNormalization(name="bn")(K.layers.Dense(4, name="fc")(inputs))
    found = [spec for spec in specs(K.Model(inputs, x)).values() if spec.name == "bn"]
    assert len(found) == 4
    assert {(spec.order, spec.after) for spec in found} == {(1, ("fc",))}
