"""An array whose bytes are in several runs: cut into chunks, or into files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from initreg.dtypes import stored_itemsize
from initreg.specs import Extent, SlicedExtent
from initreg.store_paths import FilePath


class Run(NamedTuple):
    """A run of bytes in a file."""

    file: FilePath
    offset: int
    length: int


def extent_of(
    runs: Sequence[Run], shape: tuple[int, ...], dtype: str, aliases: tuple[str, ...] = ()
) -> Extent | SlicedExtent | None:
    """The array in C order whose bytes are these runs, one after another.

    Args:
        runs: where the bytes are. Together they are as long as the array. The caller checks that,
            because only it knows what to say of a file in which they are not.
        shape: the shape of the array.
        dtype: as for ``initreg.Extent``.
        aliases: its other names.

    Returns:
        An extent if there is one run, and one in slices if there are several. None if an element
        lies in two of them, which extents cannot say.

    >>> found = extent_of([Run(Path("a"), 0, 8), Run(Path("b"), 0, 16)], (2, 3), "float32")
    >>> [(at, part.shape) for at, part in found.slices]
    [((0, 0), (1, 2)), ((0, 2), (1, 1)), ((1, 0), (1, 3))]
    """
    if len(runs) == 1:
        return Extent(runs[0].file, runs[0].offset, runs[0].length, shape, dtype, aliases=aliases)
    item, first, slices = stored_itemsize(dtype), 0, []
    for run in runs:
        if run.length % item:
            return None
        for box in boxes(shape, first, first + run.length // item):
            at = run.offset + (box.first - first) * item
            length = math.prod(box.shape) * item
            slices.append((box.start, Extent(run.file, at, length, box.shape, dtype)))
        first += run.length // item
    return SlicedExtent(shape, dtype, tuple(slices), aliases=aliases)


class Box(NamedTuple):
    """A box of an array, whose elements lie in a row: where it begins, on each axis, its shape, and
    the position of its first element in the row."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    first: int


def boxes(shape: tuple[int, ...], begin: int, end: int) -> Iterator[Box]:
    """The boxes that elements ``begin`` to ``end`` of an array in C order make: the rest of a row,
    complete rows, and the beginning of a row, on every axis.

    >>> [box[:2] for box in boxes((3, 4), 2, 9)]
    [((0, 2), (1, 2)), ((1, 0), (1, 4)), ((2, 0), (1, 1))]
    """
    if begin >= end:
        return
    if not shape:
        yield Box((), (), begin)
        return
    row = math.prod(shape[1:])
    first, last = -(-begin // row), end // row  # complete rows
    if first > last:  # inside one row
        yield from _inside(shape, last, begin, end, row)
        return
    if begin < first * row:
        yield from _inside(shape, first - 1, begin, first * row, row)
    if first < last:
        zeros = (0,) * (len(shape) - 1)
        yield Box((first, *zeros), (last - first, *shape[1:]), first * row)
    if last * row < end:
        yield from _inside(shape, last, last * row, end, row)


def _inside(shape: tuple[int, ...], at: int, begin: int, end: int, row: int) -> Iterator[Box]:
    for box in boxes(shape[1:], begin - at * row, end - at * row):
        yield Box((at, *box.start), (1, *box.shape), box.first + at * row)
