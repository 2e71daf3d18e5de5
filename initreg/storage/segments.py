"""Bytes of one file that were read already, in segments."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from itertools import pairwise


class Segments:
    """The known bytes of a file. It is not for several threads at once."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._parts: list[bytes] = []

    def __len__(self) -> int:
        """How many bytes are known."""
        return sum(map(len, self._parts))

    def add(self, start: int, data: bytes) -> None:
        """Add bytes that begin at ``start``. What is known of them already is not kept twice."""
        while data:
            at = bisect.bisect_right(self._starts, start)
            if at:
                known = self._starts[at - 1] + len(self._parts[at - 1])
                if known > start:
                    data = data[known - start :]
                    start = known
                    continue
            room = self._starts[at] - start if at < len(self._starts) else len(data)
            self._starts.insert(at, start)
            self._parts.insert(at, data[:room])
            data = data[room:]
            start += room

    def get(self, start: int, length: int) -> bytes | None:
        """``length`` bytes from ``start``, or None if some of them are not known."""
        found = []
        while length:
            at = bisect.bisect_right(self._starts, start) - 1
            if at < 0:
                return None
            begin = start - self._starts[at]
            part = self._parts[at][begin : begin + length]
            if not part:
                return None
            found.append(part)
            start += len(part)
            length -= len(part)
        return found[0] if len(found) == 1 else b"".join(found)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The ranges from ``start`` to ``stop`` that are not known, each as its two ends."""
        found = []
        at = max(bisect.bisect_right(self._starts, start) - 1, 0)
        while start < stop:
            if at < len(self._starts) and self._starts[at] <= start:
                start = max(start, self._starts[at] + len(self._parts[at]))
                at += 1
                continue
            end = min(stop, self._starts[at]) if at < len(self._starts) else stop
            found.append((start, end))
            start = end
        return found


def merged(
    ranges: Iterable[tuple[int, int]], widest: int, spare: int, longest: int
) -> list[tuple[int, int]]:
    """Ranges, those that lie close together in one, the closest ones first.

    Args:
        ranges: the two ends of each.
        widest: how many bytes between two ranges may be read with them.
        spare: how many such bytes there may be in all.
        longest: how long a range may become by that.
    """
    found: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    gaps = sorted((after[0] - before[1], before[1]) for before, after in pairwise(found))
    closed = set()
    for width, at in gaps:
        if width > widest or width > spare:
            break
        spare -= width
        closed.add(at)
    joined: list[tuple[int, int]] = []
    for start, stop in found:
        if joined and joined[-1][1] in closed and stop - joined[-1][0] <= longest:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
