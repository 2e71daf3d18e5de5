"""Protocol buffers in a file, field by field, without a library. What fields hold is not read.

Every loop ends, because each step moves forward in the file. No length is believed: a field lies
inside its message, and the outermost message is the file. So a file may have many gigabytes, and
none of its tensors is read.

>>> import io
>>> data = bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])
>>> wire = Wire(io.BytesIO(data), len(data))
>>> [(field.number, field.value or wire.text(field)) for field in wire.fields(0, wire.size)]
[(1, 150), (2, 'hi')]

Source of the encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes: 64 bits in groups of 7
_HEAD = 2 * _LONGEST_VARINT  # bytes: a tag, and a number or a length
_WINDOW = 1 << 16  # bytes that are read at once


class Fault(Exception):
    """What is wrong with a message, as the rest of a sentence: ``"ended while it was read"``.

    The caller, who knows the file, raises DamagedFile with it.
    """


class Field(NamedTuple):
    """One field.

    Args:
        number: its number in the message.
        kind: its wire type.
        value: the number that it holds, if it is a varint. Otherwise 0.
        begin: the position of the first byte of its content, in the file.
        end: the position after the last one.
    """

    number: int
    kind: int
    value: int
    begin: int
    end: int


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at ``at``, and the position after it. Raises Fault."""
    value = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Fault("has a number of more than 64 bits")
            return value, at
        shift += 7
    raise Fault("has a number that does not end")


def signed(value: int) -> int:
    """An int64 or int32 from its unsigned varint."""
    return value - (1 << 64) if value >> 63 else value


def varints(data: bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Packed numbers in a row, as unsigned 64-bit integers. Raises Fault.

    >>> varints(bytes([0x05, 0x96, 0x01])).tolist()
    [5, 150]
    """
    import numpy as np

    found = np.frombuffer(data, np.uint8)
    if not found.size:
        return np.zeros(0, np.uint64)
    last = found < 0x80
    if not last[-1]:
        raise Fault("has a number that does not end")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > _LONGEST_VARINT:
        raise Fault("has a number of more than 64 bits")
    if sizes.max() == 1:
        return found.astype(np.uint64)
    at = np.arange(found.size) - np.repeat(starts, sizes)
    parts = (found & 0x7F).astype(np.uint64) << (7 * at).astype(np.uint64)
    values: np.ndarray[Any, np.dtype[np.uint64]] = np.bitwise_or.reduceat(parts, starts)
    return values


def head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """The field that begins at ``at``: number, wire type, value, and the position of its content.

    ``value`` is the length of the content if it is bytes. Raises Fault.
    """
    tag, at = varint(data, at)
    number, kind = tag >> 3, tag & 7
    if number == 0 or number >= 1 << 29:
        raise Fault(f"has a field with the number {number}")
    if kind == VARINT:
        value, _ = varint(data, at)
        return number, kind, value, at
    if kind == BYTES:
        value, at = varint(data, at)
        return number, kind, value, at
    if kind not in (FIXED32, FIXED64):
        raise Fault(f"has a field of wire type {kind}")
    return number, kind, 0, at


class Wire:
    """A file of one message.

    Args:
        file: the file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, size
        self._begin, self._data = 0, b""

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """The fields of the message in these bytes of the file, in order. Raises Fault."""
        at = begin
        while at < end:
            if not self._begin <= at <= self._begin + len(self._data) - _HEAD:
                self._load(at)
            offset = at - self._begin
            # Inline for short tags and lengths, of which a graph has many thousands.
            tag, size = (*self._data[offset : offset + 2], 0x80, 0x80)[:2]
            if tag & 7 == BYTES and 8 <= tag < 0x80 and size < 0x80 and at + 2 + size <= end:
                at += 2 + size
                yield Field(tag >> 3, BYTES, 0, at - size, at)
                continue
            number, kind, value, offset = head(self._data, offset)
            first = self._begin + offset
            if kind == BYTES:
                at, value = first + value, 0
            elif kind == VARINT:
                at = self._begin + varint(self._data, offset)[1]
            else:
                at = first + (4 if kind == FIXED32 else 8)
            if at > end:
                raise Fault(f"has a field that ends at byte {at:,}, beyond its message")
            yield Field(number, kind, value, first, at)

    def message(self, field: Field) -> Iterator[Field]:
        """The fields of the message that a field holds, in order. Raises Fault."""
        if field.kind != BYTES:
            raise Fault(f"has a number instead of a message in field {field.number}")
        return self.fields(field.begin, field.end)

    def read(self, begin: int, end: int) -> bytes:
        """These bytes of the file. Raises Fault if it has become shorter."""
        first = begin - self._begin
        if first >= 0 and end <= self._begin + len(self._data):
            return self._data[first : end - self._begin]
        self._file.seek(begin)
        found = self._file.read(end - begin)
        if len(found) < end - begin:
            raise Fault("ended while it was read")
        return found

    def text(self, field: Field) -> str:
        """The content of a field of text. Raises Fault."""
        if field.kind != BYTES:
            raise Fault(f"has a number instead of a text in field {field.number}")
        try:
            return self.read(field.begin, field.end).decode()
        except UnicodeDecodeError as error:
            raise Fault("has a text that is not UTF-8") from error

    def _load(self, at: int) -> None:
        self._file.seek(at)
        self._begin, self._data = at, self._file.read(min(_WINDOW, self.size - at))
