"""The shards of a group: one row of bytes, which is cut into files anywhere."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from initreg import DamagedFile, Source


class Piece(NamedTuple):
    """A run of bytes in one shard, and where it begins in the row that was asked for."""

    source: Source
    offset: int
    length: int
    at: int

    @property
    def path(self) -> Path:
        assert self.source.path is not None
        return self.source.path


class Shards:
    """The row of bytes of one group.

    Args:
        parts: the shards, in order.
        label: what messages call the group.
    """

    def __init__(self, parts: list[Source], label: str) -> None:
        self._parts, self.label = parts, label
        self._begins = [0]
        for part in parts:
            self._begins.append(self._begins[-1] + part.size)

    @property
    def size(self) -> int:
        return self._begins[-1]

    def pieces(self, begin: int, length: int) -> list[Piece]:
        """Where a run of bytes lies, which may be empty. The run must be inside the row."""
        found: list[Piece] = []
        number = max(0, bisect.bisect_right(self._begins, begin) - 1)
        end, at = begin + length, begin
        while at < end:
            stop = min(end, self._begins[number + 1])
            if stop > at:
                offset = at - self._begins[number]
                found.append(Piece(self._parts[number], offset, stop - at, at - begin))
            at, number = stop, number + 1
        return found

    def read(self, begin: int, length: int) -> bytes:
        """A run of bytes. Raises DamagedFile if a shard has changed since it was listed."""
        found = b"".join(
            each.source.read(each.offset, each.length) for each in self.pieces(begin, length)
        )
        if len(found) < length:
            raise DamagedFile(
                f"{self.label}: a shard became shorter while it was read. Open the model again"
            )
        return found


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
