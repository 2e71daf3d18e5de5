"""initreg.plan.unnamed: numbers of variables that nobody named are not names."""

import pytest

from initreg.errors import AmbiguousNames
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.rows import By
from initreg.specs import ArraySpec, VariableSpec


def restored(have, want, by=None, shapes=None, automatic=True):
    shapes = shapes or {}
    arrays = [ArraySpec(name, shapes.get(name, (2,)), "float32") for name in have]
    variables = [
        VariableSpec(name, (2,), "float32", (f"at/{n}",), (f"at/{n}",), (name,) * automatic)
        for n, name in enumerate(want)
    ]
    plan = match([SourceSpecs("m.npz", arrays, by=by)], variables, "model")
    return {row.name: row.array for row in plan.restored}


def test_the_order_in_the_layer_counts():
    """Numbers begin elsewhere in another program, and have gaps. They count as numbers."""
    assert restored(["s/variable", "s/variable_1"], ["s/variable_1", "s/variable_2"]) == {
        "s/variable_1": "s/variable",
        "s/variable_2": "s/variable_1",
    }
    assert restored(["s/variable_10", "s/variable_9"], ["s/variable_4", "s/variable"]) == {
        "s/variable": "s/variable_9",
        "s/variable_4": "s/variable_10",
    }
    assert restored(["s/variable_162", "t/b"], ["s/variable_7", "t/b"]) == {
        "s/variable_7": "s/variable_162",
        "t/b": "t/b",
    }


def test_equal_numbers_are_names():
    """So is a part of them that begins alike, as in a dict of some weights."""
    both = ["s/variable_3", "s/variable_4"]
    assert restored(both, both) == dict(zip(both, both, strict=True))
    assert restored(both[:1], both) == {both[0]: both[0]}


def test_numbers_that_may_mean_others_are_an_error():
    """It has both readings, and each can be typed."""
    want = ["s/variable", "s/variable_1", "t/b"]
    with pytest.raises(AmbiguousNames, match="begin elsewhere") as error:
        restored(["s/variable_1", "t/b"], want)
    assert 'by="name"' in str(error.value).replace("'", '"')
    assert 'drop="s/variable*"' in str(error.value).replace("'", '"')
    found = restored(["s/variable_1", "t/b"], want, by=By.NAME)
    assert found == {"s/variable_1": "s/variable_1", "t/b": "t/b"}
    have = ["s/variable_1", "s/variable_2", "t/b"]
    with pytest.raises(AmbiguousNames):  # the order does not fit
        restored(have, want, shapes={"s/variable_2": (3,)})
    assert restored(["s/variable_8", "t/b"], want) == {"t/b": "t/b"}  # nothing can be wrong


def test_names_that_people_gave_are_compared_exactly():
    """Also if they look alike: in a session they do not count the variables of a program."""
    have, want = ["s/variable_1", "s/variable_2"], ["s/variable", "s/variable_1"]
    assert restored(have, want, automatic=False) == {"s/variable_1": "s/variable_1"}
    assert restored(["t/variable_1", "v"], ["s/variable", "v"]) == {"v": "v"}
