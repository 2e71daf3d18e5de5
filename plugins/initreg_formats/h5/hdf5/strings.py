"""Strings: of fixed length, and of variable length, which are in global heaps.

Source: HDF5 File Format Specification 3.0, "Datatype Message" and "Disk Format: Level 1E - Global
Heap".
"""

from __future__ import annotations

from initreg_formats.h5.hdf5.content import Bad, Content
from initreg_formats.h5.hdf5.datatypes import STRING, Type
from initreg_formats.h5.hdf5.heaps import global_heap

ENDS, NULLS, SPACES = range(3)  # how strings of fixed length are filled
DESCRIPTOR = 16  # bytes: length, address of the heap, index in it


def strings(
    content: Content, kind: Type, data: bytes, count: int, was_read: bool = False
) -> list[bytes]:
    """The ``count`` strings of a type in ``data``. Raises Bad if there are not so many.

    ``was_read`` is whether they were read before, and need not be counted again.
    """
    if not kind.is_text or count * kind.size > len(data):
        raise Bad(f"its {count} elements are not strings")
    pieces = [data[at : at + kind.size] for at in range(0, count * kind.size, kind.size)]
    if kind.kind == STRING:
        return [_fixed(piece, kind.padding) for piece in pieces]
    return _variable(content, pieces, was_read)


def _fixed(piece: bytes, padding: int) -> bytes:
    if padding == SPACES:
        return piece.rstrip(b" ")
    return piece.partition(b"\0")[0] if padding == ENDS else piece.rstrip(b"\0")


def _variable(content: Content, descriptors: list[bytes], was_read: bool) -> list[bytes]:
    """Elements that were never written point to the one string of the fill value. So the strings
    may be longer than the file, up to a limit."""
    heaps: dict[int, dict[int, bytes]] = {}
    found: list[bytes] = []
    total = heap_bytes = 0
    for piece in descriptors:
        length = int.from_bytes(piece[:4], "little")
        address = int.from_bytes(piece[4:12], "little")
        if length == 0:
            found.append(b"")
            continue
        if address not in heaps:
            heaps[address], size = content.heaps.get(address) or global_heap(content, address)
            heap_bytes += size
            if heap_bytes > content.length:
                raise Bad("its strings lie in heaps that overlap")
            if address not in content.heaps:
                content.keep_heap(address, heaps[address], size, was_read)
        stored = heaps[address].get(int.from_bytes(piece[12:16], "little"))
        if stored is None or len(stored) < length:
            raise Bad(f"string {len(found)} is not where the file says")
        total += length
        if total > content.most_strings:
            raise Bad(f"its strings are more than {content.most_strings:,} bytes in such a file")
        found.append(stored[:length].partition(b"\0")[0])
    if not was_read:
        content.claim_strings(total)
    return found
