"""The checksums that formats carry, and the checksum of a whole from those of its parts.

Parts of an array are read and summed by several threads at once. The two kinds differ in their
polynomial alone, of which the bits are reflected. Sources: RFC 1952 (crc32), RFC 3720 (crc32c);
for joining two sums, zlib's ``crc32_combine``.
"""

from __future__ import annotations

import functools
from typing import Any

_POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78}
KINDS = frozenset(_POLYNOMIALS)


def checksum(kind: str, data: Any, before: int = 0) -> int:
    """Of ``data``, a contiguous array of bytes, after data whose checksum was ``before``."""
    if kind == "crc32":
        from zlib_ng import zlib_ng

        return int(zlib_ng.crc32(data, before))
    import google_crc32c

    return int(google_crc32c.extend(before, data))


def joined(kind: str, first: int, second: int, length: int) -> int:
    """The checksum of two pieces of data in a row; ``length`` is that of the second, in bytes."""
    if not length:
        return first
    polynomial = _POLYNOMIALS[kind]
    return _times(_shift(polynomial, length), first, polynomial) ^ second


@functools.lru_cache(256)  # almost all pieces are equally long
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
