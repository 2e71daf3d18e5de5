"""The superblock, with which an HDF5 file begins.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 0A - Format Signature and
Superblock".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from initreg_formats.h5.hdf5 import SIGNATURE
from initreg_formats.h5.hdf5.content import Bad, Unknown, number
from initreg_formats.h5.hdf5.lookup3 import check

Read = Callable[[int, int], bytes]  # takes a size and an offset, as os.pread
_FIRST = 512  # the smallest user block
_OPEN = 0x05  # the flags of a file that is open for writing
_SIZE = 100  # bytes, more than any version has up to the address of the root


class Superblock(NamedTuple):
    """``base`` is where the signature is, ``root`` the address of the root's header."""

    base: int
    root: int


def find(read: Read, start: int, length: int) -> int | None:
    """Where the signature is: at 0, 512, 1024, and so on, doubling. None if it is nowhere there."""
    at = 0
    while at < length:
        if read(8, start + at) == SIGNATURE:
            return at
        at = 2 * at or _FIRST
    return None


def superblock(read: Read, start: int, length: int) -> Superblock | None:
    """The superblock of the file in ``length`` bytes from ``start``; None if there is none.

    Raises Bad if it is damaged or the file is truncated, Unknown if addresses or sizes do not have
    8 bytes.
    """
    base = find(read, start, length)
    if base is None:
        return None
    data = read(min(_SIZE, length - base), start + base)
    version = number(data, 8, 1)
    if version > 3:
        raise Unknown(f"a superblock of version {version}")
    sizes = data[13:15] if version < 2 else data[9:11]
    if sizes != b"\x08\x08":
        numbers = " and ".join(map(str, sizes))
        raise Unknown(f"addresses and sizes of {numbers} bytes, where only 8 are read")
    if version < 2:
        at = 24 if version == 0 else 28
        first, end, root = (number(data, at + more, 8) for more in (0, 16, 40))
    else:
        check(data[:48])
        if version == 3 and number(data, 11, 1) & _OPEN:
            raise Bad("the program that wrote it has not closed it, so that it may be incomplete")
        first, end, root = (number(data, at, 8) for at in (12, 28, 36))
    if end - first > length - base:
        raise Bad(
            f"it should have {end - first + base:,} bytes, but it has {length:,}: it is truncated"
        )
    return Superblock(base, root)
