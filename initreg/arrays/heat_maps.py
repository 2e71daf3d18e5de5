"""Heat maps: the values of an array with two axes on a small grid, computed piece by piece."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initreg.arrays.regions import Box

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NOT_FINITE = 255  # of a cell in which a value is NaN or infinite


@dataclass(frozen=True, slots=True)
class HeatMap:
    """An array on a grid.

    Args:
        rows: how many rows of cells there are.
        columns: how many columns.
        block: the most rows and columns of the array in one cell. With ``(1, 1)`` it is one value.
        low: what the smallest cell stands for.
        high: what the largest cell stands for.
        cells: a byte for each cell, row by row: 0 for ``low`` to 254 for ``high``, and 255 if one
            of its values is NaN or infinite.
    """

    rows: int
    columns: int
    block: tuple[int, int]
    low: float
    high: float
    cells: bytes

    @property
    def is_signed(self) -> bool:
        """Whether cells are values. Otherwise each is the root of the mean square of its values."""
        return self.block == (1, 1)

    def to_dict(self) -> dict[str, Any]:
        """The map as plain values, its cells in base64."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "block": list(self.block),
            "low": self.low,
            "high": self.high,
            "cells": base64.b64encode(self.cells).decode("ascii"),
        }


class HeatMaker:
    """Makes the heat map of an array from its pieces. In memory is the grid.

    Args:
        shape: the two lengths of the array.
        edge: the most rows and columns of the grid.
    """

    def __init__(self, shape: tuple[int, int], edge: int) -> None:
        import numpy as np

        self._shape = shape
        self._grid = (min(shape[0], edge), min(shape[1], edge))
        self._is_signed = self._grid == shape
        self._sums = np.zeros(self._grid)
        self._counts = np.zeros(self._grid)
        self._bad = np.zeros(self._grid, bool)

    def add(self, box: Box, values: Array) -> None:
        """Add the values of a region, as float64."""
        import numpy as np

        rows, columns = box.shape
        values = values.reshape(rows, columns)
        row_cuts, row_cells = self._cuts(0, box.starts[0], box.stops[0])
        column_cuts, column_cells = self._cuts(1, box.starts[1], box.stops[1])
        finite = np.isfinite(values)
        is_bad = not finite.all()
        if is_bad:
            values = np.where(finite, values, 0)
        with np.errstate(over="ignore", under="ignore"):
            what = values if self._is_signed else values * values
            found = np.add.reduceat(np.add.reduceat(what, column_cuts, axis=1), row_cuts, axis=0)
        where = np.ix_(row_cells, column_cells)
        self._sums[where] += found
        lengths = (np.diff([*cuts, n]) for cuts, n in ((row_cuts, rows), (column_cuts, columns)))
        self._counts[where] += np.multiply.outer(*lengths)
        if is_bad:
            bad = np.logical_or.reduceat(~finite, column_cuts, axis=1)
            self._bad[where] |= np.logical_or.reduceat(bad, row_cuts, axis=0)

    def _cuts(self, axis: int, start: int, stop: int) -> tuple[list[int], list[int]]:
        """Where the cells begin in a range of indices, counted from its start, and which they are.

        Cell ``i`` of ``n`` has the indices from ``ceil(i * length / n)`` on.
        """
        length, cells = self._shape[axis], self._grid[axis]
        first, last = start * cells // length, (stop - 1) * cells // length
        begins = [max(-(-cell * length // cells) - start, 0) for cell in range(first, last + 1)]
        return begins, list(range(first, last + 1))

    def result(self) -> HeatMap:
        import numpy as np

        with np.errstate(all="ignore"):
            cells = self._sums if self._is_signed else np.sqrt(self._sums / self._counts)
        bad = self._bad | ~np.isfinite(cells)
        good = cells[~bad]
        low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
        # Halves, since the range of float64 itself would be infinite.
        width = high / 2 - low / 2
        scaled = (cells / 2 - low / 2) / width * 254 if width else np.full(cells.shape, 127.0)
        found = np.where(bad, _NOT_FINITE, np.rint(np.where(bad, 0, scaled))).astype(np.uint8)
        block = (
            math.ceil(self._shape[0] / self._grid[0]),
            math.ceil(self._shape[1] / self._grid[1]),
        )
        return HeatMap(*self._grid, block, low, high, found.tobytes())
