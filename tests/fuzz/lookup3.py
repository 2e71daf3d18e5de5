"""The checksums of HDF5's newer structures: the hash lookup3 of the bytes before.

Source: Bob Jenkins's public-domain lookup3.c, ``hashlittle`` with an initial value of 0, which the
HDF5 File Format Specification 3.0 names.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_LONGEST = 2500  # bytes of a structure in a seed


def _rotate(x: int, k: int) -> int:
    return (x << k | x >> (32 - k)) & _MASK


def lookup3(data: bytes) -> int:
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    words += [0] * (-len(words) % 3)
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not words:
        return c
    for i in range(0, len(words) - 3, 3):
        a, b, c = a + words[i], b + words[i + 1], c + words[i + 2] & _MASK
        a = (a - c & _MASK) ^ _rotate(c, 4)
        c += b
        b = (b - a & _MASK) ^ _rotate(a, 6)
        a += c
        c = (c - b & _MASK) ^ _rotate(b, 8)
        b += a
        a = (a - c & _MASK) ^ _rotate(c, 16)
        c += b
        b = (b - a & _MASK) ^ _rotate(a, 19)
        a += c
        c = (c - b & _MASK) ^ _rotate(b, 4)
        b += a
    a, b, c = (x + y & _MASK for x, y in zip((a, b, c), words[-3:], strict=True))
    c = (c ^ b) - _rotate(b, 14) & _MASK
    a = (a ^ c) - _rotate(c, 11) & _MASK
    b = (b ^ a) - _rotate(a, 25) & _MASK
    c = (c ^ b) - _rotate(b, 16) & _MASK
    a = (a ^ c) - _rotate(c, 4) & _MASK
    b = (b ^ a) - _rotate(a, 14) & _MASK
    return (c ^ b) - _rotate(b, 24) & _MASK


def sealed(data: bytes, places: list[int]) -> list[tuple[int, int]]:
    """Where the structures begin and where their checksums do, of those at ``places`` that have
    one."""
    found = []
    for start in places:
        for end in range(start + 8, min(start + _LONGEST, len(data) - 4)):
            if lookup3(data[start:end]) == int.from_bytes(data[end : end + 4], "little"):
                found.append((start, end))
                break
    return found
