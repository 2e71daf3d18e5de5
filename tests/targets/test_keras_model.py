"""A Keras 3 model as a target: it ends as Keras itself would restore it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_models import (
    MODELS,
    SIZE,
    Subclassed,
    bits,
    fill,
    later,
    nested,
    restore,
    sequential,
    shared,
    subclassed,
    train,
)

from initreg import (
    SmartInit,
    StateWarning,
    TargetError,
)
from initreg_targets.keras_layout import layout
from initreg_targets.keras_model import initreg_target

# Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("build", MODELS)
def test_a_file_of_the_same_model(build: Callable[[], Any], suffix: str, tmp_path: Path) -> None:
    """What Keras saved restores into another instance exactly as Keras restores it."""
    saved, ours, theirs = build(), later(build), later(build)
    fill(saved)
    path = str(tmp_path / f"model{suffix}")
    saved.save_weights(path) if suffix == ".weights.h5" else saved.save(path)
    theirs.load_weights(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(theirs.weights) == bits(saved.weights)
    x = np.ones((2, *saved.inputs[0].shape[1:]) if build is not subclassed else (2, SIZE))
    np.testing.assert_array_equal(ours(x), saved(x))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_trained_model_with_its_optimizer(suffix: str, wrapped: bool, tmp_path: Path) -> None:
    """The optimizer's state is restored, also that of one that wraps another, and the next step is
    the same."""

    def build() -> Any:
        model = nested()
        optimizer = keras.optimizers.Adam(0.01)
        if wrapped:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(optimizer, "mse")
        return model

    rng = np.random.default_rng(0)
    data = rng.random((8, SIZE)).astype("f4"), rng.random((8, SIZE)).astype("f4")
    saved, ours = build(), build()
    saved.fit(*data, verbose=0)
    ours.fit(data[1], data[0], verbose=0)
    path = str(tmp_path / f"model{suffix}")
    saved.save_weights(path) if suffix == ".weights.h5" else saved.save(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(saved.weights)
    assert bits(ours.optimizer.variables) == bits(saved.optimizer.variables)
    for model in (saved, ours):
        model.fit(*data, verbose=0, shuffle=False)
    assert bits(ours.weights) == bits(saved.weights)


def test_an_optimizer_that_is_not_built_is_left_alone(tmp_path: Path) -> None:
    """As in Keras, nothing is restored into an optimizer without state."""
    saved, ours = sequential(), sequential()
    train(saved, 0)
    ours.compile("adam", "mse")
    path = str(tmp_path / "m.weights.h5")
    saved.save_weights(path)
    plan = SmartInit(path).init(ours)
    (note,) = plan.states
    assert note.is_quiet
    assert "the target has no optimizer that is built" in note.text
    assert bits(ours.weights) == bits(saved.weights)
    assert int(ours.optimizer.iterations) == 0


def test_by_variable_path() -> None:
    """A dict of variable paths fills the model, moving statistics included. The state of seeds,
    which Keras does not save, is not a variable of the target."""
    x = inputs = keras.Input((SIZE,))
    x = layers.Dropout(0.5)(layers.BatchNormalization(name="bn")(layers.Dense(2, name="fc")(x)))
    model = keras.Model(inputs, x)
    target = initreg_target(model)
    assert target is not None
    specs = {spec.name: spec for spec in target.variables()}
    assert set(specs) == {v.path for v in model.weights}
    assert len(model.variables) == len(model.weights) + 1
    assert specs["fc/kernel"].shape == (SIZE, 2)
    assert specs["fc/kernel"].aliases[0] == "fc/vars/0"  # with the name of its layer
    assert specs["fc/kernel"].places[0] == "layers/dense/vars/0"
    rng = np.random.default_rng(0)
    given = {n: rng.integers(0, 9, s.shape).astype(s.dtype) for n, s in specs.items()}
    plan = SmartInit(given).init(model)
    assert len(plan.restored) == len(plan) == len(model.weights)
    for v in model.weights:
        np.testing.assert_array_equal(np.asarray(v), given[v.path])


def test_metrics_are_not_part_of_it() -> None:
    """The state of metrics is not a weight."""
    model = sequential()
    train(model, 0)
    target = initreg_target(model)
    assert target is not None
    names = {spec.name for spec in target.variables()}
    assert names == {v.path for v in (*model.weights, *model.optimizer.variables)}
    assert not names & {v.path for v in model.metrics_variables}


def test_equal_paths_are_told_apart(tmp_path: Path) -> None:
    """If two variables have the same path, their names in the file are their primary names."""

    class Twins(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.Dense(SIZE, name="x")
            self.rest = [layers.Dense(SIZE, name="x")]

        def call(self, x: Any) -> Any:
            return self.rest[0](self.first(x))

    def build() -> Any:
        model = Twins()
        model(np.zeros((1, SIZE), "f4"))
        return model

    ours, saved = build(), build()
    fill(saved)
    assert len({v.path for v in ours.weights}) == 2
    target = initreg_target(ours)
    assert target is not None
    names = [spec.name for spec in target.variables()]
    assert sorted(n for n in names if "vars" in n) == [
        *("first/vars/0", "first/vars/1", "layers/dense_1/vars/0", "layers/dense_1/vars/1")
    ]
    path = str(tmp_path / "m.weights.h5")
    saved.save_weights(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(saved.weights)


def test_a_layer_alone() -> None:
    """A built layer is a target, with the same names."""
    layer = layers.Dense(2, name="fc")
    layer.build((None, SIZE))
    target = initreg_target(layer)
    assert target is not None
    assert target.label == "Keras layer 'fc'"
    assert [spec.places[0] for spec in target.variables()] == ["vars/0", "vars/1"]
    given = {v.path: np.ones(tuple(v.shape), "f4") for v in layer.variables}
    SmartInit(given).init(layer)
    assert np.asarray(layer.kernel).min() == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
def test_dtype_policies(policy: str, tmp_path: Path) -> None:
    """Variables are written in their own dtype, whatever the layer computes in."""

    def build() -> Any:
        dense = layers.Dense(SIZE, dtype=policy)
        return keras.Sequential([keras.Input((SIZE,)), dense])

    saved, ours = build(), build()
    fill(saved)
    path = str(tmp_path / "m.weights.h5")
    saved.save_weights(path)
    restore(path, ours)
    assert [v.dtype for v in ours.weights] == [v.dtype for v in saved.weights]
    assert bits(ours.weights) == bits(saved.weights)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_state_of_another_optimizer_is_not_restored(suffix: str, tmp_path: Path) -> None:
    """Adam's state does not fit SGD: the weights are restored, and the state is not."""

    def model(optimizer: Any) -> Any:
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
        made.compile(optimizer, "mse")
        made.optimizer.build(made.trainable_variables)
        return made

    saved = model(keras.optimizers.Adam(0.5))
    path = tmp_path / f"model{suffix}"
    saved.save(path) if suffix == ".keras" else saved.save_weights(path)
    ours = model(keras.optimizers.SGD(0.125, momentum=0.9))
    before = bits(ours.optimizer.variables)
    with pytest.warns(StateWarning, match="the state of SGD is not restored: the source has that"):
        SmartInit(path).init(ours)
    assert bits(ours.weights) == bits(saved.weights)
    assert bits(ours.optimizer.variables) == before


