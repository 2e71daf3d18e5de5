"""State in doubt, of a part of the model, in another order, and where there is none."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from trained import (
    FORMATS,
    LIBRARIES,
    holder,
    holds_state,
    library,
    model,
    optimizers,
    restored,
    save,
    scaled,
    state,
    train,
    values,
    variables,
)

from initreg import InitregWarning, SmartInit, StateWarning

pytestmark = [
    pytest.mark.framework,
    # Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy`.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def test_momenta_never_become_velocities(tmp_path: Path) -> None:
    """A file of tf_keras records no class. But RMSprop's velocities are squares, and what has
    negative values is none."""
    saved = model("tf_keras", optimizers("tf_keras")["SGD"](), 1)
    path = save(saved, ".weights.h5", tmp_path)
    ours = model("tf_keras", optimizers("tf_keras")["RMSprop"](), 2)
    before = state(ours)
    plan = SmartInit(path).plan(ours)
    assert "does not record its class" in str(plan)
    plan, told = restored(path, ours)
    assert state(ours) == before
    assert values(ours)[: len(ours.weights)] == values(saved)[: len(saved.weights)]
    assert "has negative values, and 'RMSprop/velocity/" in told[0]
    assert len(plan.of("optimizer state")) == len(before) + 1  # the rate, which no file has
    assert all(np.isfinite(train(ours, 3)))
    with pytest.warns(StateWarning, match="negative"):  # also if somebody says that it is right
        SmartInit(path, by="place", expect_unused="metrics/*").init(ours)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_other_options_of_the_same_class(name: str, form: str, tmp_path: Path) -> None:
    """Adam with amsgrad has more slots, so nothing of the state of Adam is written."""
    o = library(name).optimizers
    path = save(model(name, o.Adam(0.01), 1), form, tmp_path)
    ours = model(name, o.Adam(0.01, amsgrad=True), 2)
    before = state(ours)
    _, told = restored(path, ours)
    assert state(ours) == before
    assert "other options" in told[0]


def test_a_file_of_keras_before_names_were_recorded(tmp_path: Path) -> None:
    """Keras 3.0 to 3.5 recorded no names: the state is restored, with a warning that says how to
    be sure. by="place" says it."""
    saved = model("keras", optimizers("keras")["Adam"](), 1)
    path = save(saved, ".weights.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["optimizer/vars"].attrs["name"]
    ours = model("keras", optimizers("keras")["Adam"](), 2)
    _, told = restored(path, ours)
    assert values(ours) == values(saved)
    assert "pass by='place'; to leave the state out, pass drop='optimizer/*'" in told[0]
    again = model("keras", optimizers("keras")["Adam"](), 3)
    assert restored(path, again, by="place")[1] == []
    assert values(again) == values(saved)
    third = model("keras", optimizers("keras")["Adam"](), 4)
    before = state(third)
    plan, told = restored(path, third, drop="optimizer/*")
    assert (state(third), told, len(plan.of("dropped"))) == (before, [], len(before))


@pytest.mark.parametrize("form", [".weights.h5", ".keras", "model"])
def test_names_that_people_gave(form: str, tmp_path: Path) -> None:
    """A name tells an optimizer from another one. It is no class, unless one is recorded."""
    adam = keras.optimizers.Adam
    saved = model("keras", adam(0.01, name="of_the_generator"), 1)
    path = save(saved, form, tmp_path)
    ours = model("keras", adam(0.01, name="of_the_generator"), 2)
    _, told = restored(path, ours)
    assert values(ours) == values(saved)
    assert told == []
    other = model("keras", adam(0.01), 3)
    before = state(other)
    _, told = restored(path, other)
    if form == ".keras":
        assert values(other) == values(saved)
        return
    assert state(other) == before
    assert "an optimizer called 'of_the_generator'" in told[0]
    restored(path, other, by="place")
    assert values(other) == values(saved)


@pytest.mark.parametrize("first", ["SGD", "RMSprop"])
def test_one_name_for_two_classes(first: str, tmp_path: Path) -> None:
    """A file of weights does not record the class. Where the values may be of another one, a
    warning says so; where they cannot be right, they are left out."""
    made = {"SGD": keras.optimizers.SGD, "RMSprop": keras.optimizers.RMSprop}
    options = {"SGD": {"momentum": 0.9}, "RMSprop": {}}
    second = "RMSprop" if first == "SGD" else "SGD"
    saved = model("keras", made[first](0.01, name="opt", **options[first]), 1)
    ours = model("keras", made[second](0.01, name="opt", **options[second]), 2)
    before = state(ours)
    _, told = restored(save(saved, ".weights.h5", tmp_path), ours)
    assert (state(ours) == before) == (first == "SGD")
    assert ("negative values" if first == "SGD" else "an optimizer called 'opt'") in told[0]


@pytest.mark.parametrize("form", [".weights.h5", "model", "model and optimizer"])
@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_automatic_names_of_a_scaled_optimizer(kind: str, form: str, tmp_path: Path) -> None:
    """The optimizer in a LossScaleOptimizer is called adam_1_1 in a checkpoint, if it is not the
    first of its process."""
    make = scaled("keras")[f"scaled {kind}"]
    model("keras", make(), 1)
    saved, ours, theirs = (model("keras", make(), seed) for seed in (2, 3, 4))
    path = save(saved, form, tmp_path)
    assert restored(path, ours)[1] == []
    if form == ".weights.h5":
        theirs.load_weights(str(path))
    else:
        holder(theirs, form).read(str(path)).assert_existing_objects_matched()
    assert values(ours) == values(theirs) == values(saved)


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
@pytest.mark.parametrize("word", ["adam", "rmsprop", "sgd"])
def test_an_optimizer_by_a_word(name: str, word: str, tmp_path: Path) -> None:
    """``compile("adam")`` leaves the word in the archive, which tells the class."""
    saved, ours = (model(name, word, seed) for seed in (1, 2))
    path = save(saved, ".keras", tmp_path)
    assert restored(path, ours)[1] == []
    assert values(ours) == values(saved)
    other = model(name, "adagrad", 3)
    assert f"the source has that of {type(saved.optimizer).__name__}" in restored(path, other)[1][0]


# --- a part of the model, or another order ------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_new_head(name: str, form: str, tmp_path: Path, caplog: Any) -> None:
    """Transfer learning: the state is left out, in one quiet line rather than a list of names."""
    make = optimizers(name)["Adam"]
    path = save(model(name, make(), 1), form, tmp_path)
    ours = model(name, make(), 2, head=5)
    train_on = np.zeros((8, 4), "f4"), np.zeros((8, 5), "f4")
    ours.train_on_batch(*train_on)
    before = state(ours)
    head = ours.layers[-1].name
    with caplog.at_level(logging.INFO, "initreg"):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", InitregWarning)
            plan = SmartInit(path, ignore=f"*{head}/*").init(ours)
    assert state(ours) == before
    assert "2 of the 8 weights that it is for are not restored" in caplog.text
    assert not any("optimizer" in str(each.message) for each in found)
    assert plan.missing("warn") == ()


def two_layers(order: str, names: str, optimizer: Any, seed: int) -> Any:
    """Two layers of equal shapes with names that somebody gave them, in some order."""
    keras.utils.set_random_seed(seed)
    made = keras.Sequential([keras.Input((4,))], name="net")
    for letter in order:
        made.add(keras.layers.Dense(4, name=names + letter))
    made.add(keras.layers.Dense(3, name="head"))
    made.compile(optimizer, keras.losses.MeanSquaredError(), run_eagerly=True)
    train(made, seed)
    return made


def by_name(made: Any) -> dict[str, bytes]:
    return {v.path: np.asarray(v.numpy()).tobytes() for v in variables(made)}


@pytest.mark.parametrize("form", ["model", ".h5"])
def test_state_follows_its_weights(form: str, tmp_path: Path) -> None:
    """If layers are matched by name in another order, so is their state, where names say it."""
    saved = two_layers("ab", "layer_of_", keras.optimizers.Adam(0.01, name="adam"), 1)
    path = save(saved, form, tmp_path)
    ours = two_layers("ba", "layer_of_", keras.optimizers.Adam(0.01, name="adam"), 2)
    _, told = restored(path, ours, by="name")
    assert told == []
    assert by_name(ours) == by_name(saved)


def test_a_list_in_another_order(tmp_path: Path) -> None:
    """A list without names is of no use then, and that is told."""
    saved = two_layers("ab", "layer_of_", keras.optimizers.Adam(0.01), 1)
    path = save(saved, ".weights.h5", tmp_path)
    ours = two_layers("ba", "layer_of_", keras.optimizers.Adam(0.01), 2)
    before = state(ours)
    _, told = restored(path, ours, by="name")
    assert "in the order of the model that was saved" in told[0]
    assert state(ours) == before


# --- optimizers that are not there --------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("compiled", [False, True])
def test_without_an_optimizer_that_is_built(
    name: str, form: str, compiled: bool, tmp_path: Path, caplog: Any
) -> None:
    """As in Keras's load_weights, nothing is restored. One quiet line says it, and no variable is
    made."""
    make = optimizers(name)["Adam"]
    if not holds_state(name, form, "Adam"):
        pytest.skip("this format holds no state of legacy optimizers")
    saved = model(name, make(), 1)
    path = save(saved, form, tmp_path)
    ours = model(name, make(), 2)
    if compiled:
        ours.compile(make(), "mse")
    else:
        ours.optimizer = None
    with caplog.at_level(logging.INFO, "initreg"):
        plan, told = restored(path, ours)
    assert told == []
    assert caplog.text.count("no optimizer that is built") == 1
    assert len(plan.restored) == len(ours.weights)
    own = [np.asarray(v.numpy()).tobytes() for v in ours.weights]
    assert own == values(saved)[: len(own)]
    if compiled and name != "legacy":
        assert int(ours.optimizer.iterations) == 0
    if compiled and name == "legacy":
        assert ours.optimizer.weights == []


def test_weights_without_state(tmp_path: Path) -> None:
    """Into a model that was trained: its optimizer keeps what it has, without a warning."""
    path = save(model("keras", keras.optimizers.Adam(0.01), 1), ".weights.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["optimizer"]
    bare = model("keras", keras.optimizers.Adam(0.01), 2)
    before = state(bare)
    plan, told = restored(path, bare)
    assert (state(bare), told) == (before, [])
    assert len(plan.of("optimizer state")) == len(before)


def test_a_part_of_the_state_in_a_dict() -> None:
    """A counter alone would make a new state of two halves. Beside the rest, it may replace it."""
    ours = model("keras", keras.optimizers.Adam(0.01, name="adam"), 1)
    before = state(ours)
    named = {v.path: v.numpy() for v in ours.weights}
    with pytest.warns(StateWarning, match="has 1 of its 18 variables.*by='name'"):
        SmartInit({**named, "adam/iteration": np.int64(7)}, on_unused="ignore").init(ours)
    assert state(ours) == before
    whole = {v.path: v.numpy() for v in variables(ours)}
    SmartInit([whole, {"adam/iteration": np.int64(7)}]).init(ours)
    assert int(ours.optimizer.iterations) == 7
    SmartInit({**named, "adam/iteration": np.int64(8)}, by="name").init(ours)
    assert int(ours.optimizer.iterations) == 8
