"""How the values of two arrays differ: the figures are those of numpy on whole arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.arrays.differences import Difference, compare

rng = np.random.default_rng(0)


def compared(a: Any, b: Any, rtol: float = 0.0, atol: float = 0.0) -> Difference:
    with initreg.open({"x": a}) as mine, initreg.open({"x": b}) as theirs:
        return compare(mine["x"], theirs["x"], rtol, atol)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1", "c8", "?"])
def test_the_figures_are_numpys(dtype: str) -> None:
    """Largest and mean differences, absolute and relative, the cosine, and what is beyond."""
    shift = 0 if dtype == "?" else 30
    a = np.maximum(rng.normal(size=(50, 40)) * 20 + shift, 0).astype(dtype)
    b = a.copy()
    b[::3] = np.maximum(rng.normal(size=(17, 40)) * 20 + shift, 0).astype(dtype)
    found = compared(a, b, rtol=0.1, atol=0.5)
    x, y = (each.astype("c16" if dtype == "c8" else "f8") for each in (a, b))
    distance, known = np.abs(x - y), y != 0
    assert found.count == 2000
    assert found.differing == np.count_nonzero(a != b)
    assert found.beyond == np.count_nonzero(~np.isclose(x, y, rtol=0.1, atol=0.5))
    assert found.largest == distance.max()
    assert found.mean == pytest.approx(distance.mean())
    relative = distance[known] / np.abs(y)[known]
    assert found.largest_relative == pytest.approx(relative.max())
    assert found.mean_relative == pytest.approx(relative.mean())
    cosine = np.vdot(x, y).real / np.linalg.norm(x) / np.linalg.norm(y)
    assert found.cosine == pytest.approx(cosine)
    assert not found.is_equal


def test_an_array_of_several_pieces(tmp_path: Path) -> None:
    """A difference in the last piece of a large array is found, and the figures are of all."""
    a = rng.normal(size=(5000, 1000)).astype("f4")  # 20 MB
    b = a.copy()
    b[-1, -1] += 3
    initreg.save(tmp_path / "a.safetensors", {"x": a})
    initreg.save(tmp_path / "b.h5", {"x": b}, compress=True)
    with initreg.open(tmp_path / "a.safetensors") as one, initreg.open(tmp_path / "b.h5") as two:
        found = compare(one["x"], two["x"], 0.0, 0.0)
    assert (found.count, found.differing, found.beyond) == (5_000_000, 1, 1)
    assert found.largest == pytest.approx(3, rel=1e-6)
    assert found.mean == pytest.approx(3 / 5_000_000, rel=1e-6)


def test_equal_bits() -> None:
    """Equal arrays have no difference; -0.0 and 0.0 are equal values of different bits."""
    a = np.array([0.0, 1.0, np.nan, np.inf], "f4")
    norms = (1.0, 1.0, 0.0)
    assert compared(a, a.copy()) == Difference(4, 0, 0, 0.0, 0.0, None, None, 1.0, True, norms)
    b = np.array([-0.0, 1.0, np.nan, np.inf], "f4")
    found = compared(a, b)
    assert (found.differing, found.beyond, found.largest, found.is_equal) == (0, 0, 0.0, False)


def test_what_is_not_finite() -> None:
    """NaN on one side is beyond any tolerance, and so is an infinity."""
    a = np.array([np.nan, 1.0, np.inf, np.inf], "f4")
    b = np.array([1.0, 1.0, -np.inf, np.inf], "f4")
    found = compared(a, b, rtol=1e9, atol=1e9)
    assert (found.differing, found.beyond) == (2, 2)
    assert np.isnan(found.largest)
    assert found.to_dict()["largest"] == "nan"


@pytest.mark.parametrize(
    ("one", "other"), [("f4", "f2"), ("f4", "i4"), ("i8", "u8"), ("f4", "bfloat16"), ("f8", "c8")]
)
def test_two_dtypes(one: str, other: str) -> None:
    """Values are compared in a dtype that has both, and the bits are not equal."""
    a = np.arange(20).astype(one)
    b = a.astype(initreg.dtypes.to_numpy("bfloat16") if other == "bfloat16" else other)
    found = compared(a, b)
    assert (found.differing, found.largest, found.is_equal) == (0, 0.0, False)


def test_large_integers_are_not_rounded() -> None:
    """Two integers that are one float64 are different."""
    a, b = np.array([2**60]), np.array([2**60 + 1])
    assert compared(a, b).differing == 1


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        (np.array([2**60, 7]), np.array([2**60 + 1, 7]), 1.0),
        (np.array([2**64 - 1, 7], "u8"), np.array([2**64 - 3, 7], "u8"), 2.0),
        (np.array([-(2**63), 7]), np.array([2**63 - 1, 7]), 2.0**64),
        (np.array([5, 7], "i4"), np.array([-(2**62), 7]), 2.0**62),
    ],
)
def test_large_integers_that_differ_by_little(a: Any, b: Any, apart: float) -> None:
    """They are beyond a tolerance of 0, also where float64 has no other number for them."""
    for one, other in ((a, b), (b, a)):
        found = compared(one, other)
        assert (found.differing, found.beyond, found.largest) == (1, 1, apart)
        assert compared(one, other, atol=2 * apart).beyond == 0


def test_what_float64_cannot_tell_apart() -> None:
    """Numbers of more digits that differ are beyond a tolerance of 0, and within any other one."""
    a = np.array([1, 2], np.longdouble)
    b = np.nextafter(a, np.longdouble(3))
    found = compared(a, b)
    assert (found.differing, found.beyond) == (2, 2)
    assert compared(a, b, rtol=1e-15).beyond == 0


def test_strings() -> None:
    """Strings are equal or not, and have no distance."""
    found = compared(np.array(["a", "b", "c"]), np.array(["a", "x", "c"]))
    assert (found.count, found.differing, found.beyond) == (3, 1, 1)
    assert found.largest is found.cosine is None
    assert found.text() == "1 of 3 values differ"


def test_raw_bytes_and_dates() -> None:
    """What are no numbers is compared, and has no differences that could be measured."""
    raw = np.array([1, 2], "u2").view("V2")
    assert compared(raw, raw).is_equal
    found = compared(raw, np.array([1, 3], "u2").view("V2"))
    assert (found.differing, found.largest) == (1, None)
    days = np.array(["2020-01-01", "2020-01-02"], "M8[D]")
    assert compared(days, days[::-1].copy()).differing == 2


def test_empty_and_scalar() -> None:
    """Arrays of no elements are equal, and 0-d arrays are compared."""
    assert compared(np.zeros((0, 3)), np.zeros((0, 3))).is_equal
    assert compared(np.float32(1), np.float32(2)).largest == 1.0


def test_very_large_values() -> None:
    """Sums that overflow are infinite, without a warning. A cosine that is not known is None."""
    huge = {"w": np.array([1.7e308, -1.7e308, 1.0])}
    [found] = initreg.diff(huge, {"w": -huge["w"]}).arrays
    assert found.values is not None
    assert found.values.largest == np.inf
    assert found.values.cosine is None
    [found] = initreg.diff({"w": np.full(4, 1e200)}, {"w": np.full(4, -1e200)}).arrays
    assert found.values is not None
    assert (found.values.largest, found.values.cosine) == (2e200, None)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_nan_in_a_piece_that_is_equal(dtype: str) -> None:
    """It is left out of the norms and of the cosine, also if another piece differs."""
    a = np.ones((3_000_000,), dtype)
    a[0] = np.nan
    b = a.copy()
    b[-1] = 3
    found = compared(a, b)
    finite = (a[1:].astype("c16"), b[1:].astype("c16"))
    norms = [np.linalg.norm(each) for each in (*finite, finite[1] - finite[0])]
    assert found.norms == pytest.approx(norms)
    assert found.cosine == pytest.approx(np.vdot(*finite).real / norms[0] / norms[1])
