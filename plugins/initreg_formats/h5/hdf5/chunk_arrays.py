"""Arrays of chunks: of a fixed length, and extensible.

Source: HDF5 File Format Specification 3.0, "Appendix C: Types of Indexes for Dataset Chunks": "The
Fixed Array Index" and "The Extensible Array Index".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, number
from initreg_formats.h5.hdf5.lookup3 import check

_MOST_BITS = 40  # of the number of a chunk; a file of 1 TB has fewer


def _entry_size(head: bytes, width: int, what: str) -> int:
    """The size of an entry: an address, and with filters a size and a mask."""
    expected = 8 + width + 4 if width else 8
    if (head[5], head[6]) != (1 if width else 0, expected):
        raise Bad(f"{what} has entries of {head[6]} bytes, where chunks have {expected}")
    return expected


def fixed(content: Content, address: int, total: int, width: int) -> Iterator[tuple[int, bytes]]:
    """The number and the bytes of each entry of a fixed array."""
    head = check(content.signed(address, 28, b"FAHD\0"))
    entry = _entry_size(head, width, "a fixed array")
    bits, count, place = head[7], number(head, 8, 8), number(head, 16, 8)
    if count != total or count * entry > content.length or bits > _MOST_BITS:
        raise Bad(f"a fixed array has {count:,} entries for {total:,} chunks")
    if place == UNDEFINED:
        return
    page = 1 << bits
    if count <= page:
        block = check(content.signed(place, 14 + count * entry + 4, b"FADB\0"))
        yield from _each(block, 14, 0, count, entry)
        return
    pages = -(-count // page)
    block = check(content.signed(place, 14 + (pages + 7) // 8 + 4, b"FADB\0"))
    at = place + len(block) + 4
    for number_ in range(pages):
        length = min(page, count - number_ * page)
        if _bit(block, 14, number_):
            data = check(content.read(at, length * entry + 4))
            yield from _each(data, 0, number_ * page, length, entry)
        at += page * entry + 4


def _each(data: bytes, at: int, first: int, count: int, entry: int) -> Iterator[tuple[int, bytes]]:
    for i in range(count):
        yield first + i, data[at + i * entry : at + (i + 1) * entry]


def _bit(data: bytes, start: int, index: int) -> bool:
    return bool(data[start + index // 8] << index % 8 & 0x80)


class _Extensible:
    """The header of an extensible array."""

    def __init__(self, content: Content, address: int, width: int) -> None:
        head = check(content.signed(address, 72, b"EAHD\0"))
        self.content = content
        self.address = address
        self.entry = _entry_size(head, width, "an extensible array")
        bits, self.first, self.least, pointers, page_bits = head[7:12]
        self.end = number(head, 44, 8)  # the number after the last that was set
        self.index = number(head, 60, 8)
        powers = self.least and pointers and not self.least & self.least - 1
        if not powers or pointers & pointers - 1 or bits > 64 or page_bits > _MOST_BITS:
            raise Bad("an extensible array has blocks of impossible sizes")
        self.offset = (bits + 7) // 8  # bytes of a block's place in the array
        self.page = 1 << page_bits
        self.levels = max(0, 1 + bits - (self.least.bit_length() - 1))
        # The data blocks of the first levels have their addresses in the index block.
        self.short = min(self.levels, 2 * (pointers.bit_length() - 1))
        self.blocks = 2 * (pointers - 1)

    def of_level(self, level: int) -> tuple[int, int]:
        """How many data blocks a level has, and how many entries each of them."""
        return 1 << level // 2, self.least << (level + 1) // 2


def extensible(content: Content, address: int, width: int) -> Iterator[tuple[int, bytes]]:
    """The number and the bytes of each entry of an extensible array that is allocated."""
    array = _Extensible(content, address, width)
    if array.index != UNDEFINED:
        found = _entries(array)
        yield from itertools.takewhile(lambda entry: entry[0] < array.end, found)


def _entries(array: _Extensible) -> Iterator[tuple[int, bytes]]:
    at = 14 + array.first * array.entry
    size = at + 8 * (array.blocks + array.levels - array.short)
    block = check(array.content.signed(array.index, size + 4, b"EAIB\0"))
    _check_owner(block, array.address)
    yield from _each(block, 14, 0, array.first, array.entry)
    first = array.first
    for level in range(array.levels):
        count, length = array.of_level(level)
        if level < array.short:
            for _ in range(count):
                place = number(block, at, 8)
                yield from _data_block(array, place, first, length, [])
                at += 8
                first += length
        else:
            yield from _super_block(array, number(block, at, 8), first, count, length)
            at += 8
            first += count * length


def _super_block(
    array: _Extensible, address: int, first: int, count: int, length: int
) -> Iterator[tuple[int, bytes]]:
    if address == UNDEFINED:
        return
    pages = length // array.page if length > array.page else 0
    bitmap = (pages + 7) // 8  # bytes for each data block
    at = 14 + array.offset
    size = at + count * (bitmap + 8)
    block = check(array.content.signed(address, size + 4, b"EASB\0"))
    _check_owner(block, array.address)
    for i in range(count):
        place = number(block, at + count * bitmap + 8 * i, 8)
        # One bit for each page of all data blocks together. The bytes that remain are not used.
        used = [_bit(block, at, i * pages + page) for page in range(pages)]
        yield from _data_block(array, place, first + i * length, length, used)


def _data_block(
    array: _Extensible, address: int, first: int, length: int, used: list[bool]
) -> Iterator[tuple[int, bytes]]:
    if address == UNDEFINED:
        return
    head = 14 + array.offset
    if length <= array.page:
        data = check(array.content.signed(address, head + length * array.entry + 4, b"EADB\0"))
        _check_owner(data, array.address)
        yield from _each(data, head, first, length, array.entry)
        return
    if not used:
        raise Bad("an extensible array has pages where there are none")
    _check_owner(check(array.content.signed(address, head + 4, b"EADB\0")), array.address)
    size = array.page * array.entry + 4
    for i, is_used in enumerate(used):
        if is_used:
            data = check(array.content.read(address + head + 4 + i * size, size))
            yield from _each(data, 0, first + i * array.page, array.page, array.entry)


def _check_owner(block: bytes, address: int) -> None:
    if number(block, 6, 8) != address:
        raise Bad("a block belongs to another array")
