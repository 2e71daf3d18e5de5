"""Reading parts of one array from a store, by few and large requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from initreg.specs import ChunkedExtent, Extent, OpaqueExtent, SlicedExtent
from initreg.storage.segments import Segments, merged
from initreg.storage.store_files import files_of
from initreg.store_paths import StorePath

Fetch = Callable[[int, memoryview], None]  # takes an offset, and where the bytes go

_PIECE = 4 << 20  # bytes that one request asks for
_GAP = 2048  # bytes between two ranges that are read with them
_SPARE = 1 << 30


def requests_at_once(value: Any) -> int:
    """How many requests at once are of use for an extent in a store. 0 for any other value."""
    if isinstance(value, SlicedExtent) and value.slices:
        value = value.slices[0][1]
    if not isinstance(value, (Extent, ChunkedExtent, OpaqueExtent)):
        return 0  # not what has a file by chance: that of a closed h5py.File is an error
    file = value.file
    return files_of(file).store.concurrency if isinstance(file, StorePath) else 0


def fetch_together(path: StorePath, ranges: Iterable[tuple[int, int]]) -> Fetch:
    """Read several parts of a file by few requests.

    Args:
        path: the file.
        ranges: the two ends of each part.

    Returns:
        A function that gives the bytes of these parts.
    """
    known = Segments()
    for start, stop in merged(ranges, _GAP, _SPARE, _PIECE):
        known.add(start, files_of(path).read(path.key, start, stop - start))

    def fetch(offset: int, into: memoryview) -> None:
        data = known.get(offset, len(into))
        assert data is not None
        into[:] = data

    return fetch


def fetch_ahead(path: StorePath, start: int, length: int) -> Fetch:
    """Read a part of a file from the front to the back, by large requests.

    Args:
        path: the file.
        start: where the part begins.
        length: how many bytes it has.

    Returns:
        A function that gives bytes of the part. Its offsets count from ``start``.
    """
    held, first = b"", 0

    def fetch(at: int, into: memoryview) -> None:
        nonlocal held, first
        while into:
            if not first <= at < first + len(held):
                count = max(len(into), min(_PIECE, length - at))
                held, first = files_of(path).read(path.key, start + at, count), at
            part = held[at - first : at - first + len(into)]
            into[: len(part)] = part
            into, at = into[len(part) :], at + len(part)

    return fetch
