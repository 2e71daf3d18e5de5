"""Which value is the best so far, and how the best model is called."""

from __future__ import annotations

import pytest

from initreg.trainers.shared.best import default_name, is_better

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "largest", "better"),
    [
        ([3.0, 1.0, 1.0, 2.0, 0.5], False, [3.0, 1.0, 0.5]),
        ([3.0, 1.0, 3.0, 5.0, 2.0], True, [3.0, 5.0]),
        ([NAN, 2.0, NAN, 1.0], False, [2.0, 1.0]),
        ([NAN, -2.0, NAN, 0.0], True, [-2.0, 0.0]),
        ([float("inf"), 1.0, float("-inf")], False, [float("inf"), 1.0, float("-inf")]),
    ],
)
def test_the_values_that_are_saved(values: list[float], largest: bool, better: list[float]) -> None:
    """Those that are better than all before. An equal value is not better, and NaN never is."""
    found: list[float] = []
    for value in values:
        if is_better(value, found[-1] if found else None, largest=largest):
            found.append(value)
    assert found == better


def test_names() -> None:
    """They have no folder in them."""
    assert default_name("val/loss", largest=False) == "min-val-loss"
    assert default_name("score", largest=True) == "max-score"
