"""The lines of a TOML document on which its keys and values are. ``tomllib`` does not tell them.

Source of the grammar: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_OTHER = re.compile(r"[^,\]}\r\n#]*")  # a number, a date or a bool


def lines_of(text: str) -> dict[Path, int]:
    """The line of each key and of each element of an array, counted from 1.

    Args:
        text: a document that ``tomllib`` can read.

    >>> lines_of('drop = [\\n  "a",\\n  "b",\\n]\\n[rename]\\nc = "d"')[("drop", 1)]
    3
    """
    return _Scan(text).found


class _Scan:
    """A walk through a valid document, which notes where each key and each element begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[Path, int] = {}  # how many [[tables]] of a name there are so far
        self.found: dict[Path, int] = {}
        table: Path = ()
        while self._skip() < len(text):
            brackets = "[[" if text.startswith("[[", self._at) else "["
            if text.startswith("[", self._at):
                start = self._at
                self._at += len(brackets)
                table = self._table(self._key(), brackets == "[[")
                self._note(table, start)
                self._at = text.index("]" * len(brackets), self._at) + len(brackets)
            else:
                self._pair(table)

    def _skip(self) -> int:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _note(self, path: Path, start: int) -> None:
        line = bisect_right(self._ends, start - 1) + 1
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def _table(self, keys: list[str], is_element: bool) -> Path:
        """The path of the table under a header. Names of ``[[tables]]`` mean their last one."""
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if is_element and number == len(keys) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _key(self) -> list[str]:
        import tomllib

        keys = []
        while True:
            self._skip()
            if found := _STRING.match(self._text, self._at):
                keys.append(str(tomllib.loads(f"x={found[0]}")["x"]))
            else:
                found = _BARE.match(self._text, self._at)
                assert found is not None, "the document is not valid TOML"
                keys.append(found[0])
            self._at = found.end()
            self._skip()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())
        self._note(path, start)
        self._at += 1  # the =
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        opening = self._text[self._at]
        if opening in "[{":
            self._at += 1
            number = 0
            while self._text[self._skip()] not in "]}":
                if opening == "[":
                    self._note((*path, number), self._at)
                    self._value((*path, number))
                else:
                    self._pair(path)
                number += 1
                if self._text[self._skip()] == ",":
                    self._at += 1
            self._at += 1
        else:
            found = _STRING.match(self._text, self._at) or _OTHER.match(self._text, self._at)
            assert found is not None  # _OTHER matches anything
            self._at = found.end()