def test_a_weight_that_only_the_optimizer_tracks_has_no_numbered_name() -> None:
    """Freezing layers shifts the optimizer's numbers, so no weight has one of them as an alias,
    and no state."""
    model = nested()
    train(model, 0)
    target = initreg_target(model)
    assert target is not None
    aliases = {spec.name: spec.aliases for spec in target.variables()}
    for v in (*model.weights, *model.optimizer.variables):
        assert [a for a in aliases[v.path] if a.startswith("optimizer/")] == []


@pytest.mark.parametrize(
    "make", [lambda: keras.Sequential([layers.Dense(2)]), Subclassed, lambda: layers.Dense(2)]
)
def test_what_is_not_built_is_refused(make: Callable[[], Any]) -> None:
    """A model that has no variables yet is an error that says to build it."""
    with pytest.raises(TargetError, match=r"not built.*build\(input_shape\)"):
        SmartInit({"v": np.float32(1)}).init(make())


def test_shares_no_memory_with_the_source() -> None:
    """Editing the user's array changes no weight, and training changes none of the user's
    arrays."""
    model = sequential()
    given = {v.path: np.full(tuple(v.shape), 0.5, "f4") for v in model.weights}
    kept = {name: array.copy() for name, array in given.items()}
    SmartInit(given).init(model)
    train(model, 0)
    for name, array in given.items():
        np.testing.assert_array_equal(array, kept[name])
    before = bits(model.weights)
    for array in given.values():
        array[:] = 7
    assert bits(model.weights) == before


def test_without_keras_own_walk_paths_still_match(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If Keras saves in an unknown way, variables are still matched by path, and the log says what
    is missing."""
    from keras.src.saving import saving_lib

    model = sequential()
    monkeypatch.delattr(saving_lib, "_walk_saveable")
    with caplog.at_level(logging.WARNING, "initreg"):
        SmartInit({v.path: np.ones(tuple(v.shape), "f4") for v in model.weights}).init(model)
    assert "matched by path only" in caplog.text
    assert all(np.asarray(v).min() == 1 for v in model.weights)


def test_looking_at_a_model_copies_nothing() -> None:
    """The walk finds the variables themselves, each once under each name, and changes none."""
    model = shared()
    train(model, 0)
    before = bits(model.variables)
    found, _ = layout(model, [id(model.optimizer)])
    assert len({(name, id(v)) for name, v in found}) == len(found)
    assert {id(v) for _, v in found} == {id(v) for v in model.weights}
    assert bits(model.variables) == before


def test_the_same_shapes_in_another_order_are_not_mixed_up(tmp_path: Path) -> None:
    """Twelve layers of the same shape are each restored into their own place, though names sort
    differently."""

    def build() -> Any:
        return keras.Sequential([keras.Input((SIZE,)), *(layers.Dense(SIZE) for _ in range(12))])

    saved, ours = build(), later(build)
    fill(saved)
    path = str(tmp_path / "m.weights.h5")
    saved.save_weights(path)
    restore(path, ours)
    assert bits(ours.weights) == bits(saved.weights)
