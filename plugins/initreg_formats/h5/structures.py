"""Checks of the structures that end or hang HDF5 if they are damaged, before HDF5 reads them.

HDF5 1.14.6 follows the objects of a damaged global heap, and the free blocks of a damaged local
one, without end, and takes memory for each. It divides by zeros in a damaged fractal heap. It
trusts a B-tree of version 2 about its depth and about the number of records in a node. (All of this
was seen, as signals.) So each of these is checked when HDF5 reads its beginning. HDF5 always writes
the same parameters into heaps and trees of links and of attributes, and others are not read.

The layout is from the HDF5 File Format Specification 3.0, "Disk Format: Level 1A2 - Version 2
B-trees", "Level 1D - Local Heaps", "Level 1E - Global Heap" and "Level 1F - Fractal Heap". The
parameters are from HDF5's H5Gdense.c, H5Adense.c and H5Dfarray.c. Addresses and sizes have 8
bytes, because no other file is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

GLOBAL = b"GCOL"
LOCAL = b"HEAP"
# Each with its only version. HDF5 reads no other.
_TREE = b"BTHD\0"
_FRACTAL = b"FRHP\0"
_FIXED_ARRAY = b"FAHD\0"
_REFUSED = {
    b"EAHD\0": "an extensible array",
    b"MDCI\0": "an image of HDF5's cache, which would avoid the checks",
    b"SMTB": "a table of messages that objects share",
}
_HEADER = 16  # bytes, of a global heap and of each object in it
_MOST_OBJECTS = 1 << 16  # in a global heap, where an index has 16 bits
_MOST_BLOCKS = 1 << 20  # free blocks in the local heaps of a file; each is a name that was removed
_MOST_LEVELS = 16  # of a tree; each level is 20 times as wide as the one above
_NODE = 512  # bytes, of a tree's node
_NODE_FRAME = 10  # bytes of a node besides its records: signature, version, type, checksum
_RECORDS = {5: 11, 6: 15, 8: 17, 9: 13}  # bytes, by type: links and attributes, by name and order
_LINK_ID = {5: 4, 6: 8}  # where a link's place in the heap begins in its record
_UNDEFINED = (1 << 64) - 1
_WIDTH = 4  # blocks in a row of a fractal heap
# The heaps of links and of attributes, by the size of a place in them: the bytes of the first
# block, and the bits of the largest size.
_HEAPS = {7: (512, 32), 8: (1024, 40)}
_PAGE_BITS = 10  # of a fixed array's pages
_END = 1  # of the list of free blocks


def heap_objects(size: int, data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Index, start and length of each object in a global heap of ``size`` bytes.

    ``data`` are the first bytes of the heap, and only objects in them are given. Raises ValueError
    if one lies outside of the heap.
    """
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
    """The structures that HDF5 has read so far in one file.

    The file has ``length`` bytes, and its addresses count from ``base``. ``read(start, size)``
    gives bytes of it.
    """

    def __init__(self, read: Callable[[int, int], bytes], base: int, length: int) -> None:
        self._any = read
        self._base = base
        self._length = length
        self._seen: set[int] = set()
        self._bytes = 0
        self._blocks = 0

    def check(self, at: int, head: bytes) -> None:
        """Raise OSError if ``head``, at ``at``, begins a structure that HDF5 must not read."""
        if head.startswith((GLOBAL + b"\1", LOCAL + b"\0")):
            self._check_heap(at, head)
        elif head.startswith(_TREE) and at not in self._seen:
            self._check_tree(self._read(at, 38))
            self._seen.add(at)
        elif head.startswith(_FRACTAL):
            _check_fractal(self._read(at, 146))
        elif head.startswith(_FIXED_ARRAY):
            self._check_fixed_array(self._read(at, 28))
        for begin, what in _REFUSED.items():
            if head.startswith(begin):
                raise OSError(f"{what}, which HDF5 does not read safely")

    def _read(self, start: int, size: int) -> bytes:
        if start + size > self._length:
            raise OSError(f"something that should end at byte {start + size:,} of {self._length:,}")
        return self._any(start, size)

    def _check_heap(self, at: int, head: bytes) -> None:
        size = int.from_bytes(head[8:16], "little")
        if size > self._length:
            raise OSError(f"a heap of {size:,} bytes in a file of {self._length:,}")
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

    def _check_tree(self, head: bytes) -> None:
        kind, depth = head[5], _number(head, 12, 2)
        record = _RECORDS.get(kind, 0)
        if (_number(head, 6, 4), _number(head, 10, 2)) != (_NODE, record):
            raise OSError(f"a B-tree of type {kind}, or of a shape, that HDF5 does not read safely")
        if depth > _MOST_LEVELS:
            raise OSError(f"a B-tree of {depth:,} levels, where {_MOST_LEVELS} are always enough")
        most, pointers = _limits(record, depth)
        root, used = _number(head, 16, 8), _number(head, 24, 2)
        todo = [(root, used, depth)] if used else []
        seen = {root}
        while todo:
            address, used, level = todo.pop()
            node = self._read(self._base + address, _NODE)
            if node[:6] != (b"BTIN" if level else b"BTLF") + bytes((0, kind)):
                raise OSError("a B-tree whose node is not where it says")
            if not 0 < used <= most[level]:
                raise OSError(f"a B-tree whose node has {used:,} records, where {most[level]} fit")
            for start in range(6, 6 + used * record, record):
                place = _LINK_ID.get(kind)
                if place is not None and node[start + place] != 0:
                    raise OSError("a link that is not in its heap")
            if level:
                start = 6 + used * record
                for child in range(start, start + (used + 1) * pointers[level], pointers[level]):
                    below = _number(node, child, 8)
                    if below in seen or len(seen) > self._length // _NODE:
                        raise OSError("a B-tree that leads to one node twice")
                    seen.add(below)
                    todo.append((below, node[child + 8], level - 1))

    def _check_fixed_array(self, head: bytes) -> None:
        filtered, entry, bits, count = head[5], head[6], head[7], _number(head, 8, 8)
        right = entry == 8 if filtered == 0 else filtered == 1 and 13 <= entry <= 20
        if not right or bits != _PAGE_BITS or count * entry > self._length:
            raise OSError(f"a fixed array of {count:,} entries of {entry} bytes, which is damaged")


