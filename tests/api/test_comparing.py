"""initreg.compare_outputs: what is the same, what differs first, and what cannot be compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

import initreg
from initreg import compare_outputs


def test_the_same_function_is_the_same() -> None:
    """One output without a name, of the inputs that both get."""
    x = np.arange(6.0).reshape(2, 3)
    found = compare_outputs(lambda a, b: a + b, lambda a, b: b + a, x, x)
    assert found.ok
    assert found.first_difference is None
    [output] = found.outputs
    assert (output.name, output.shape, output.largest, output.scale) == ("", (2, 3), 0.0, 10.0)
    assert "the same" in str(found)


def test_the_first_layer_that_differs_is_named() -> None:
    """In the order of the first model, whatever the order of the second one."""
    ones = np.ones(3)
    ours = {"a": ones, "b": ones, "c": ones + 1}
    theirs = {"c": ones, "b": ones * 3, "a": ones}
    found = compare_outputs(ours, theirs)
    assert not found.ok
    assert found.first_difference is not None
    assert found.first_difference.name == "b"
    assert found.first_difference.largest == 2
    assert "the first that differs is 'b'" in str(found)


def test_names_of_one_side_are_said() -> None:
    """They are not compared, and without any in common it is an error."""
    one = np.ones(1)
    assert compare_outputs({"a": one, "b": one}, {"c": one, "a": one}).only_in_one == ("b", "c")
    with pytest.raises(initreg.InitregError, match="no output in common"):
        compare_outputs({"a": one}, {"b": one})


def test_other_shapes_are_different() -> None:
    """They are not broadcast, and there is no difference to tell."""
    found = compare_outputs({"": np.ones((2, 1))}, {"": np.ones((1, 2))})
    assert not found.ok
    assert found.outputs[0].largest is None
    assert "(2, 1) and (1, 2)" in str(found)


@pytest.mark.parametrize(
    ("ours", "theirs", "ok"),
    [
        (1.0005, 1.0, True),
        (1.01, 1.0, False),
        (1e-5, 0.0, True),
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1.0, False),
        (1.0, np.inf, False),
    ],
)
def test_how_near_is_near(ours: float, theirs: float, ok: bool) -> None:
    """A thousandth of the largest value; NaN and infinity are only like themselves."""
    assert compare_outputs({"": np.array([ours])}, {"": np.array([theirs])}).ok is ok


def test_infinity_does_not_hide_a_difference() -> None:
    """One infinite value in the right output is no licence for all others."""
    ours, theirs = np.array([np.inf, 5.0]), np.array([np.inf, 1.0])
    assert not compare_outputs({"": ours}, {"": theirs}).ok


def test_nothing_to_compare_is_not_the_same() -> None:
    """Arrays without a value show nothing, and two empty mappings have nothing in common."""
    with pytest.raises(initreg.InitregError, match="no output in common"):
        compare_outputs({}, {})


def test_integers_and_half_floats() -> None:
    """They are compared as numbers, without overflow."""
    ours, theirs = np.array([250], "u1"), np.array([5], "u1")
    assert compare_outputs({"": ours}, {"": theirs}).outputs[0].largest == 245
    ours, theirs = np.array([60000], "f2"), np.array([-60000], "f2")
    assert compare_outputs({"": ours}, {"": theirs}).outputs[0].largest == 120000


def test_what_is_no_array() -> None:
    """One error that names the output."""
    with pytest.raises(initreg.TargetError, match="'a' is a str"):
        compare_outputs({"a": "x"}, {"a": 1})


def test_it_is_json() -> None:
    """Numbers and lists, for outputs that differ in their shapes too."""
    found = compare_outputs({"a": np.ones(2), "b": np.ones(1)}, {"a": np.ones(2), "b": np.ones(2)})
    made = json.loads(json.dumps(found.to_dict()))
    assert made["ok"] is False
    assert [each["largest"] for each in made["outputs"]] == [0.0, None]
