"""Arrays that are stored in chunks: which chunks to read together, and how one gets to its place.

The reader reads the bytes. :mod:`initreg.arrays.codecs` unpacks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays.codecs import MOST_PLANES, steps, undo
from initreg.arrays.inflating import BadStream
from initreg.arrays.regions import Box
from initreg.specs import Chunk, ChunkedExtent

if TYPE_CHECKING:
    import numpy as np

_TOGETHER = 1 << 20  # bytes of unpacked chunks that one thread reads at a time


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
    chunks = [c for c in extent.chunks if box_of_chunk(extent, c).intersection(box) is not None]
    chunks.sort(key=lambda chunk: chunk.offset)
    count = max(1, _TOGETHER // max(1, chunk_nbytes(extent)))
    for start in range(0, len(chunks), count):
        yield chunks[start : start + count]


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
    nbytes = chunk_nbytes(extent)
    packed = memoryview(bytearray(max((chunk.length for chunk in chunks), default=0)))
    for chunk in chunks:
        data: Any = packed[: chunk.length]
        fetch(chunk.offset, data)
        shuffled = 1
        try:
            todo = steps(extent.codecs, chunk.left_out, nbytes)
            size = into.dtype.itemsize
            if todo and todo[-1][0] == ("shuffle", (size,)) and size <= MOST_PLANES:
                shuffled = size  # it is undone on the way to the array, which saves a copy
                todo.pop()
            for codec, expected in todo:
                data = undo(codec, data, expected, verify)
            if len(data) != nbytes:
                raise BadStream(f"has {len(data):,} bytes, where a chunk has {nbytes:,}")
        except BadStream as error:
            raise BadStream(f"has a damaged chunk at {chunk.at}: it {error}") from error
        _place(data, box_of_chunk(extent, chunk), into, box, shuffled)


def _place(data: Any, source: Box, into: np.ndarray[Any, Any], box: Box, shuffled: int) -> None:
    """Copy the part of a chunk that is in a region, from bytes that may be shuffled."""
    import numpy as np

    shared = source.intersection(box)
    assert shared is not None
    inside, outside = shared.relative_to(source.starts), shared.relative_to(box.starts)
    if shuffled == 1:
        values = np.frombuffer(data, into.dtype).reshape(source.shape)
        into[outside.slices] = values[inside.slices]
        return
    planes = np.frombuffer(data, np.uint8).reshape(shuffled, *source.shape)
    raw = into.reshape(-1).view(np.uint8).reshape(*into.shape, shuffled)
    for index in range(shuffled):
        raw[..., index][outside.slices] = planes[index][inside.slices]
