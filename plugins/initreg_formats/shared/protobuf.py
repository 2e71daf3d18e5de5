"""Protocol buffers, as far as checkpoints and metagraphs need them: no library, no recursion.

Every loop here ends, because each step moves forward in bytes that are already in memory.
Source of the encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes; 64 bits in groups of 7


class Malformed(Exception):
    """Bytes that are not what they should be. The message says what was found, as a noun.

    The caller, who knows the file, raises DamagedFile with it.
    """


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit number at ``at``, and the position after it. Raises Malformed."""
    value = shift = 0
    last = min(end, at + _LONGEST_VARINT)
    while at < last:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Malformed("a number of more than 64 bits")
            return value, at
        shift += 7
    raise Malformed("a number that does not end")


def signed(value: int) -> int:
    """An int32 or int64 field from its unsigned varint: two's complement in 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def field(data: bytes, at: int, end: int) -> tuple[int, int, int, bytes, int]:
    """The field at ``at``: ``(number, wire type, value, content, position after it)``.

    A number has a ``value``. Bytes, a string or a message inside have a ``content``. The other one
    is empty. Raises Malformed.
    """
    tag = data[at]
    if tag < 0x80:
        at += 1
    else:
        tag, at = varint(data, at, end)
    number, wire = tag >> 3, tag & 7
    if number == 0:
        raise Malformed("a field without a number")
    if wire == VARINT:
        value, at = varint(data, at, end)
        return number, wire, value, b"", at
    if wire == BYTES:
        size, at = varint(data, at, end)
    elif wire == FIXED32:
        size = 4
    elif wire == FIXED64:
        size = 8
    else:
        raise Malformed(f"a field of wire type {wire}")
    stop = at + size
    if stop > end:
        raise Malformed("a field that is longer than its message")
    content = data[at:stop]
    if wire == BYTES:
        return number, wire, 0, content, stop
    return number, wire, int.from_bytes(content, "little"), b"", stop


def fields(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The fields of one message, in order, as :func:`field` gives them without the position."""
    at, end = 0, len(data)
    while at < end:
        # Inline for short tags and lengths, of which an object graph has hundreds of thousands.
        tag = data[at]
        size = data[at + 1] if at + 1 < end else 0x80
        if tag & 7 == BYTES and 8 <= tag < 0x80 and size < 0x80:
            at += 2 + size
            if at > end:
                raise Malformed("a field that is longer than its message")
            yield tag >> 3, BYTES, 0, data[at - size : at]
        elif tag & 7 == VARINT and 8 <= tag < 0x80 and size < 0x80:
            at += 2
            yield tag >> 3, VARINT, size, b""
        else:
            number, wire, value, content, at = field(data, at, end)
            yield number, wire, value, content


def spans(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message in ``data[at:end]``, without a copy of any content.

    Yields:
        ``(number, wire type, value, begin, stop)``. The content is ``data[begin:stop]``.
    """
    while at < end:
        tag = data[at]
        size = data[at + 1] if at + 1 < end else 0x80
        if tag & 7 == BYTES and 8 <= tag < 0x80 and size < 0x80:  # as in fields()
            at += 2 + size
            if at > end:
                raise Malformed("a field that is longer than its message")
            yield tag >> 3, BYTES, 0, at - size, at
        elif tag & 7 == VARINT and 8 <= tag < 0x80 and size < 0x80:
            at += 2
            yield tag >> 3, VARINT, size, at, at
        else:
            number, wire, value, content, at = field(data, at, end)
            yield number, wire, value, at - len(content), at


def encode_varint(value: int) -> bytes:
    """An unsigned number of at most 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_number(number: int, value: int) -> bytes:
    """A field of a number that is not negative. A 0 is left out: readers take a missing field for
    it."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value) if value else b""


def encode_bytes(number: int, content: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(content)) + content
