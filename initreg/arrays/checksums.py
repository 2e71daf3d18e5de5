"""The checksums that formats use, and how the checksums of two parts are combined.

Several threads read the parts of an array and compute their checksums. The two kinds differ only
in their polynomial, whose bits are reversed here. Sources: RFC 1952 (crc32), RFC 3720 (crc32c), and
zlib's ``crc32_combine`` for combining two checksums.
"""

from __future__ import annotations

import functools
from typing import Any

_POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78}
KINDS = frozenset(_POLYNOMIALS)


def checksum(kind: str, data: Any, before: int = 0) -> int:
    """The checksum of some bytes.

    Args:
        kind: ``"crc32"`` or ``"crc32c"``.
        data: bytes, a memoryview of bytes, or a contiguous array of bytes.
        before: the checksum of the data that comes before, 0 if there is none.
    """
    from fastcrc import crc32

    return (crc32.iso_hdlc if kind == "crc32" else crc32.iscsi)(data, before)


def joined(kind: str, first: int, second: int, length: int) -> int:
    """The checksum of two pieces of data, one after the other, from their checksums.

    Args:
        kind: ``"crc32"`` or ``"crc32c"``.
        first: the checksum of the first piece.
        second: the checksum of the second piece.
        length: the length of the second piece in bytes.
    """
    if not length:
        return first
    polynomial = _POLYNOMIALS[kind]
    return _times(_shift(polynomial, length), first, polynomial) ^ second


@functools.lru_cache(256)  # almost all pieces have the same length
def _shift(polynomial: int, length: int) -> int:
    """``x ** (8 * length)`` modulo the polynomial."""
    result, power = 1 << 31, 1 << 23  # 1 and x ** 8, reflected
    while length:
        if length & 1:
            result = _times(result, power, polynomial)
        power = _times(power, power, polynomial)
        length >>= 1
    return result


def _times(a: int, b: int, polynomial: int) -> int:
    """The product of two polynomials over GF(2), reflected, modulo a third."""
    product = 0
    while a:
        if a & (1 << 31):
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ polynomial if b & 1 else b >> 1
    return product
