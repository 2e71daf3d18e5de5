"""Reading a region of an array that is stored in C order, without much of what lies around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from initreg.arrays import memory
from initreg.arrays.regions import Box, runs

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Places = Iterable[tuple[int, int]]  # the two ends of each range of bytes

_CHUNK = 4 << 20  # bytes that are read in one go with what is not wanted


def read_box(
    box: Box,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    empty: Callable[[tuple[int, ...]], Array],
    fetcher: Callable[[Places], Callable[[int, memoryview], None]],
    start: int,
) -> Array:
    """Read a region.

    Args:
        box: the region.
        shape: the shape of the stored array.
        dtype: its dtype.
        empty: allocates an array of a shape.
        fetcher: is told the places that are going to be read, and returns what reads one:
            ``fetch(offset, into)``.
        start: where the array begins in its file.
    """
    walked, pieces = runs(box, shape, dtype.itemsize)
    part = empty(box.shape)
    if box.shape[walked + 1 :] == shape[walked + 1 :]:
        raw = memory.bytes_of(part)
        places = runs(box, shape, dtype.itemsize)[1]
        fetch = fetcher((start + offset, start + offset + length) for offset, length in places)
        at = 0
        for offset, length in pieces:
            fetch(start + offset, raw[at : at + length])
            at += length
        return part
    # Rows are read with what lies between the wanted columns, a few at a time.
    rows = box.shape[walked]
    stride = next(runs(box, shape, dtype.itemsize)[1])[1] // rows
    step = min(max(_CHUNK // stride, 1), rows)

    def reads() -> Iterator[tuple[int, int, int]]:
        """The first row in its block, how many rows, and the offset of each read."""
        for offset, _ in runs(box, shape, dtype.itemsize)[1]:
            for row in range(0, rows, step):
                yield row, min(step, rows - row), start + offset + row * stride

    fetch = fetcher((offset, offset + count * stride) for _, count, offset in reads())
    scratch = empty((step, *shape[walked + 1 :]))
    inner = (slice(None), *box.slices[walked + 1 :])
    blocks = part.reshape(-1, *box.shape[walked:])
    number = -1
    for row, count, offset in reads():
        number += row == 0
        few = scratch[:count]
        fetch(offset, memory.bytes_of(few))
        blocks[number, row : row + count] = few[inner]
    return part
