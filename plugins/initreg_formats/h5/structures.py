"""What HDF5 itself does not survive in a file, looked at before it sees it.

HDF5 1.14.6 follows the objects of a damaged global heap, and the free blocks of a damaged local
one, without end, and takes memory for each; it runs out of stack in a B-tree that says it is 65,535
levels deep (all seen). So a heap or the header of a tree is checked when HDF5 reads it.

Source of the layout: HDF5 File Format Specification 3.0, "Disk Format: Level 1A2 - Version 2
B-trees", "Level 1D - Local Heaps" and "Level 1E - Global Heap". Addresses and sizes have 8 bytes:
no other file is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

GLOBAL = b"GCOL"
LOCAL = b"HEAP"
TREE = b"BTHD"
_HEADER = 16  # bytes, of a global heap and of each object in it
_MOST_OBJECTS = 1 << 16  # of a global heap: their indices have 16 bits
_MOST_BLOCKS = 1 << 20  # free ones in the local heaps of a file: as many names were taken away
_MOST_LEVELS = 32  # of a tree: each is more than twice as wide as the one above
_END = 1  # of the list of free blocks


def heap_objects(size: int, data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Index, start and length of each object in a global heap of ``size`` bytes, as far as
    ``data``, its first bytes, reaches. Raises ValueError if one lies outside of it."""
    at = _HEADER
    count = 0
    while at + _HEADER <= min(size, len(data)):
        index = int.from_bytes(data[at : at + 2], "little")
        length = int.from_bytes(data[at + 8 : at + 16], "little")
        step = _HEADER + (length + 7) // 8 * 8 if index else length
        count += 1
        if step < _HEADER or at + step > size or count > _MOST_OBJECTS:
            raise ValueError("a heap that is damaged")
        if index:
            yield index, at + _HEADER, length
        at += step


class Structures:
    """What HDF5 has come across in a file of ``length`` bytes, whose addresses count from ``base``.
    ``read(start, size)``: bytes of the file."""

    def __init__(self, read: Callable[[int, int], bytes], base: int, length: int) -> None:
        self._read = read
        self._base = base
        self._length = length
        self._seen: set[int] = set()
        self._bytes = 0
        self._blocks = 0

    def check(self, at: int, head: bytes) -> None:
        """Raise OSError if ``head``, which lies at ``at``, begins what HDF5 must not see."""
        if head.startswith(TREE) and int.from_bytes(head[12:14], "little") > _MOST_LEVELS:
            raise OSError(f"a B-tree of more than {_MOST_LEVELS} levels")
        if head.startswith((GLOBAL + b"\1", LOCAL + b"\0")):
            self._check_heap(at, head)

    def _check_heap(self, at: int, head: bytes) -> None:
        size = int.from_bytes(head[8:16], "little")
        if size > self._length:
            raise OSError(f"a heap of {size:,} bytes, where the file has {self._length:,}")
        if at not in self._seen:
            self._bytes += size
        if self._bytes > self._length:
            raise OSError("heaps that overlap")
        if head.startswith(GLOBAL):
            for _ in heap_objects(size, memoryview(self._read(at, size))):
                pass
        else:
            self._check_local(at, size, head)
        self._seen.add(at)

    def _check_local(self, at: int, size: int, head: bytes) -> None:
        block = int.from_bytes(head[16:24], "little")
        data = self._base + int.from_bytes(head[24:32], "little")
        count = 0
        while block != _END and block < size:
            count += 1
            if count > size // 16 or self._blocks + count > _MOST_BLOCKS:
                raise OSError("a heap whose free blocks have no end")
            block = int.from_bytes(self._read(data + block, 8), "little")
        if at not in self._seen:
            self._blocks += count
