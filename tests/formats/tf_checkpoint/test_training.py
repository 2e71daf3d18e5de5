"""initreg_formats.tf_checkpoint.training: what only training needs, by what a checkpoint shows."""

from __future__ import annotations

import initreg
from initreg_formats.tf_checkpoint.training import _not_too_deep, inference, training_state


def dropped(*shown: str) -> dict[str, str]:
    """What is dropped of arrays given as ``"name"``, of 3 floats, or ``"name:shape:dtype"``."""
    specs = []
    for text in shown:
        name, shape, dtype = (text + ("" if ":" in text else ":3:float32")).split(":")
        axes = tuple(int(axis) for axis in shape.split(",") if axis)
        specs.append(initreg.ArraySpec(name, axes, dtype))
    return training_state(specs)


def test_a_slot_has_its_variable_beside_it() -> None:
    """Of the same shape; a name alone is no proof, and averages of weights are kept."""
    assert set(dropped("w", "w/Adam", "w/Adam_1", "w/Momentum", "w/AccumGrad")) == {
        "w/Adam",
        "w/Adam_1",
        "w/Momentum",
        "w/AccumGrad",
    }
    assert dropped("v/Adam", "w", "w/Adam:2:float32", "w/Adamant") == {}
    assert dropped("w", "w/ExponentialMovingAverage", "w/.OPTIMIZER_SLOT/opt/average") == {}
    assert set(dropped("w", "w/.OPTIMIZER_SLOT/optimizer/m")) == {"w/.OPTIMIZER_SLOT/optimizer/m"}
    parts = ["w:6,3:float32", "w/w/part_0/Adam:3,3:float32", "w/w/part_1/Adam:3,3:float32"]
    assert len(dropped(*parts)) == 2


def test_bookkeeping_is_one_number() -> None:
    """Counters are integers, rates and averages of summaries floats; others only look like it."""
    counters = ["global_step::int64", "save_counter::int64", "AccumGrad/counter::int32"]
    numbers = ["learning_rate::float32", "a/beta2_power_1::float32", "EMA/cost::float32"]
    assert len(dropped(*counters, *numbers)) == 6
    assert dropped("global_step::float32", "learning_rate", "net/learning_rate::float32") == {}
    assert dropped("bn/mean/EMA", "EMA/w", "bn/EMA::float32", "save_counter") == {}


def test_scopes_of_keras_need_their_counter() -> None:
    """Without a counter of steps nothing below a scope is an optimiser's."""
    listed = ["w", "optimizer/vars/1", "optimizer/vars/2"]
    assert dropped(*listed) == {}
    assert len(dropped(*listed, "optimizer/vars/0::int64")) == 3
    scope = ["a/w", "adam/a_w_momentum", "adam/a_w_average", "adam/b_momentum"]
    assert dropped(*scope) == {}
    counted = dropped(*scope, "adam/iteration::int64", "adam/learning_rate::float32")
    assert set(counted) == {"adam/a_w_momentum", "adam/iteration", "adam/learning_rate"}
    assert dropped("net/w", "net/iteration::int64", "net/temperature::float32") == {}


def test_names_of_no_model_are_not_tried_without_end() -> None:
    """Of scopes in each other the outer eight are looked at, of the words of a name the last
    sixteen as the name of a slot: what a file could ask for besides is quadratic."""
    nested = ["", *("a/" * depth for depth in range(1, 12)), "a/b/", "b/"]
    assert list(_not_too_deep(sorted(nested))) == [*nested[:8], "a/b/", "b/"]
    short, long = (f"adam/w_{'_'.join('m' * count)}" for count in (16, 17))
    assert set(dropped("w", "adam/iteration::int64", short, long)) == {"adam/iteration", short}


def test_a_place_in_a_list_is_published_under_the_name_that_the_program_had() -> None:
    """Unless another array has that name already, or the name is itself a place in a list."""
    specs = [
        initreg.ArraySpec("opt/_trainable_variables/0", (3,), "float32", ("dense/kernel",)),
        initreg.ArraySpec("opt/_trainable_variables/1", (3,), "float32", ("taken",)),
        initreg.ArraySpec("opt/_trainable_variables/2", (3,), "float32", ("Variable of 3",)),
        initreg.ArraySpec("taken", (3,), "float32", ("other",)),
    ]
    found = inference(specs)
    assert found.dropped == {}
    assert found.renamed == {"opt/_trainable_variables/0": "dense/kernel"}
