"""Models with several optimizers, wherever they keep them: each gets its own state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from trained import library, restored, save

pytestmark = [
    pytest.mark.framework,
    # Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy`.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


class Game(keras.Model):  # type: ignore[misc]
    """Two networks with an optimizer each, which it keeps under some names or in a structure."""

    def __init__(self, seed: int, keep: Callable[[Any, list[Any]], None]) -> None:
        super().__init__()
        keras.utils.set_random_seed(seed)
        self.generator = keras.layers.Dense(4, name="generator")
        self.critic = keras.layers.Dense(4, name="critic")
        self(np.zeros((1, 4), "f4"))
        made = []
        for part, rate in ((self.generator, 0.1), (self.critic, 0.2)):
            optimizer = keras.optimizers.Adam(rate)
            optimizer.build(part.trainable_variables)
            rng = np.random.default_rng(seed)
            for v in optimizer.variables[2:]:
                v.assign(rng.random(tuple(v.shape)).astype("f4") + rate)
            optimizer.iterations.assign(seed)
            made.append(optimizer)
        keep(self, made)
        self.all_of_them = tuple(made)

    def call(self, x: Any) -> Any:
        return self.critic(self.generator(x))

    def state(self) -> list[bytes]:
        found = [v for each in self.all_of_them for v in each.variables]
        return [np.asarray(v.numpy()).tobytes() for v in [*self.weights, *found]]


def as_attributes(*names: str) -> Callable[[Any, list[Any]], None]:
    def keep(model: Any, made: list[Any]) -> None:
        for name, each in zip(names, made, strict=True):
            setattr(model, name, each)

    return keep


def as_list(model: Any, made: list[Any]) -> None:
    model.trainers = list(made)


def as_dict(model: Any, made: list[Any]) -> None:
    model.trainers = {"b": made[0], "a": made[1]}


KEPT = {
    "names that end in optimizer": as_attributes("generator_optimizer", "critic_optimizer"),
    "other names": as_attributes("opt_of_generator", "a_trainer"),
    "a list": as_list,
    "a dict": as_dict,
}


@pytest.mark.parametrize("form", [".weights.h5", "model"])
@pytest.mark.parametrize("kept", KEPT)
def test_several_optimizers_of_a_model(kept: str, form: str, tmp_path: Path) -> None:
    """As Keras and TensorFlow restore them."""
    saved, ours, theirs = (Game(seed, KEPT[kept]) for seed in (1, 2, 3))
    path = save(saved, form, tmp_path)
    if form == "model":
        tf.train.Checkpoint(theirs).read(str(path)).assert_consumed()
    else:
        theirs.load_weights(str(path))
    assert theirs.state() == saved.state()
    plan, told = restored(path, ours)
    assert (told, plan.unused("warn"), plan.missing("warn")) == ([], (), ())
    assert ours.state() == saved.state()


def game_of_models(name: str, seed: int, kind: str = "Adam") -> Any:
    """A critic that was compiled on its own, in a model that trains the generator."""
    k = library(name)
    k.utils.set_random_seed(seed)
    critic = k.Sequential([k.Input((4,)), k.layers.Dense(3)], name="critic")
    critic.compile(getattr(k.optimizers, kind)(0.1), "mse")
    generator = k.Sequential([k.Input((4,)), k.layers.Dense(4)], name="generator")
    whole = k.Sequential([k.Input((4,)), generator, critic])
    whole.compile(k.optimizers.Adam(0.2), "mse", run_eagerly=True)
    rng = np.random.default_rng(seed)
    for model in (critic, whole):
        x = rng.random((8, 4)).astype("f4")
        model.train_on_batch(x, rng.random((8, 3)).astype("f4"))
    return whole


def state(whole: Any) -> list[bytes]:
    found = list(whole.weights)
    for model in (whole, whole.layers[-1]):
        variables = model.optimizer.variables
        found += variables() if callable(variables) else variables
    return [np.asarray(each.numpy()).tobytes() for each in found]


@pytest.mark.parametrize("form", [".weights.h5", "model"])
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_an_optimizer_of_a_model_in_another_one(name: str, form: str, tmp_path: Path) -> None:
    """A GAN: its critic has an optimizer of its own."""
    saved, ours, theirs = (game_of_models(name, seed) for seed in (1, 2, 3))
    path = save(saved, form, tmp_path)
    if form == "model":
        tf.train.Checkpoint(theirs).read(str(path)).assert_consumed()
    else:
        theirs.load_weights(str(path))
    restored(path, ours)
    assert state(ours) == state(theirs) == state(saved)


@pytest.mark.parametrize("form", [".weights.h5", "model"])
def test_another_optimizer_of_a_model_in_another_one(form: str, tmp_path: Path) -> None:
    """Its state is left out, and that is told. All else is restored."""
    saved = game_of_models("keras", 1)
    path = save(saved, form, tmp_path)
    ours = game_of_models("keras", 2, "Lion")
    before = state(ours)
    critics = len(ours.layers[-1].optimizer.variables)
    plan, told = restored(path, ours)
    assert len(told) == 1
    assert told[0].split(": ", 1)[1].startswith("the state of Lion is not restored")
    now = state(ours)
    assert now[-critics:] == before[-critics:]
    assert not set(now[:-critics]) & (
        set(before[:-critics]) - set(state(game_of_models("keras", 1)))
    )
    assert len(plan.restored) == len(now) - critics


def test_a_layer_that_is_called_like_an_optimizer(tmp_path: Path) -> None:
    """Its weights are weights."""

    class TokenOptimizer(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(4,), initializer="random_normal", name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    def build(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((4,)), TokenOptimizer()])

    saved, ours = build(1), build(2)
    path = save(saved, ".weights.h5", tmp_path)
    plan, told = restored(path, ours)
    assert (told, len(plan.restored)) == ([], 1)
    x = np.ones((1, 4), "f4")
    np.testing.assert_array_equal(ours(x), saved(x))
