"""Trimming finds the largest values exactly, piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from initreg.merging.trimming import Trim, find_trims, magnitude_bits

rng = np.random.default_rng(0)


def trimmed(values: Any, count: int, pieces: int) -> Any:
    parts = np.array_split(values, pieces)
    [found] = find_trims(lambda: ([part] for part in parts), [count], values.dtype.itemsize)
    trim = Trim(*found)
    return np.concatenate([trim.keep(part) for part in parts])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("count", [1, 2, 500, 999, 1000])
@pytest.mark.parametrize("pieces", [1, 7])
def test_what_is_kept_is_what_sorting_keeps(dtype: str, count: int, pieces: int) -> None:
    """The largest magnitudes, of very different sizes, and no others."""
    values = (rng.normal(size=1000) * 10.0 ** rng.integers(-30, 30, 1000)).astype(dtype)
    found = trimmed(values, count, pieces)
    kept = np.argsort(-np.abs(values), kind="stable")[:count]
    wanted = np.zeros_like(values)
    wanted[kept] = values[kept]
    np.testing.assert_array_equal(found, wanted)


def test_of_equal_magnitudes_the_first_ones_are_kept() -> None:
    """Exactly as many as asked for are kept, though the last of them have equals."""
    values = np.array([1, -2, 2, -2, 2, 3, 0], "f4")
    assert trimmed(values, 3, 1).tolist() == [0, -2, 2, 0, 0, 3, 0]
    assert trimmed(values, 3, 3).tolist() == [0, -2, 2, 0, 0, 3, 0]


def test_nan_is_not_trimmed_away() -> None:
    """NaN counts as the largest value, so that it is seen in the result."""
    assert np.isnan(trimmed(np.array([1, np.nan, np.inf], "f4"), 1, 1)[1])


def test_several_arrays_at_once() -> None:
    """Each has its own threshold, found in the same passes."""
    one, other = rng.normal(size=(2, 300)).astype("f4")
    passes = []

    def pieces() -> Any:
        passes.append(1)
        return ([a, b] for a, b in zip(np.split(one, 3), np.split(other, 3), strict=True))

    trims = find_trims(pieces, [10, 200], 4)
    for values, count, found in zip((one, other), (10, 200), trims, strict=True):
        assert np.count_nonzero(Trim(*found).keep(values)) == count
    assert len(passes) == 2


def test_bits_are_ordered_as_magnitudes() -> None:
    """The bits of floats without their sign grow as their magnitudes do."""
    values = np.array([0.0, -1e-40, 1e-30, -0.5, 1.0, -3e38, np.inf], "f4")
    assert (np.diff(magnitude_bits(values).astype("i8")) > 0).all()
