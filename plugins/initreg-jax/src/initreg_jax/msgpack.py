"""msgpack, as far as Flax writes it. The contents of texts and arrays are not read.

Every length is compared with what is left of the file, and every loop moves forward in it.

Source: github.com/msgpack/msgpack/blob/master/spec.md, and ``_MsgpackExtType`` in
``flax/serialization.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

ARRAY, COMPLEX, SCALAR = 1, 2, 3  # Flax's types of extensions
_DEEPEST = 100  # levels. No model has as many
_MOST_AXES = 64  # numpy's own limit
_LONGEST_KEY = 1 << 16  # bytes
_WINDOW = 1 << 16  # bytes that are read at once


class Fault(Exception):
    """What is wrong with the bytes. The caller, who knows the file, raises DamagedFile with it."""


class Span(NamedTuple):
    """A text or bytes, by their place."""

    begin: int
    end: int


class Extension(NamedTuple):
    """A value of a type that Flax does not write."""

    code: int


class Array(NamedTuple):
    """An array, or a number of numpy.

    Args:
        shape: its axes.
        dtype: its dtype, as numpy and ml_dtypes call it.
        begin: the position of its bytes in the file.
        length: how many they are.
    """

    shape: tuple[int, ...]
    dtype: str
    begin: int
    length: int


class Items(list[tuple[Any, Any]]):
    """A map, as its pairs in their order."""


class Parser:
    """Reads the values of a file.

    Args:
        read: gives at most so many bytes from a position.
        size: the size of the file, in bytes.
        on_array: is called with each array as soon as it is known.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        size: int,
        on_array: Callable[[Array], None] | None = None,
    ) -> None:
        self._read, self._end, self._on_array = read, size, on_array
        self.at = 0
        self._begin, self._data = 0, b""

    def value(self, depth: int = 0) -> Any:
        """The next value. Raises Fault."""
        if depth > _DEEPEST:
            raise Fault(f"is nested more than {_DEEPEST} levels deep")
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first < 0x90:
            return self._map(first & 15, depth)
        if first < 0xA0:
            return self._list(first & 15, depth)
        if first < 0xC0:
            return self._span(first & 31)
        return self._long(first, depth)

    def text(self, span: Span) -> str:
        """A short text, such as a key. Raises Fault."""
        if span.end - span.begin > _LONGEST_KEY:
            raise Fault(f"has a key of {span.end - span.begin:,} bytes")
        try:
            return self._at(span.begin, span.end - span.begin).decode()
        except UnicodeDecodeError as error:
            raise Fault("has a key that is not UTF-8") from error

    def _long(self, first: int, depth: int) -> Any:
        """A value whose first byte says how long its number or its length is."""
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first in (0xC4, 0xC5, 0xC6):
            return self._span(self._number(1 << first - 0xC4))
        if first in (0xC7, 0xC8, 0xC9):
            return self._extension(self._number(1 << first - 0xC7), depth)
        if first in (0xCA, 0xCB):
            return struct.unpack(
                *((">f", self._take(4)) if first == 0xCA else (">d", self._take(8)))
            )[0]
        if 0xCC <= first <= 0xCF:
            return self._number(1 << first - 0xCC)
        if 0xD0 <= first <= 0xD3:
            return int.from_bytes(self._take(1 << first - 0xD0), "big", signed=True)
        if 0xD4 <= first <= 0xD8:
            return self._extension(1 << first - 0xD4, depth)
        if 0xD9 <= first <= 0xDB:
            return self._span(self._number(1 << first - 0xD9))
        if first in (0xDC, 0xDD):
            return self._list(self._number(2 << first - 0xDC), depth)
        if first in (0xDE, 0xDF):
            return self._map(self._number(2 << first - 0xDE), depth)
        raise Fault(f"has the byte {first:#04x}, which begins no value")

    def _map(self, count: int, depth: int) -> Items:
        if 2 * count > self._end - self.at:
            raise Fault(f"has a map of {count:,} pairs, more than its bytes can hold")
        found = Items()
        for _ in range(count):
            key = self.value(depth + 1)
            if isinstance(key, Span):
                key = self.text(key)
            elif type(key) is not int:
                raise Fault("has a key that is neither a text nor a number")
            found.append((key, self.value(depth + 1)))
        return found

    def _list(self, count: int, depth: int) -> list[Any]:
        if count > self._end - self.at:
            raise Fault(f"has a list of {count:,} values, more than its bytes can hold")
        return [self.value(depth + 1) for _ in range(count)]

    def _span(self, length: int) -> Span:
        begin = self.at
        self._skip(length)
        return Span(begin, self.at)

    def _extension(self, length: int, depth: int) -> Any:
        code = int.from_bytes(self._take(1), "big", signed=True)
        begin = self.at
        self._skip(length)
        end, whole = self.at, self._end
        if code not in (ARRAY, COMPLEX, SCALAR):
            return Extension(code)
        # The content is msgpack again, which must not go beyond the extension.
        self.at, self._end = begin, end
        parts = self.value(depth + 1)
        if self.at != end:
            raise Fault("has an array with bytes after its end")
        self._end = whole
        if code == COMPLEX:
            return _complex(parts)
        array = self._array(parts)
        if self._on_array is not None:
            self._on_array(array)
        return array

    def _array(self, parts: Any) -> Array:
        if not isinstance(parts, list) or len(parts) != 3:
            raise Fault("has an array without shape, dtype and bytes")
        shape, dtype, data = parts
        if (
            not isinstance(shape, list)
            or len(shape) > _MOST_AXES
            or not all(type(axis) is int and axis >= 0 for axis in shape)
            or not isinstance(dtype, Span)
            or not isinstance(data, Span)
        ):
            raise Fault("has an array with a shape, a dtype or bytes of another kind")
        return Array(tuple(shape), self.text(dtype), data.begin, data.end - data.begin)

    def _number(self, length: int) -> int:
        return int.from_bytes(self._take(length), "big")

    def _take(self, length: int) -> bytes:
        begin = self.at
        self._skip(length)
        return self._at(begin, length)

    def _skip(self, length: int) -> None:
        if length > self._end - self.at:
            raise Fault(f"has a value that ends at byte {self.at + length:,}, beyond its end")
        self.at += length

    def _at(self, begin: int, length: int) -> bytes:
        if begin < self._begin or begin + length > self._begin + len(self._data):
            self._begin, self._data = begin, self._read(begin, max(length, _WINDOW))
        found = self._data[begin - self._begin : begin - self._begin + length]
        if len(found) < length:
            raise Fault("ends too early")
        return found


def _complex(parts: Any) -> complex:
    if not isinstance(parts, list) or len(parts) != 2:
        raise Fault("has a complex number that is not two numbers")
    real, imaginary = parts
    if type(real) not in (int, float) or type(imaginary) not in (int, float):
        raise Fault("has a complex number that is not two numbers")
    return complex(real, imaginary)
