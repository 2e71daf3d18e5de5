"""The shards of a group: one row of bytes, which is cut into files anywhere."""

from __future__ import annotations

import bisect
from typing import NamedTuple

from initreg import DamagedFile, Source
from initreg.format_tools.files import FilePath


class Piece(NamedTuple):
    """A run of bytes in one shard."""

    source: Source
    offset: int
    length: int

    @property
    def path(self) -> FilePath:
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
                found.append(Piece(self._parts[number], offset, stop - at))
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
