"""Where the chunks of a dataset are, by any of the indices that HDF5 has for them.

Source: HDF5 File Format Specification 3.0, "Data Layout Message", "Disk Format: Level 1A1 - Version
1 B-trees" and "Appendix C: Types of Indexes for Dataset Chunks". Chunks that an index counts are
counted in the order of a C array of the largest shape that the dataset may have. The axis without a
limit comes first then.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from operator import floordiv, mul
from typing import NamedTuple

from initreg_formats.h5.hdf5 import chunk_arrays
from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, number
from initreg_formats.h5.hdf5.messages import Layout, Space
from initreg_formats.h5.hdf5.trees import old_nodes, records

_OLD_TREE, _SINGLE, _IMPLICIT, _FIXED, _EXTENSIBLE, _TREE = range(6)


class Chunk(NamedTuple):
    """A chunk: its place in the grid of chunks, where it is stored, how many bytes it has there,
    and a bit for each filter that was left out."""

    at: tuple[int, ...]
    address: int
    size: int
    mask: int


def chunks(content: Content, layout: Layout, space: Space, has_filters: bool) -> Iterator[Chunk]:
    """The chunks that are stored, also those that are outside of the dataset's shape.

    ``has_filters`` says whether the dataset has filters. Then the index has the sizes of chunks.
    """
    shape, item = layout.chunk[:-1], layout.chunk[-1]
    size = math.prod(shape) * item
    if layout.address == UNDEFINED:
        return
    if layout.index_kind == _OLD_TREE:
        yield from _old_tree(content, layout)
        return
    width = 0  # bytes of a chunk's size in the index
    if has_filters:
        width = layout.width or min(8, 1 + (size.bit_length() - 1 + 8) // 8)
    if layout.index_kind == _TREE:
        yield from _tree(content, layout, width, size)
        return
    if layout.index_kind == _SINGLE:
        packed = number(layout.parameters, 0, 8) if layout.parameters else size
        mask = number(layout.parameters, 8, 4) if layout.parameters else 0
        yield Chunk((0,) * len(shape), layout.address, packed, mask)
        return
    counts = [
        UNDEFINED if limit == UNDEFINED else -(-limit // chunk)
        for limit, chunk in zip(space.limits, shape, strict=True)
    ]
    place = _places(counts, space, shape)
    found: Iterator[tuple[int, int, int, int]]
    if layout.index_kind == _IMPLICIT:
        total = math.prod(counts)
        if total * size > content.length:
            raise Bad(f"{total:,} chunks of {size:,} bytes, more than the file has")
        found = ((i, layout.address + i * size, size, 0) for i in range(total))
    elif layout.index_kind == _FIXED:
        entries = chunk_arrays.fixed(content, layout.address, math.prod(counts), width)
        found = _entries(entries, width, size)
    else:
        entries = chunk_arrays.extensible(content, layout.address, width)
        found = _entries(entries, width, size)
    for index, address, stored, mask in found:
        if address != UNDEFINED:
            yield Chunk(place(index), address, stored, mask)


def _places(
    counts: list[int], space: Space, chunk: tuple[int, ...]
) -> Callable[[int], tuple[int, ...]]:
    """What gives the place of a chunk in the grid from its number."""
    order = list(range(len(counts)))
    free = [axis for axis in order if counts[axis] == UNDEFINED]
    if len(free) > 1:
        raise Bad(f"an array of chunks for {len(free)} axes without limit")
    for axis in free:
        order.remove(axis)
        order.insert(0, axis)
    inner = [counts[axis] for axis in order[1:]]

    def place(index: int) -> tuple[int, ...]:
        found = [0] * len(order)
        for axis, count in zip(reversed(order[1:]), reversed(inner), strict=True):
            index, found[axis] = divmod(index, max(1, count))
        found[order[0]] = index
        return tuple(found)

    return place


def _entries(
    entries: Iterator[tuple[int, bytes]], width: int, size: int
) -> Iterator[tuple[int, int, int, int]]:
    """Number, address, size and mask of each chunk. ``width`` is 0 if there are no filters."""
    for index, data in entries:
        address = number(data, 0, 8)
        if width:
            yield index, address, number(data, 8, width), number(data, 8 + width, 4)
        else:
            yield index, address, size, 0


def _old_tree(content: Content, layout: Layout) -> Iterator[Chunk]:
    shape = layout.chunk[:-1]
    steps = (*shape, 1)
    key_of = struct.Struct(f"<LL{len(steps)}Q")  # the size, the mask, and where the chunk begins

    def starts(key: bytes) -> tuple[int, ...]:
        return tuple(map(floordiv, key_of.unpack(key)[2:], steps))

    for key, address in old_nodes(content, layout.address, 1, key_of.size, starts):
        size, mask, *begin = key_of.unpack(key)
        at = tuple(map(floordiv, begin, shape))
        if tuple(map(mul, at, shape)) != tuple(begin[:-1]):
            raise Bad(f"a chunk does not begin at a multiple of {shape}")
        yield Chunk(at, address, size, mask)


def _tree(content: Content, layout: Layout, width: int, size: int) -> Iterator[Chunk]:
    axes = len(layout.chunk) - 1
    start = 8 + width + 4 if width else 8
    last: tuple[int, ...] = ()
    for record in records(content, layout.address, (11 if width else 10,)):
        if len(record) != start + 8 * axes:
            raise Bad(f"its B-tree has records of {len(record)} bytes for chunks")
        stored = number(record, 8, width) if width else size
        mask = number(record, 8 + width, 4) if width else 0
        at = tuple(number(record, start + 8 * i, 8) for i in range(axes))
        if at <= last:
            raise Bad("the records of its B-tree are not in order")
        last = at
        yield Chunk(at, number(record, 0, 8), stored, mask)
