"""Snappy's raw format in plain Python, for an index whose blocks are compressed.

Source of the format: google/snappy, format_description.txt.
"""

from __future__ import annotations

from initreg_formats.shared.protobuf import Malformed, varint

# A copy is the densest element: at most 64 bytes out of 3 in.
_MOST_OUT, _FOR_IN = 64, 3


def decompress(data: bytes) -> bytes:
    """Unpack ``data``. Raises Malformed.

    If ``data`` cannot unpack to the length that it states, nothing is unpacked.
    """
    end = len(data)
    expected, at = varint(data, 0, end)
    if expected * _FOR_IN > (end - at) * _MOST_OUT:
        raise Malformed(f"{end} bytes of snappy that claim to unpack to {expected}")
    out = bytearray()
    while at < end:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length, at = _literal_length(data, tag >> 2, at)
            if at + length > end:
                raise Malformed("snappy that ends inside a literal")
            out += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, tag, at)
            if not 0 < offset <= len(out):
                raise Malformed("snappy that copies from before its beginning")
            start = len(out) - offset
            if offset >= length:
                out += out[start : start + length]
            else:  # it copies bytes that it is writing, which is a repetition
                out += (out[start:] * (length // offset + 1))[:length]
        if len(out) > expected:
            raise Malformed(f"snappy that unpacks to more than its {expected} bytes")
    if len(out) != expected:
        raise Malformed(f"snappy that unpacks to {len(out)} bytes instead of {expected}")
    return bytes(out)


def _literal_length(data: bytes, short: int, at: int) -> tuple[int, int]:
    if short < 60:
        return short + 1, at
    stop = at + short - 59  # 1 to 4 bytes of length
    if stop > len(data):
        raise Malformed("snappy that ends inside a length")
    return int.from_bytes(data[at:stop], "little") + 1, stop


def _copy(data: bytes, tag: int, at: int) -> tuple[int, int, int]:
    """``(length, offset, position after the element)``."""
    stop = at + (1, 2, 4)[(tag & 3) - 1]
    if stop > len(data):
        raise Malformed("snappy that ends inside a copy")
    offset = int.from_bytes(data[at:stop], "little")
    if tag & 3 == 1:
        return (tag >> 2 & 7) + 4, (tag >> 5) << 8 | offset, stop
    return (tag >> 2) + 1, offset, stop
