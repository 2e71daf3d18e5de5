"""Heaps: local ones with the names of old groups, global ones with strings of variable length,
fractal ones with the links and attributes of new groups.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 1D - Local Heaps", "Disk Format:
Level 1E - Global Heap" and "Disk Format: Level 1G - Fractal Heap".
"""

from __future__ import annotations

from collections.abc import Iterator

from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, Unknown, number
from initreg_formats.h5.hdf5.lookup3 import lookup3
from initreg_formats.h5.hdf5.trees import records

_MANAGED, _HUGE, _TINY = range(3)
_HEADER = 16  # bytes of a global heap's header, and of each object's
_MOST_LEVELS = 64


def local_heap(content: Content, address: int) -> bytes:
    """The data of a local heap."""
    head = content.signed(address, 32, b"HEAP\0")
    return content.read(number(head, 24, 8), number(head, 8, 8))


def text(heap: bytes, at: int) -> bytes:
    """The string that begins there in a local heap."""
    end = heap.find(b"\0", at)
    if not 0 <= at <= end:
        raise Bad("a name is not where the file says")
    return heap[at:end]


def global_heap(content: Content, address: int) -> tuple[dict[int, bytes], int]:
    """The objects of a global heap by their indices, and its size. It is not counted."""
    head = content.data(address, _HEADER)
    if not head.startswith(b"GCOL\1"):
        raise Bad("a string is not where the file says")
    size = number(head, 8, 8)
    data = content.data(address, size)
    return {index: data[at : at + length] for index, at, length in _objects(data)}, size


def _objects(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = _HEADER
    while at + _HEADER <= len(data):
        index, length = number(data, at, 2), number(data, at + 8, 8)
        step = _HEADER + (length + 7) // 8 * 8 if index else length  # index 0 is free space
        if step < _HEADER or at + step > len(data):
            raise Bad("its strings lie in a heap that is damaged")
        if index:
            yield index, at + _HEADER, length
        at += step


class FractalHeap:
    """A heap of blocks that double in size. Raises Bad if its header is damaged."""

    def __init__(self, content: Content, address: int) -> None:
        self._content = content
        self._address = address
        data = content.signed(address, 146, b"FRHP\0")
        if number(data, 7, 2):
            raise Unknown("a heap of links or attributes that is packed")
        if lookup3(data[:142]) != number(data, 142, 4):
            raise Bad("a structure (FRHP) fails its checksum")
        self._id_size = number(data, 5, 2)
        self._has_sums = bool(data[9] & 2)
        self._huge_tree = number(data, 22, 8)
        self._width = number(data, 110, 2)
        self._first = number(data, 112, 8)
        largest, bits = number(data, 120, 8), number(data, 128, 2)
        self._root, self._rows = number(data, 132, 8), number(data, 140, 2)
        if (
            not all(_is_power(each) for each in (self._width, self._first, largest))
            or not self._first <= largest <= 1 << 32
            or bits > 64
            or self._rows > _MOST_LEVELS
        ):
            raise Bad("a fractal heap has blocks of impossible sizes")
        self._offset_size = (bits + 7) // 8
        managed = number(data, 10, 4)
        in_block = (largest.bit_length() + 6) // 8  # bytes of an offset in the largest block
        self._length_size = min(in_block, (managed.bit_length() + 7) // 8)
        self._direct_rows = largest.bit_length() - self._first.bit_length() + 2
        self._blocks: dict[int, bytes] = {}
        self._huge: dict[int, tuple[int, int]] | None = None

    def get(self, identifier: bytes) -> bytes:
        """The object that an identifier leads to."""
        head = number(identifier, 0, 1)
        kind = head >> 4 & 3
        if head >> 6:
            raise Bad(f"an object in a heap has version {head >> 6}")
        if kind == _MANAGED:
            offset = number(identifier, 1, self._offset_size)
            size = number(identifier, 1 + self._offset_size, self._length_size)
            return self._managed(offset, size)
        if kind == _TINY:
            wide = self._id_size > 17
            size = (
                1 + (head & 15) if not wide else 1 + ((head & 15) << 8 | number(identifier, 1, 1))
            )
            return identifier[1 + wide : 1 + wide + size]
        if kind == _HUGE:
            return self._content.read(*self._place_of_huge(identifier))
        raise Bad(f"an object in a heap has type {kind}")

    def _place_of_huge(self, identifier: bytes) -> tuple[int, int]:
        if self._id_size >= 17:
            return number(identifier, 1, 8), number(identifier, 9, 8)
        if self._huge is None:
            self._huge = {}
            for record in records(self._content, self._huge_tree, (1,)):
                place = number(record, 0, 8), number(record, 8, 8)
                self._huge[number(record, 16, 8)] = place
        found = self._huge.get(int.from_bytes(identifier[1 : self._id_size], "little"))
        if found is None:
            raise Bad("a large object is not in its heap")
        return found

    def _managed(self, offset: int, size: int) -> bytes:
        """An object by its place in the heap, which includes the headers of the blocks."""
        block, start, length = self._root, 0, self._first
        rows = self._rows
        for _ in range(_MOST_LEVELS):
            if not rows:
                break
            row, row_start, length = self._row(offset - start)
            column = (offset - start - row_start) // length
            if row >= rows:
                raise Bad("an object lies outside of its heap")
            entry = row * self._width + column
            entries = self._indirect(block, start, rows)
            start += row_start + column * length
            block = number(entries, 8 * entry, 8)
            child = length.bit_length() - (self._first * self._width).bit_length() + 1
            rows = 0 if row < self._direct_rows else child
        if block == UNDEFINED or offset + size > start + length:
            raise Bad("an object lies outside of its heap")
        data = self._direct(block, start, length)
        return data[offset - start : offset - start + size]

    def _row(self, offset: int) -> tuple[int, int, int]:
        """The row of blocks that an offset is in, where it begins, and the size of its blocks."""
        first = self._first * self._width
        row = (offset // first).bit_length()
        if row == 0:
            return 0, 0, self._first
        return row, first << row - 1, self._first << row - 1

    def _indirect(self, address: int, start: int, rows: int) -> bytes:
        """The addresses in an indirect block, which begins at ``start`` in the heap."""
        head = 13 + self._offset_size
        size = head + 8 * rows * self._width
        if address not in self._blocks:
            data = self._content.signed(address, size + 4, b"FHIB\0")
            if lookup3(data[:-4]) != number(data, size, 4):
                raise Bad("a structure (FHIB) fails its checksum")
            self._check_owner(data, start)
            self._blocks[address] = data
        return self._blocks[address][head:size]

    def _direct(self, address: int, start: int, length: int) -> bytes:
        if address not in self._blocks:
            data = self._content.signed(address, length, b"FHDB\0")
            self._check_owner(data, start)
            if self._has_sums:
                at = 13 + self._offset_size
                if lookup3(data[:at] + bytes(4) + data[at + 4 :]) != number(data, at, 4):
                    raise Bad("a structure (FHDB) fails its checksum")
            self._blocks[address] = data
        return self._blocks[address]

    def _check_owner(self, data: bytes, start: int) -> None:
        if number(data, 5, 8) != self._address or number(data, 13, self._offset_size) != start:
            raise Bad("a block belongs to another heap, or to another place in it")


def _is_power(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
