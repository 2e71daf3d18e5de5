"""What the index says of one tensor: ``BundleEntryProto``, and its key if it is a slice.

Source: TensorFlow's core/protobuf/tensor_bundle.proto, core/framework/types.proto and
tensor_slice.proto; for the key of a slice core/util/saved_tensor_slice_util.cc and
core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from initreg_formats.tf_checkpoint.leveldb import unmask
from initreg_formats.tf_checkpoint.proto import BYTES, VARINT, Malformed, field, fields, varint

# DataType -> dtype. Quantised integers are what TensorFlow gives numpy for them: plain ones. The
# types of less than a byte take a byte an element, in a checkpoint as in memory.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "int8",  # qint8
    12: "uint8",  # quint8
    13: "int32",  # qint32
    14: "bfloat16",
    15: "int16",  # qint16
    16: "uint16",  # quint16
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
    33: "float4_e2m1fn",
}
STRING = 7
# Handles to objects, and objects of C++ (a TensorList, the state of an iterator): no arrays.
NO_ARRAYS = frozenset((20, 21))
# Slices of one variable; fixed-size partitioners make one for each parameter server.
MOST_SLICES = 4096

_TAGS = frozenset((0x08, 0x12, 0x18, 0x20, 0x28, 0x3A))  # number << 3 | wire type
_MOST_AXES = 32  # what every numpy can hold
_LARGEST = 1 << 63


class Entry(NamedTuple):
    """``crc``: the crc32c of the stored bytes, unmasked. ``slices``: for a partitioned variable,
    the TensorSliceProtos of its parts, each of which is an entry of its own."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: tuple[bytes, ...]


def parse_entry(data: bytes) -> Entry:
    """A ``BundleEntryProto``. Raises Malformed."""
    dtype = shard = offset = size = crc = 0
    shape: tuple[int, ...] = ()
    slices: list[bytes] = []
    at, end = 0, len(data)
    # Inline for the fields and lengths that occur: this runs once for each of 100,000 variables.
    while at < end:
        tag = data[at]
        if tag == 0x35:  # crc32c, fixed32
            crc = int.from_bytes(data[at + 1 : at + 5], "little")
            at += 5
            continue
        if tag not in _TAGS:
            at = field(data, at, end)[-1]  # of a later version
            continue
        at += 2
        value = data[at - 1] if at <= end else 0x80
        if value >= 0x80:
            value, at = varint(data, at - 1, end)
        if tag == 0x20:
            offset = value
        elif tag == 0x28:
            size = value
        elif tag == 0x08:
            dtype = value
        elif tag == 0x12:
            shape = parse_shape(data[at : at + value])
            at += value
        elif tag == 0x18:
            shard = value
        else:
            slices.append(data[at : at + value])
            at += value
    if at != end:
        raise Malformed("a field that is longer than its entry")
    return Entry(dtype, shape, shard, offset, size, unmask(crc), tuple(slices))


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
        raise Malformed(f"a tensor of {len(shape)} axes; {_MOST_AXES} are the most that is read")
    # An axis of 0 empties the tensor, but numpy multiplies the others all the same.
    if math.prod(axis for axis in shape if axis) >= _LARGEST // 16:
        raise Malformed(f"a tensor of shape {tuple(shape)}")
    return tuple(shape)


class Slice(NamedTuple):
    """A part of a tensor: on each axis its first index, and its length, None for the whole."""

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
                raise Malformed("a slice that begins or ends nowhere")
            if inner == 1:
                start[-1] = value
            elif inner == 2:
                length[-1] = value
    return Slice(tuple(start), tuple(length))


def slice_key(name: bytes, part: Slice) -> bytes:
    """The key under which a part of tensor ``name`` is stored."""
    # Of the bytes that OrderedCode::WriteString escapes, UTF-8 has only the 0.
    key = b"\x00" + name.replace(b"\x00", b"\x00\xff") + b"\x00\x01"
    key += _increasing(len(part.start))
    for start, length in zip(part.start, part.length, strict=True):
        key += _signed(start) + (b"\x7f" if length is None else _signed(length))  # -1: the whole
    return key


def _increasing(value: int) -> bytes:
    """OrderedCode::WriteNumIncreasing: a length byte, then the number."""
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((len(body),)) + body


def _signed(value: int) -> bytes:
    """OrderedCode::WriteSignedNumIncreasing of a number that is not negative: big-endian, in as
    many bytes as there are groups of 7 bits, and as many ones before it."""
    size = value.bit_length() // 7 + 1
    ones = (1 << size) - 1
    return (ones << 7 * size | value).to_bytes(size, "big")


def covers(shape: Sequence[int], part: Slice) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The part's first index and shape on every axis of a tensor of ``shape``. Raises Malformed."""
    if len(part.start) != len(shape):
        raise Malformed(f"a slice of {len(part.start)} axes of a tensor of shape {tuple(shape)}")
    lengths = tuple(
        whole if length is None else length
        for whole, length in zip(shape, part.length, strict=True)
    )
    return part.start, lengths
