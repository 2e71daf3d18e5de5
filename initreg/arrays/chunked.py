"""Arrays that are stored in chunks: which chunks to read together, and how one gets to its place.

The reader reads the bytes. :mod:`initreg.arrays.codecs` unpacks them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from initreg import dtypes
from initreg.arrays.codecs import MOST_PLANES, steps, undo
from initreg.arrays.inflating import BadStream
from initreg.arrays.regions import Box
from initreg.specs import Chunk, ChunkedExtent

if TYPE_CHECKING:
    import numpy as np

_TOGETHER = 2 << 20  # bytes of chunks, packed or not, that one thread reads at a time


def chunk_nbytes(extent: ChunkedExtent) -> int:
    """The size of an unpacked chunk in bytes."""
    return math.prod(extent.chunk) * dtypes.stored_itemsize(extent.dtype)


def grid(extent: ChunkedExtent) -> tuple[int, ...]:
    """How many chunks the array has on each axis."""
    return tuple(-(-n // c) for n, c in zip(extent.shape, extent.chunk, strict=True))


def box_of_chunk(extent: ChunkedExtent, chunk: Chunk) -> Box:
    """Where a chunk belongs in the array. It may reach beyond the array."""
    starts = tuple(i * n for i, n in zip(chunk.at, extent.chunk, strict=True))
    stops = tuple(i + n for i, n in zip(starts, extent.chunk, strict=True))
    return Box(starts, stops, ())


def batches(extent: ChunkedExtent, box: Box) -> Iterator[list[Chunk]]:
    """The chunks that have a part of a region, in the order in which they are stored. Those of one
    list are read by one thread."""
    chunks: Iterable[Chunk] = extent.chunks
    if box.shape != extent.shape:
        chunks = (c for c in chunks if box_of_chunk(extent, c).intersection(box) is not None)
    found = sorted(chunks, key=operator.attrgetter("offset"))
    count = max(1, _TOGETHER // max(1, chunk_nbytes(extent)))
    for start in range(0, len(found), count):
        yield found[start : start + count]


def fill(extent: ChunkedExtent, into: np.ndarray[Any, Any]) -> None:
    """Fill memory for the array, or for a region of it, unless chunks cover all of the array."""
    import numpy as np

    if len(extent.chunks) < math.prod(grid(extent)) and into.size:
        into[...] = np.frombuffer(extent.fill, into.dtype, 1)[0]


def read_chunks(
    extent: ChunkedExtent,
    chunks: Sequence[Chunk],
    into: np.ndarray[Any, Any],
    box: Box,
    fetch: Callable[[int, memoryview], None],
    verify: bool,
) -> None:
    """Read chunks, unpack them, and put them into their places.

    Args:
        extent: the array.
        chunks: the chunks to read, each of which has a part of the region.
        into: memory for the region, in C order, with the dtype that is stored.
        box: the region.
        fetch: ``fetch(offset, into)`` reads bytes of the file.
        verify: whether to compare checksums.

    Raises:
        BadStream: a chunk is damaged. The message completes ``"array 'x' "``.
    """
    for run in _runs(chunks):
        start = run[0].offset
        packed = memoryview(bytearray(run[-1].offset + run[-1].length - start))
        fetch(start, packed)
        unpacked = []
        for chunk in run:
            at = chunk.offset - start
            data = packed[at : at + chunk.length]
            unpacked.append(_unpacked(extent, chunk, data, into.dtype.itemsize, verify))
        for row in _rows(unpacked, extent, box):
            _place(row, extent, into, box)


def _runs(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks that are stored one after the other, which are read in one go."""
    run: list[Chunk] = []
    for chunk in chunks:
        if run:
            is_next = chunk.offset == run[-1].offset + run[-1].length
            if not is_next or chunk.offset + chunk.length - run[0].offset > _TOGETHER:
                yield run
                run = []
        run.append(chunk)
    yield run


class _Unpacked(NamedTuple):
    """A chunk and its bytes. They are shuffled if ``planes``, the bytes of an element, is not 1."""

    chunk: Chunk
    data: Any
    planes: int


def _unpacked(
    extent: ChunkedExtent, chunk: Chunk, data: Any, itemsize: int, verify: bool
) -> _Unpacked:
    """Unpack a chunk. A shuffle is undone on the way to the array, which saves a copy."""
    nbytes = chunk_nbytes(extent)
    planes = 1
    try:
        todo = steps(extent.codecs, chunk.left_out, nbytes)
        if todo and todo[-1][0] == ("shuffle", (itemsize,)) and itemsize <= MOST_PLANES:
            planes = itemsize
            todo.pop()
        for codec, expected in todo:
            data = undo(codec, data, expected, verify)
        if len(data) != nbytes:
            raise BadStream(f"has {len(data):,} bytes, where a chunk has {nbytes:,}")
    except BadStream as error:
        raise BadStream(f"has a damaged chunk at {chunk.at}: it {error}") from error
    return _Unpacked(chunk, data, planes)


def _rows(
    chunks: Sequence[_Unpacked], extent: ChunkedExtent, box: Box
) -> Iterator[list[_Unpacked]]:
    """Chunks that are side by side on the last axis, and in the region as far as that axis goes.

    They get to their places together. One by one, threads would wait for each other too often.
    """
    row: list[_Unpacked] = []
    for each in chunks:
        at = each.chunk.at
        if row:
            last = row[-1].chunk.at
            is_next = (
                at[:-1] == last[:-1]
                and at[-1] == last[-1] + 1
                and each.planes == row[-1].planes
                and box.starts[-1] <= last[-1] * extent.chunk[-1]
                and (at[-1] + 1) * extent.chunk[-1] <= box.stops[-1]
            )
            if not is_next:
                yield row
                row = []
        row.append(each)
    yield row


def _place(
    row: Sequence[_Unpacked], extent: ChunkedExtent, into: np.ndarray[Any, Any], box: Box
) -> None:
    """Copy the parts of chunks that are in a region to their places."""
    import numpy as np

    first, last = (box_of_chunk(extent, each.chunk) for each in (row[0], row[-1]))
    shared = Box(first.starts, last.stops, ()).intersection(box)
    assert shared is not None
    inside, outside = shared.relative_to(first.starts).slices, shared.relative_to(box.starts).slices
    data = b"".join(each.data for each in row) if len(row) > 1 else row[0].data
    planes = row[0].planes
    if planes == 1:
        targets, values = [into], np.frombuffer(data, into.dtype)
    else:
        raw = into.reshape(-1).view(np.uint8).reshape(*into.shape, planes)
        targets, values = [raw[..., i] for i in range(planes)], np.frombuffer(data, np.uint8)
    values = values.reshape(len(row), planes, *extent.chunk)
    if len(row) == 1:
        for target, part in zip(targets, values[0], strict=True):
            target[outside] = part[inside]
        return
    for target, part in zip(targets, np.moveaxis(values, (1, 0), (0, -2)), strict=True):
        part = part[inside[:-1]]
        target[outside].reshape(part.shape)[...] = part  # one axis is cut in two, which is a view
