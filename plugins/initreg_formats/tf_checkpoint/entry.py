"""What the index says about one tensor: a ``BundleEntryProto``, and the keys of its slices.

Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/framework/tensor_slice.proto. For
the key of a slice: core/util/saved_tensor_slice_util.cc and core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from initreg_formats.shared.protobuf import BYTES, FIXED32, VARINT, Malformed, fields, varint
from initreg_formats.tf_checkpoint.leveldb import unmask

# Slices of one variable. Fixed-size partitioners make one for each parameter server.
MOST_SLICES = 4096

# The fields of numbers: dtype, shard_id, offset, size and crc32c.
_NUMBERED = frozenset(((1, VARINT), (3, VARINT), (4, VARINT), (5, VARINT), (6, FIXED32)))
# What follows the shape: the tags of the last four, each with its number. All but the last one are
# left out if they are 0.
_NUMBERS = re.compile(
    rb"(?:\x18(N))?(?:\x20(N))?(?:\x28(N))?\x35(.{4})".replace(b"N", rb"[\x80-\xff]*[\x00-\x7f]"),
    re.DOTALL,
)
_MOST_AXES = 32  # as many as every numpy takes
_LARGEST = 1 << 63


class Entry(NamedTuple):
    """One entry. ``crc`` is the crc32c of the stored bytes, unmasked.

    A partitioned variable has ``slices``: the TensorSliceProtos of its parts. Each part has an
    entry of its own.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: tuple[bytes, ...]


def parse_entry(data: bytes) -> Entry:
    """A ``BundleEntryProto``. Raises Malformed."""
    # Nearly all are written in this order: a dtype, a shape, and numbers that are not 0.
    if data[:1] == b"\x08" and data[2:3] == b"\x12" and len(data) > 4:
        at = 4 + data[3]
        match = _NUMBERS.fullmatch(data, at) if data[1] < 0x80 > data[3] else None
        if match is not None:
            shard, offset, size, crc = match.groups(b"")
            return Entry(
                data[1],
                parse_shape(data[4:at]),
                _number(shard),
                _number(offset),
                _number(size),
                unmask(int.from_bytes(crc, "little")),
                (),
            )
    numbers = [0] * 7
    shape: tuple[int, ...] = ()
    slices: list[bytes] = []
    for number, wire, value, content in fields(data):
        if (number, wire) == (2, BYTES):
            shape = parse_shape(content)
        elif (number, wire) == (7, BYTES):
            slices.append(content)
        elif (number, wire) in _NUMBERED:
            numbers[number] = value
    _, dtype, _, shard_id, start, nbytes, masked = numbers
    return Entry(dtype, shape, shard_id, start, nbytes, unmask(masked), tuple(slices))


def _number(data: bytes) -> int:
    """A number from its varint, 0 from no bytes. Raises Malformed."""
    if len(data) > 4:
        return varint(data, 0, len(data))[0]
    groups = int.from_bytes(data, "little")  # of 7 bits, in bytes
    return groups & 0x7F | groups >> 1 & 0x3F80 | groups >> 2 & 0x1FC000 | groups >> 3 & 0xFE00000


@functools.lru_cache(4096)
def parse_shape(data: bytes) -> tuple[int, ...]:
    """A ``TensorShapeProto``. Raises Malformed."""
    shape = []
    for number, wire, value, dim in fields(data):
        if number == 2 and wire == BYTES:
            axis = 0
            for inner, kind, length, _ in fields(dim):
                if inner == 1 and kind == VARINT:
                    axis = length
            shape.append(axis)
        elif number == 3 and value:
            raise Malformed("a tensor of unknown rank")
    if len(shape) > _MOST_AXES:
        raise Malformed(f"a tensor of {len(shape)} axes, where at most {_MOST_AXES} are read")
    # With an axis of 0 the tensor is empty, but numpy multiplies the other axes all the same.
    if math.prod(axis for axis in shape if axis) >= _LARGEST // 16:
        raise Malformed(f"a tensor of the impossible shape {tuple(shape)}")
    return tuple(shape)


class Slice(NamedTuple):
    """A part of a tensor: on each axis its first index and its length. The length is None for all
    of the axis."""

    start: tuple[int, ...]
    length: tuple[int | None, ...]


def parse_slice(data: bytes) -> Slice:
    """A ``TensorSliceProto``. Raises Malformed."""
    start: list[int] = []
    length: list[int | None] = []
    for number, wire, _, extent in fields(data):
        if number != 1 or wire != BYTES:
            continue
        start.append(0)
        length.append(None)
        for inner, kind, value, _ in fields(extent):
            if kind != VARINT or value >= _LARGEST:
                raise Malformed("a slice without a start or a length")
            if inner == 1:
                start[-1] = value
            elif inner == 2:
                length[-1] = value
    return Slice(tuple(start), tuple(length))


def slice_key(name: bytes, part: Slice) -> bytes:
    """The key under which a part of tensor ``name`` is stored."""
    # OrderedCode::WriteString escapes two bytes, and UTF-8 has only one of them, the 0.
    key = b"\x00" + name.replace(b"\x00", b"\x00\xff") + b"\x00\x01"
    key += _increasing(len(part.start))
    for start, length in zip(part.start, part.length, strict=True):
        key += _signed(start) + (b"\x7f" if length is None else _signed(length))  # -1: all of it
    return key


def _increasing(value: int) -> bytes:
    """OrderedCode::WriteNumIncreasing: a length byte, then the number."""
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((len(body),)) + body


def _signed(value: int) -> bytes:
    """OrderedCode::WriteSignedNumIncreasing of a number that is not negative: as many bits of 1 as
    there are bytes, then the number. It is big-endian, and has one byte for each 7 bits."""
    size = value.bit_length() // 7 + 1
    ones = (1 << size) - 1
    return (ones << 7 * size | value).to_bytes(size, "big")


def covers(shape: Sequence[int], part: Slice) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first index and the shape of a part of a tensor of ``shape``. Raises Malformed."""
    if len(part.start) != len(shape):
        raise Malformed(f"a slice of {len(part.start)} axes of a tensor of shape {tuple(shape)}")
    lengths = tuple(
        whole if length is None else length
        for whole, length in zip(shape, part.length, strict=True)
    )
    return part.start, lengths


def check_boxes(
    shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    """Raise Malformed if one of the slices lies outside of a tensor of ``shape``, or if all of them
    do not have as many elements as the tensor. ``boxes`` are first indices and shapes."""
    for start, length in boxes:
        if any(a + n > axis for a, n, axis in zip(start, length, shape, strict=True)):
            raise Malformed(f"a slice of shape {length} at {start}, outside of {shape}")
    elements = sum(math.prod(length) for _, length in boxes)
    if elements != math.prod(shape):
        raise Malformed(f"slices of {elements:,} elements in all for shape {shape}")
