"""Reading the boxes of one array in pieces of bounded size, for variables that are in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import checksums, memory
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.reader import Reader
from initreg.arrays.regions import Box, runs
from initreg.arrays.threads import Job, pool_for
from initreg.arrays.traced import changed_region, stored_box
from initreg.rules.casting import Losses, cast_values
from initreg.specs import ChunkedExtent, Extent, SlicedExtent

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def pieces(
    array: LazyArray,
    boxes: Sequence[Box],
    most_bytes: int,
    dtype: np.dtype[Any],
    *,
    is_all: bool = True,
) -> Iterator[tuple[int, Box, bool, Array]]:
    """Read boxes of an array, in pieces.

    What is in memory are a piece and the next one. It is the entire array if that is packed as a
    whole, or if a rule changes it in such a way that a part of the result needs all of it.

    A checksum is verified before the last piece is yielded if the pieces are in the order of the
    file. Otherwise it is verified before the first one, so that the bytes are read twice.

    Args:
        array: the array.
        boxes: boxes of the array as it is after its rules.
        most_bytes: the most bytes of a piece. With 0, a box is one piece.
        dtype: the dtype that the values are cast to. What that loses is reported once.
        is_all: whether the boxes are the entire array. Otherwise the rest is not read, so that the
            checksum is not verified, unless all has to be read anyway.

    Yields:
        The index of the box, the region of the piece in the array, whether it is the last one, and
        its values, in C order and in memory that nobody else holds.

    Raises:
        InitregError: the array cannot be read.
    """
    itemsize = max(dtypes.itemsize(array.spec.dtype) or 1, dtype.itemsize)
    order = sorted(range(len(boxes)), key=lambda index: boxes[index].starts)
    planned = [
        (index, piece) for index in order for piece in cut(boxes[index], itemsize, most_bytes)
    ]
    losses = Losses()
    found = _values(array, [piece for _, piece in planned], losses, is_all)
    for number, values in enumerate(found):
        index, piece = planned[number]
        values = cast_values(values, dtype, array.name, losses)
        is_last = number + 1 == len(planned)
        if is_last:
            losses.tell(array.name)
        yield index, piece, is_last, values
        del values


def cut(box: Box, itemsize: int, most_bytes: int) -> Iterator[Box]:
    """Cut a region into pieces that are contiguous in it, in order.

    >>> [piece.starts for piece in cut(Box((0, 0), (2, 4), ()), 1, 4)]
    [(0, 0), (1, 0)]
    """
    nbytes = math.prod(box.shape) * itemsize
    if not most_bytes or nbytes <= most_bytes:
        yield box
        return
    axis = next((axis for axis, length in enumerate(box.shape) if length > 1), None)
    if axis is None:  # one element
        yield box
        return
    step = max(most_bytes // (nbytes // box.shape[axis]), 1)
    for start in range(box.starts[axis], box.stops[axis], step):
        stop = min(start + step, box.stops[axis])
        starts = (*box.starts[:axis], start, *box.starts[axis + 1 :])
        yield from cut(
            Box(starts, (*box.stops[:axis], stop, *box.stops[axis + 1 :]), ()),
            itemsize,
            most_bytes,
        )


def _values(
    array: LazyArray, regions: Sequence[Box], losses: Losses, verify: bool
) -> Iterator[Array]:
    """The values of regions of an array, in order."""
    stored = array.stored
    shape, dtype = stored.shape, stored.spec.dtype
    boxes = [stored_box(array.changes, shape, dtype, region) for region in regions]
    is_all = len(regions) == 1 and regions[0].shape == array.shape
    found = [box for box in boxes if box is not None]
    if is_all or len(found) < len(boxes) or _is_packed(stored.value):
        yield from _cut_values(array, regions)
        return
    reader = array.reader
    if isinstance(reader, Reader) and _tile(stored.value, found):
        yield from _ahead(found, _summing(reader, stored, found), array, losses)
        return
    if verify:
        reader.verify(stored)
    yield from _ahead(found, lambda box: reader.read_part(stored, box.slices), array, losses)


def _cut_values(array: LazyArray, regions: Sequence[Box]) -> Iterator[Array]:
    """Read all of an array, and yield its regions, each in memory of its own."""
    values = array.read()
    for region in regions:
        yield values if region.shape == values.shape else values[region.slices].copy()


def _ahead(
    boxes: Sequence[Box], read: Callable[[Box], Array], array: LazyArray, losses: Losses
) -> Iterator[Array]:
    """What ``read`` returns for each box, in order. The next one is read meanwhile."""
    value = array.stored.value
    # What a library reads, it reads in the caller's thread.
    is_ours = isinstance(value, (Extent, SlicedExtent, ChunkedExtent))
    nbytes = sum(math.prod(box.shape) for box in boxes) * (dtypes.itemsize(array.spec.dtype) or 1)
    with pool_for(nbytes if is_ours else 0) as pool:
        waiting: list[Job] = []
        for number, box in enumerate(boxes):
            job = waiting.pop() if waiting else Job.of(pool.submit(lambda box=box: [read(box)]))
            found = job.finish()
            del job
            if is_ours and number + 1 < len(boxes):
                following = boxes[number + 1]
                waiting.append(Job.of(pool.submit(lambda box=following: [read(box)])))
            yield changed_region(array.changes, found.pop(), array.name, losses)


def _is_packed(value: Any) -> bool:
    """Whether a part of the array can be had only by unpacking more than it."""
    if isinstance(value, SlicedExtent):
        return any(extent.codec is not None for _, extent in value.slices)
    return isinstance(value, Extent) and value.codec is not None


def _tile(value: Any, boxes: Sequence[Box]) -> bool:
    """Whether the regions are the entire array, one after the other as they are in the file, and a
    checksum is to be verified."""
    if not isinstance(value, Extent) or value.checksum is None or value.order != "C":
        return False
    itemsize = dtypes.to_numpy(value.dtype).itemsize
    ends = [0]
    for box in boxes:
        if 0 in box.shape:
            return False
        _, found = runs(box, value.shape, itemsize)
        (offset, length), *more = found
        if more or offset != ends[-1] or length != math.prod(box.shape) * itemsize:
            return False
        ends.append(offset + length)
    return ends[-1] == math.prod(value.shape) * itemsize


def _summing(reader: Reader, stored: LazyArray, boxes: Sequence[Box]) -> Callable[[Box], Array]:
    """Read pieces one after the other, and compare the checksum once the last one is read."""
    extent = stored.value
    dtype = dtypes.to_numpy(extent.dtype)
    sizes = [math.prod(box.shape) * dtype.itemsize for box in boxes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    waiting = list(pairwise(starts))[::-1]
    total = 0

    def read(box: Box) -> Array:
        nonlocal total
        start, stop = waiting.pop()
        part = memory.empty(box.shape, dtype)
        found, length = reader.fill(stored.name, extent, memory.bytes_of(part), start)
        total = checksums.joined(extent.checksum[0], total, found, length)
        if stop == starts[-1]:
            reader.compare(stored.name, extent, total)
        return part if dtypes.is_native(dtype) else part.astype(dtype.newbyteorder("="))

    return read
