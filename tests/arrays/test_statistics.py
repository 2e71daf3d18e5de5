"""Statistics of arrays: the figures are those of numpy on whole arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import initreg
from initreg.arrays.statistics import Statistics, statistics, together

rng = np.random.default_rng(0)


def of(array: Any) -> Statistics:
    with initreg.open({"x": array}) as opened:
        found = statistics(opened["x"])
    assert found is not None
    return found


def check(found: Statistics, values: Any) -> None:
    finite = values[np.isfinite(values)].astype("f8")
    assert found.count == values.size
    assert found.nan == np.count_nonzero(np.isnan(values))
    assert found.inf == np.count_nonzero(np.isinf(values))
    assert found.zeros == np.count_nonzero(finite == 0)
    if not finite.size:
        assert found.mean is found.std is found.min is found.max is found.norm is None
        return
    assert (found.min, found.max) == (finite.min(), finite.max())
    scale = max(float(np.abs(finite).max()), 1e-30)
    assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-9 * scale)
    assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-7 * scale)
    assert found.norm == pytest.approx(np.linalg.norm(finite), rel=1e-9)


@given(
    hnp.arrays(
        "f4",
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
        elements=st.floats(width=32, min_value=-(2.0**50), max_value=2.0**50),
    )
)
def test_the_figures_are_numpys(array: Any) -> None:
    """Mean, deviation, range, norm and zeros of any array of floats."""
    check(of(array), array)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4", "u1", "?", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    """So they are for other dtypes."""
    array = (rng.normal(size=(30, 20)) * 50).astype(initreg.dtypes.to_numpy(dtype))
    check(of(array), array.astype("f8"))


def test_several_pieces(tmp_path: Path) -> None:
    """An array that is read in pieces, and twice, has the figures of the whole."""
    array = rng.normal(3, 2, size=(20_000, 1000)).astype("f4")  # 80 MB
    array[17, 3], array[-1, -1], array[0, 0] = np.nan, np.inf, -100
    initreg.save(tmp_path / "m.safetensors", {"x": array})
    with initreg.open(tmp_path / "m.safetensors") as opened:
        found = statistics(opened["x"])
    assert found is not None
    check(found, array)
    assert sum(found.histogram) == array.size - 2
    assert found.histogram[0] == 1


def test_the_histogram_is_numpys() -> None:
    """16 bins from the smallest value to the largest."""
    array = rng.normal(size=4000)
    assert of(array).histogram == tuple(np.histogram(array, 16)[0].tolist())
    assert of(np.full(5, 2.0)).histogram == tuple(np.histogram(np.full(5, 2.0), 16)[0].tolist())
    large = np.array([2.0**60, np.nextafter(2.0**60, np.inf)])  # numpy refuses these
    assert of(large).histogram == (1, *[0] * 14, 1)
    assert Statistics(histogram=(8, 0, 1, 4)).bars() == "█ ▁▄"


def test_what_has_no_finite_value() -> None:
    """NaN and infinities are counted, and the figures are None. Empty arrays have none either."""
    found = of(np.array([np.nan, np.inf, -np.inf]))
    assert (found.nan, found.inf, found.mean, found.histogram) == (1, 2, None, ())
    assert of(np.zeros((0, 3))) == Statistics()


def test_arrays_together() -> None:
    """The figures of several arrays are those of all of their values."""
    arrays = [rng.normal(i, i + 1, size=50 * i + 1) for i in range(4)] + [np.array([np.nan])]
    check(together(map(of, arrays)), np.concatenate(arrays))
    assert together([]) == Statistics()


def test_no_numbers() -> None:
    """Strings, structures and raw bytes have no statistics."""
    for array in (np.array(["a"]), np.zeros(2, [("a", "f4")]), np.zeros(2, "V2")):
        with initreg.open({"x": array}) as opened:
            assert statistics(opened["x"]) is None


def test_complex_numbers_by_their_magnitude() -> None:
    """3+4j counts as 5."""
    assert of(np.array([3 + 4j, 0])).max == 5.0


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_a_nan_that_signals_is_nan(name: str) -> None:
    """It is counted without a warning, and is equal to itself."""
    bits = {"float16": b"\x01\x7c", "bfloat16": b"\x81\x7f", "float32": b"\x01\x00\x80\x7f"}[name]
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    values = np.frombuffer(bits + np.ones(1, dtype).tobytes(), dtype)
    found = initreg.stats({"w": values}).arrays[0].values
    assert found is not None
    assert (found.nan, found.mean) == (1, 1)
    other = np.concatenate([values[:1], np.zeros(1, dtype)])
    assert initreg.diff({"w": values}, {"w": values}).is_same
    [difference] = initreg.diff({"w": values}, {"w": other}).arrays
    assert difference.values is not None
    assert (difference.values.differing, difference.values.largest) == (1, 1)


def test_very_large_values_together() -> None:
    """The spread of several arrays is right where its square is no float."""
    arrays = {"a": np.array([1e200, -1e200]), "b": np.array([3e200, 0])}
    total = initreg.stats(arrays).total
    assert (total.mean, total.std, total.max) == (
        pytest.approx(7.5e199),
        pytest.approx(1e200 * np.std([1, -1, 3, 0])),
        3e200,
    )


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 5e307])
def test_values_whose_squares_are_no_floats(scale: float) -> None:
    """The spread and the norm are those of values near 1, times the scale."""
    values = rng.normal(size=1000).clip(-1, 1)
    values[:2] = [1, -1]
    for found in (of(values * scale), together([of(values[:9] * scale), of(values[9:] * scale)])):
        assert found.mean == pytest.approx(values.mean() * scale, rel=1e-9)
        assert found.std == pytest.approx(values.std() * scale, rel=1e-9)
        norm = float(np.linalg.norm(values))
        assert found.norm == pytest.approx(norm * scale, rel=1e-9) or norm > 1e308 / scale


def test_figures_that_no_float_holds_are_texts_in_json() -> None:
    """JSON has no infinities."""
    found = of(np.array([1.7e308, -1.7e308, 1.7e308])).to_dict()
    assert found["norm"] == "inf"
    assert found["std"] == pytest.approx(1.7e308 * np.std([1, -1, 1]))
    json.dumps(found, allow_nan=False)
