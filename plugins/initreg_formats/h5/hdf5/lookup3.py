"""The checksum of HDF5's newer structures: the hash lookup3.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 0A2" and others, which name Bob
Jenkins's public-domain lookup3, ``hashlittle`` with an initial value of 0.
"""

from __future__ import annotations

import struct

from initreg_formats.h5.hdf5.content import Bad

_MASK = 0xFFFFFFFF


def check(data: bytes) -> bytes:
    """The data without the checksum in its last four bytes. Raises Bad if that is wrong."""
    content = data[:-4]
    if lookup3(content) != int.from_bytes(data[-4:], "little"):
        name = data[:4].decode("ascii", "replace")
        raise Bad(f"a structure ({name}) fails its checksum")
    return content


def lookup3(data: bytes) -> int:
    """The hash of some bytes."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    data += bytes(-len(data) % 12)
    words: tuple[int, ...] = struct.unpack(f"<{len(data) // 4}I", data)
    # Written out, because a table of a thousand groups takes seconds in loops.
    for i in range(0, len(words) - 3, 3):
        a += words[i]
        b += words[i + 1]
        c = c + words[i + 2] & _MASK
        a = (a - c & _MASK) ^ (c << 4 & _MASK | c >> 28)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 6 & _MASK | a >> 26)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 8 & _MASK | b >> 24)
        b = b + a & _MASK
        a = (a - c & _MASK) ^ (c << 16 & _MASK | c >> 16)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 19 & _MASK | a >> 13)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 4 & _MASK | b >> 28)
        b = b + a & _MASK
    a, b, c = (x + y & _MASK for x, y in zip((a, b, c), words[-3:], strict=True))
    c = (c ^ b) - (b << 14 & _MASK | b >> 18) & _MASK
    a = (a ^ c) - (c << 11 & _MASK | c >> 21) & _MASK
    b = (b ^ a) - (a << 25 & _MASK | a >> 7) & _MASK
    c = (c ^ b) - (b << 16 & _MASK | b >> 16) & _MASK
    a = (a ^ c) - (c << 4 & _MASK | c >> 28) & _MASK
    b = (b ^ a) - (a << 14 & _MASK | a >> 18) & _MASK
    found: int = (c ^ b) - (b << 24 & _MASK | b >> 8) & _MASK
    return found
