"""initreg.arrays.heat_maps: an array on a small grid."""

from __future__ import annotations

import base64
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg.arrays.heat_maps import HeatMaker, HeatMap
from initreg.arrays.regions import Box, whole
from initreg.arrays.statistics import statistics


def value_of(found: HeatMap) -> np.ndarray:
    """What the cells stand for, NaN where they are not finite."""
    cells = np.frombuffer(found.cells, "u1").reshape(found.rows, found.columns).astype("f8")
    cells[cells == 255] = np.nan
    return found.low + cells / 254 * (found.high - found.low)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 12),
    st.lists(st.integers(0, 40), max_size=3),
    st.integers(0, 1000),
)
def test_cells_are_root_mean_squares(
    shape: tuple[int, int], edge: int, cuts: list[int], seed: int
) -> None:
    """However the array is cut into pieces, each value is in one cell."""
    values = np.random.default_rng(seed).normal(size=shape)
    maker = HeatMaker(shape, edge)
    ends = sorted({0, shape[0], *(cut for cut in cuts if cut < shape[0])})
    for start, stop in itertools.pairwise(ends):
        maker.add(Box((start, 0), (stop, shape[1]), ()), values[start:stop])
    found = maker.result()
    rows, columns = min(shape[0], edge), min(shape[1], edge)
    assert (found.rows, found.columns) == (rows, columns)
    row, column = (np.arange(n) * m // n for n, m in zip(shape, (rows, columns), strict=True))
    expected = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            cell = values[row == i][:, column == j]
            expected[i, j] = cell[0, 0] if found.is_signed else math.sqrt((cell**2).mean())
    step = (expected.max() - expected.min()) / 254
    np.testing.assert_allclose(value_of(found), expected, atol=step / 2 + 1e-12)


def test_small_arrays_keep_their_signs() -> None:
    """Each cell is a value. A cell with NaN or an infinity is marked."""
    maker = HeatMaker((2, 3), 8)
    maker.add(whole((2, 3)), np.array([[-1.0, 0, 1], [np.nan, np.inf, 0.5]]))
    found = maker.result()
    assert found.is_signed
    assert (found.low, found.high) == (-1, 1)
    assert list(found.cells) == [0, 127, 254, 255, 255, 190]
    assert base64.b64decode(found.to_dict()["cells"]) == found.cells


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan, 1e308, -1e308, 5e-324])
def test_arrays_of_one_value(value: float) -> None:
    """The range is empty, or would overflow, and there is still a map, without a warning."""
    maker = HeatMaker((300, 200), 16)
    values = np.full((300, 200), value)
    values[0, 0] = -value
    maker.add(whole((300, 200)), values)
    found = maker.result()
    assert len(found.cells) == 256
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)


def test_statistics_show_their_pieces() -> None:
    """A map is made while the statistics are, from pieces of 8 MB of float32 and of bfloat16."""
    values = np.random.default_rng(0).normal(size=(3000, 1200)).astype("f4")
    maker = HeatMaker(values.shape, 10)
    with initreg.open({"w": values}) as opened:
        found = statistics(opened["w"], maker.add)
    assert found is not None
    blocks = values.astype("f8").reshape(10, 300, 10, 120)
    expected = np.sqrt((blocks**2).mean(axis=(1, 3)))
    np.testing.assert_allclose(value_of(maker.result()), expected, atol=1e-3)
