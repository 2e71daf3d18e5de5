"""The header of a GGUF file: its key-value pairs, and where its tensors are.

Source of the layout: ggml's ``docs/gguf.md``. A text is its length in 8 bytes, and UTF-8. A list is
the type of its elements in 4 bytes, their number in 8, and the elements.

gguf's own reader makes several numpy arrays for each element of each list, 200 bytes for each byte
of the file, so it is not used. Here lists are skipped: nobody asks for a vocabulary.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

# Codes for struct, by the number of the type.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _LIST = 8, 9
_DEEPEST = 8  # lists in lists; ggml itself reads none
_MOST_AXES = 64  # as many as numpy has; ggml has 4
_DEFAULT_ALIGNMENT = 32
_BLOCK = 1 << 16  # bytes that are read at once


class Fault(Exception):
    """What is wrong with the header, as the end of a sentence that begins with its file."""


class Short(Fault):
    """The file ends before something that the header promises."""


class Tensor(NamedTuple):
    """A tensor. ``shape`` has the innermost axis first, and ``at`` is where it begins in the
    file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    at: int


class Header:
    """Parses a header.

    Attributes:
        values: the texts and numbers by key, without lists.
        tensors: all tensors.

    Raises:
        Fault: something is not as the format has it, or leads past the end.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, order: str) -> None:
        self._read, self._size, self._order = read, size, order
        self._at = 8  # after the magic and the version
        self._block, self._begin = b"", 0
        self.values: dict[str, Any] = {}
        self._keys: set[str] = set()  # those of lists, too
        # As after ``GGUF`` in a file: the number of tensors comes first.
        count, pairs = self._number("Q"), self._number("Q")
        self._enough(24 * count + 13 * pairs)  # the fewest bytes that so many can take
        for _ in range(pairs):
            self._pair()
        found = [self._tensor() for _ in range(count)]
        alignment = self._alignment()
        begin = -(-self._at // alignment) * alignment
        self.tensors = [each._replace(at=begin + each.at) for each in found]

    def _pair(self) -> None:
        key, kind = self._text(), self._number("I")
        if key in self._keys:
            raise Fault(f"has the key {key[:80]!r} twice")
        self._keys.add(key)
        if kind == _LIST:
            self._skip_list(0)
        elif kind == _TEXT:
            self.values[key] = self._bytes(self._number("Q")).decode(errors="replace")
        else:
            self.values[key] = self._number(self._scalar(kind))

    def _skip_list(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise Fault(f"has lists in each other, more than {_DEEPEST} levels deep")
        kind, count = self._number("I"), self._number("Q")
        if kind == _TEXT:
            self._enough(8 * count)
            for _ in range(count):
                self._skip(self._number("Q"))
        elif kind == _LIST:
            self._enough(12 * count)
            for _ in range(count):
                self._skip_list(depth + 1)
        else:
            self._skip(count * struct.calcsize(f"<{self._scalar(kind)}"))

    def _tensor(self) -> Tensor:
        name, axes = self._text(), self._number("I")
        if axes > _MOST_AXES:
            raise Fault(f"has a tensor of {axes:,} axes")
        shape = tuple(self._number("Q") for _ in range(axes))
        return Tensor(name, shape, self._number("I"), self._number("Q"))

    def _alignment(self) -> int:
        found = self.values.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(found) is not int or found < 1 or found & (found - 1):
            raise Fault(f"has the alignment {found!r:.40}, which is not a power of two")
        return found

    def _scalar(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise Fault(f"has a value of the unknown type {kind}")
        return _SCALARS[kind]

    def _text(self) -> str:
        data = self._bytes(self._number("Q"))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Fault(f"has a name that is not UTF-8: {data[:40]!r}") from error

    def _number(self, code: str) -> Any:
        layout = self._order + code
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))[0]

    def _bytes(self, length: int) -> bytes:
        self._enough(length)
        begin = self._at - self._begin
        if not 0 <= begin <= begin + length <= len(self._block):
            self._block, self._begin = self._read(self._at, max(length, _BLOCK)), self._at
            begin = 0
            if len(self._block) < length:
                raise Short(f"is shorter than {self._at + length:,} bytes now")
        self._at += length
        return self._block[begin : begin + length]

    def _skip(self, length: int) -> None:
        self._enough(length)
        self._at += length

    def _enough(self, length: int) -> None:
        if self._at + length > self._size:
            raise Short(f"says that something ends at byte {self._at + length:,}")
