"""Flatbuffers in a file, table by table. Long vectors of bytes are found, and not read.

No offset is believed: each read is inside of the file. Offsets lead forwards only, so that no walk
from table to table goes round in a circle.

Source of the encoding: flatbuffers.dev/internals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_PAGE = 1 << 14  # bytes that are read at once
_MOST_PAGES = 256  # that are kept: 4 MB. Tables lie close together, and large vectors between them


class Fault(Exception):
    """What is wrong with a file, as the rest of a sentence.

    The caller, who knows the file, raises DamagedFile with it.
    """


class Table(NamedTuple):
    """A table.

    Args:
        at: its position in the file.
        fields: for each of its fields the offset in the table, 0 if it has not that field.
    """

    at: int
    fields: tuple[int, ...]

    def place(self, number: int) -> int:
        """The position of a field, 0 if the table has it not."""
        offset = self.fields[number] if number < len(self.fields) else 0
        return self.at + offset if offset else 0


class Vector(NamedTuple):
    """A vector: the position of its first element, and how many elements it has."""

    begin: int
    length: int


class Flatbuffer:
    """A file of one flatbuffer.

    Args:
        file: the file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, size
        self._pages: dict[int, bytes] = {}
        self._vtables: dict[int, tuple[int, tuple[int, ...]]] = {}

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file. Raises Fault."""
        if at < 0 or at + length > self.size:
            raise Fault(f"has something at byte {at:,} that ends beyond the file")
        first, last = at // _PAGE, (at + length - 1) // _PAGE
        if first == last:
            found = self._page(first)[at - first * _PAGE :][:length]
        else:
            self._file.seek(at)
            found = self._file.read(length)
        if len(found) < length:
            raise Fault("ended while it was read")
        return found

    def _page(self, number: int) -> bytes:
        found = self._pages.get(number)
        if found is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._file.seek(number * _PAGE)
            found = self._pages[number] = self._file.read(_PAGE)
        return found

    def number(self, at: int, length: int, signed: bool = False) -> int:
        """The number at a position. Raises Fault."""
        return int.from_bytes(self.read(at, length), "little", signed=signed)

    def root(self) -> Table:
        """The outermost table. Raises Fault."""
        return self.table(self.follow(0))

    def follow(self, at: int) -> int:
        """Where the offset at a position leads. Raises Fault."""
        offset = self.number(at, 4)
        if offset < 4 or at + offset > self.size - 4:
            raise Fault(f"has an offset at byte {at:,} that leads to byte {at + offset:,}")
        return at + offset

    def table(self, at: int) -> Table:
        """The table at a position. Raises Fault."""
        vtable = at - self.number(at, 4, signed=True)
        if vtable not in self._vtables:
            length, size = self.number(vtable, 2), self.number(vtable + 2, 2)
            if length < 4 or length % 2:
                raise Fault(f"has a table at byte {at:,} whose fields have {length} bytes")
            data = self.read(vtable + 4, length - 4) if length > 4 else b""
            offsets = tuple(
                int.from_bytes(data[n : n + 2], "little") for n in range(0, len(data), 2)
            )
            self._vtables[vtable] = (size, offsets)
        size, offsets = self._vtables[vtable]
        if any(offset and not 4 <= offset < size for offset in offsets) or at + size > self.size:
            raise Fault(f"has a table at byte {at:,} whose fields lie outside of it")
        return Table(at, offsets)

    def child(self, table: Table, number: int) -> Table | None:
        """The table that a field holds. Raises Fault."""
        place = table.place(number)
        return self.table(self.follow(place)) if place else None

    def vector(self, table: Table, number: int, item: int) -> Vector | None:
        """The vector that a field holds, of elements of so many bytes. Raises Fault."""
        place = table.place(number)
        if not place:
            return None
        at = self.follow(place)
        count = self.number(at, 4)
        if at + 4 + count * item > self.size:
            raise Fault(f"has a vector at byte {at:,} that ends beyond the file")
        return Vector(at + 4, count)

    def tables(self, table: Table, number: int, most: int) -> Iterator[Table]:
        """The tables of a vector. Raises Fault, also if there are too many of them."""
        vector = self.vector(table, number, 4)
        if vector is None:
            return
        if vector.length > most:
            raise Fault(f"has a list of {vector.length:,} tables. At most {most:,} are read")
        for place in range(vector.begin, vector.begin + 4 * vector.length, 4):
            yield self.table(self.follow(place))

    def text(self, table: Table, number: int, most: int) -> str:
        """The text that a field holds, ``""`` if there is none. Raises Fault."""
        vector = self.vector(table, number, 1)
        if vector is None or not vector.length:
            return ""
        if vector.length > most:
            raise Fault(f"has a name of {vector.length:,} bytes")
        try:
            return self.read(vector.begin, vector.length).decode()
        except UnicodeDecodeError as error:
            raise Fault("has a name that is not UTF-8") from error

    def value(self, table: Table, number: int, length: int, signed: bool = False) -> int:
        """The number that a field holds, 0 if there is none. Raises Fault."""
        place = table.place(number)
        return self.number(place, length, signed) if place else 0
