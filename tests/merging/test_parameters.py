"""Parameters of merges: numbers for all arrays, for each source, and by names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from initreg.errors import RuleError
from initreg.merging.combined import METHODS
from initreg.merging.parameters import Parameters, PerSource


def test_one_number_is_for_all_sources() -> None:
    """A number, or a list with one for each source."""
    assert PerSource("weight", None, 2, 1.0).of("a") == (1.0, 1.0)
    assert PerSource("weight", 3, 2, 1.0).of("a") == (3.0, 3.0)
    assert PerSource("weight", [3, 4.5], 2, 1.0).of("a") == (3.0, 4.5)


def test_the_last_glob_decides() -> None:
    """Numbers by names. Those of ``*`` are for all others."""
    given = PerSource("weight", {"*": 2, "a/*": [1, 0], "a/b": 5}, 2, 1.0)
    assert [given.of(name) for name in ("x", "a/c", "a/b")] == [(2, 2), (1, 0), (5, 5)]
    assert given.to_dict() == {"*": [2, 2], "a/*": [1, 0], "a/b": [5, 5]}
    assert given.text() == "weight 2 (a/*: 1, 0) (a/b: 5)"
    given.refuse_unused()


def test_a_glob_that_matches_nothing_is_an_error() -> None:
    """It is probably misspelt."""
    given = PerSource("t", {"head/*": 1}, 0, 0.5)
    assert given.of("body") == (0.5,)
    with pytest.raises(RuleError, match=r"t={'head/\*': 1.0} matches no array that is merged"):
        given.refuse_unused()


def test_numbers_of_numpy_are_numbers() -> None:
    """A scalar of numpy is a number, and an array with one axis is a list of them."""
    assert PerSource("weight", np.float32(3), 2, 1.0).of("a") == (3.0, 3.0)
    assert PerSource("weight", np.array([3, 4.5]), 2, 1.0).of("a") == (3.0, 4.5)
    assert PerSource("weight", {"a": [np.int8(3), np.float64(1)]}, 2, 1.0).of("a") == (3.0, 1.0)
    given = {"density": 0.5, "seed": np.int64(3)}
    assert Parameters(METHODS["dare-ties"], 1, given).to_dict()["seed"] == 3


@pytest.mark.parametrize(
    "given",
    [
        *([1], [1, 2, 3], "1", [1, None], float("nan"), True, {1: 2}, 10**400, [-(10**400), 1]),
        *(np.bool_(True), np.ones((1, 2)), np.array(["a", "b"]), 1j),
    ],
)
def test_what_are_no_such_numbers(given: Any) -> None:
    """Too few, too many, and no numbers, are errors with what was given."""
    with pytest.raises(RuleError, match=r"weight=.*: give a number, or 2 of them, one for each"):
        PerSource("weight", given, 2, 1.0)


@pytest.mark.parametrize("given", [0, -0.1, 1.1])
def test_numbers_beyond_their_range(given: float) -> None:
    """A density is above 0 and up to 1."""
    with pytest.raises(RuleError, match=r"density=.*: give a number above 0 and up to 1"):
        PerSource("density", given, 1, 1.0, low=0.0, high=1.0, is_open=True)


@pytest.mark.parametrize(
    ("method", "given", "why"),
    [
        ("average", {"density": 0.5}, "the method 'average' has no such parameter"),
        ("ties", {"seed": 1}, "the method 'ties' has no such parameter"),
        ("ema", {}, "needs decay="),
        ("dare-ties", {}, "needs density="),
        ("dare-ties", {"density": 0.5, "seed": -1}, "not negative"),
        ("dare-ties", {"density": 0.5, "rescale": "l3"}, "give one of density, l1, none"),
        ("average", {"normalize": 1}, "give True or False"),
    ],
)
def test_parameters_that_a_method_does_not_take(
    method: str, given: dict[str, Any], why: str
) -> None:
    """They are errors, and are never ignored."""
    with pytest.raises(RuleError, match=why):
        Parameters(METHODS[method], 2, given)


def test_the_parameters_in_words() -> None:
    """All that decide what comes out are said, the seed among them."""
    given = Parameters(METHODS["dare-ties"], 2, {"density": 0.5, "weight": [1, 0.5]})
    assert given.text() == (
        "DARE, with TIES: weight 1, 0.5, density 0.5, factor 1, not normalised, seed 0, "
        "rescaled by density"
    )
    assert given.to_dict() == {
        "weight": [1, 0.5],
        "density": [0.5, 0.5],
        "factor": 1,
        "normalize": False,
        "seed": 0,
        "rescale": "density",
    }
