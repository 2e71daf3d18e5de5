"""Boxes of an array: what a run of its elements is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple


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
