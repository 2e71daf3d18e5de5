"""Names that Keras made, in models where they do not show the layer or the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from initreg import InitregWarning, MissingWarning, SmartInit

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

layers = keras.layers
X = np.float32([[1, -2, 3, 5], [2, 1, 0, -1]])


class Raw(layers.Layer):
    """A layer whose variables have no names, or those that somebody gives."""

    def __init__(self, *names: str, **options: Any) -> None:
        super().__init__(**options)
        given = [{"name": each} for each in names] or [{}, {}]
        self.scale, self.shift = (keras.Variable(np.ones(4, "f4"), **each) for each in given)

    def call(self, x: Any) -> Any:
        return x * self.scale + self.shift


class Other(Raw):
    """The same under another class name."""


class Block(layers.Layer):
    """A layer around another one."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.dense = layers.Dense(4, name=name)

    def call(self, x: Any) -> Any:
        return self.dense(x)


class Net(keras.Model):
    """Two layers of one kind."""

    def __init__(self, make: Callable[[], Any], name: str | None = None) -> None:
        super().__init__(name=name)
        self.a, self.b = make(), make()

    def call(self, x: Any) -> Any:
        return self.b(self.a(x))


def filled(model: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    model(X)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    return model


def told(path: Any, target: Any, **options: Any) -> list[Any]:
    """The categories of the warnings of a restore."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", InitregWarning)
        SmartInit(path, **options).init(target)
    return [each.category for each in found if issubclass(each.category, InitregWarning)]


# --- variables without names ----------------------------------------------------------------------


def raw(*kinds: Any, anew: bool = True, **options: Any) -> Any:
    if anew:
        keras.utils.clear_session()
    inside = [kind(**options) for kind in kinds]
    return keras.Sequential([keras.Input((4,)), *inside, layers.Dense(4)])


@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_variables_without_names(suffix: str, anew: bool, tmp_path: Path) -> None:
    """Keras calls them variable, variable_1, ...: their numbers say nothing, and the class of
    their layers is that of the same model."""
    saved = filled(raw(Raw, Raw), 1)
    path = str(tmp_path / f"m{suffix}")
    saved.save_weights(path) if suffix == ".weights.h5" else saved.save(path)
    ours, theirs = filled(raw(Raw, Raw, anew=anew), 2), filled(raw(Raw, Raw), 3)
    assert [v.path for v in ours.weights[:4]] == [
        f"variable_{n}".removesuffix("_0") for n in (range(4) if anew else range(4, 8))
    ]
    theirs.load_weights(path)
    assert told(path, ours) == []
    np.testing.assert_array_equal(ours(X), theirs(X))
    np.testing.assert_array_equal(ours(X), saved(X))


@pytest.mark.parametrize(
    "target",
    [
        lambda: raw(Raw, Other),
        lambda: keras.Sequential(
            [keras.Input((4,)), Raw(name="first"), Raw(name="second"), layers.Dense(4)]
        ),
    ],
)
def test_layers_with_other_names_of_variables_without(target: Any, tmp_path: Path) -> None:
    """In a legacy file the layer's name is all that tells such variables apart."""
    filled(raw(Raw, Raw), 1).save(str(tmp_path / "m.h5"))
    ours = filled(target(), 2)
    before = [np.asarray(v) for v in ours.weights[2:4]]
    assert MissingWarning in told(tmp_path / "m.h5", ours)
    np.testing.assert_array_equal(ours.weights[2:4], before)


# --- layers that were built before their model ----------------------------------------------------

MODELS: dict[str, Callable[[], Any]] = {
    "layers": lambda: Net(lambda: layers.Dense(4)),
    "layers with names": lambda: Net(iter([layers.Dense(4, name=n) for n in "pq"]).__next__),
    "layers in layers": lambda: Net(Block),
    "named layers in layers": lambda: Net(lambda: Block("inner")),
    "a model with a name": lambda: Net(lambda: layers.Dense(4), "net"),
    "models in a model": lambda: Net(lambda: Net(lambda: layers.Dense(4))),
    "in a functional model": lambda: keras.Sequential([keras.Input((4,)), Block(), Block()]),
}


def first(model: Any, which: str) -> Any:
    """Call a part of the model before the model."""
    part = model.b if hasattr(model, "b") else model.layers[-1]
    if which == "innermost":
        part = getattr(part, "dense", getattr(part, "b", part))
    part(X)
    return model


@pytest.mark.parametrize("which", ["a part", "innermost"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("before", ["the target", "the source"])
def test_a_layer_that_was_called_before_its_model(
    before: str, kind: str, which: str, tmp_path: Path
) -> None:
    """Its variables have a path without the model, which is no name that somebody gave."""
    make = MODELS[kind]
    saved = make() if before == "the target" else first(make(), which)
    prefix = str(tmp_path / "ck")
    tf.train.Checkpoint(model=filled(saved, 1)).write(prefix)
    ours, theirs = make(), make()
    if before == "the target":
        ours, theirs = first(ours, which), first(theirs, which)
    filled(ours, 2), filled(theirs, 3)
    tf.train.Checkpoint(model=theirs).read(prefix).assert_existing_objects_matched()
    assert told(prefix, ours) == []
    np.testing.assert_array_equal(ours(X), theirs(X))
    np.testing.assert_array_equal(ours(X), saved(X))


def test_a_layer_of_another_name_that_was_called_before(tmp_path: Path) -> None:
    """Where the file records the names of layers, another one is still another one."""
    saved = filled(first(MODELS["layers with names"](), "a part"), 1)
    tf.train.Checkpoint(model=saved).write(str(tmp_path / "ck"))
    ours = filled(Net(iter([layers.Dense(4, name=n) for n in "pr"]).__next__), 2)
    before = np.asarray(ours.b.kernel)
    assert MissingWarning in told(tmp_path / "ck", ours)
    np.testing.assert_array_equal(ours.b.kernel, before)
