"""The header of an object in an HDF5 file, which h5py does not show.

Source of the layout: HDF5 File Format Specification 3.0, "Data Object Headers" and "Object Header
Continuation Message".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from initreg import DamagedFile
from initreg_formats.h5.container import Container

_CONTINUATION = 0x10


def address_of(found: Any) -> int:
    """Where the header of an object lies in the file. ``found`` is its identifier in h5py.

    ``h5o.get_info`` is not used: it adds up the B-trees of the object, and never ends if one of
    them is damaged.
    """
    import h5py

    low, high = h5py.h5g.get_objinfo(found, b".").objno
    return int(low) | int(high) << 32


def messages(
    container: Container, address: int, what: str
) -> Iterator[tuple[int, int, memoryview]]:
    """Type, flags and body of each message of an object's header. Raises DamagedFile."""
    address += container.user_block
    head = container.read(address, 16, what)
    if head.startswith(b"OHDR"):
        order = 2 if head[5] & 0x04 else 0
        at = address + 6 + (16 if head[5] & 0x20 else 0) + (4 if head[5] & 0x10 else 0)
        width = 1 << (head[5] & 0x03)
        size = int.from_bytes(container.read(at, width, what), "little")
        blocks, first, last = [(at + width, size)], 4, 4
    else:
        order = -1
        blocks, first, last = [(address + 16, int.from_bytes(head[8:12], "little"))], 0, 0
    seen = 0
    for start, size in blocks:  # the loop appends to it
        seen += size
        if seen > container.length:
            raise DamagedFile(
                f"{what}: its object's header is longer than the file. Download or copy the file "
                "again"
            )
        block = memoryview(container.read(start, size, what))
        for kind, flags, body in _split(block, order):
            if kind == _CONTINUATION and len(body) >= 16:
                begin = int.from_bytes(body[:8], "little") + container.user_block + first
                blocks.append((begin, int.from_bytes(body[8:16], "little") - first - last))
            yield kind, flags, body


def _split(block: memoryview, order: int) -> Iterator[tuple[int, int, memoryview]]:
    """The messages in one block. ``order`` is -1 in headers of version 1, otherwise the size of the
    creation order in each message, in bytes."""
    at, header = 0, 8 if order < 0 else 4 + order
    while at + header <= len(block):
        if order < 0:
            kind = int.from_bytes(block[at : at + 2], "little")
            size, flags = int.from_bytes(block[at + 2 : at + 4], "little"), block[at + 4]
        else:
            kind, flags = block[at], block[at + 3]
            size = int.from_bytes(block[at + 1 : at + 3], "little")
        yield kind, flags, block[at + header : at + header + size]
        at += header + size