def _limits(record: int, depth: int) -> tuple[list[int], list[int]]:
    """The largest number of records of a node, and the size of its pointer to a child in bytes.

    Both are lists by the level of the node; leaves have level 0. A pointer is an address, the
    records of the child, and the records of all nodes below it.
    """
    most, pointers = [(_NODE - _NODE_FRAME) // record], [0]
    total = most[0]
    for level in range(1, depth + 1):
        pointers.append(8 + 1 + (_bytes_of(total) if level > 1 else 0))
        most.append((_NODE - _NODE_FRAME - pointers[level]) // (record + pointers[level]))
        total = (most[level] + 1) * total + most[level]
    return most, pointers


def _bytes_of(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _check_fractal(head: bytes) -> None:
    place, filtered, flags, largest = head[5:7], head[7:9], head[9], _number(head, 10, 4)
    first, bits = _HEAPS.get(_number(place, 0, 2), (0, 0))
    size, rows, root = _number(head, 46, 8), _number(head, 140, 2), _number(head, 132, 8)
    fixed = (
        _number(head, 110, 2),
        _number(head, 112, 8),
        _number(head, 120, 8),
        _number(head, 128, 2),
        _number(head, 130, 2),
    )
    held = 0 if root == _UNDEFINED else first if rows == 0 else _WIDTH * first << min(rows - 1, 64)
    if (
        fixed != (_WIDTH, first, 1 << 16, bits, 1)
        or largest != 4096
        or filtered != b"\0\0"
        or flags > 3
        or held.bit_length() > bits + 1
        or size != held
    ):
        raise OSError("a fractal heap of a shape that HDF5 does not read safely")


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
