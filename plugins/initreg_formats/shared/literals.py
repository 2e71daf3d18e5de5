"""Python literals, as the headers of ``.npy`` files are written: dicts, tuples, strings, integers.

Python's own parser (``ast.literal_eval``) prints warnings for odd text, such as ``1if`` or
``'\\d'``, and its memory and recursion are hard to bound. No header that numpy wrote needs more
than this: what ``repr`` gives for these types, and the long integers of Python 2, ``3L``.
"""

from __future__ import annotations

import re
from typing import Any

_DEEPEST = 32  # levels of brackets; numpy itself has no dtype with more levels
_TOKEN = re.compile(
    r"""[ \t\r\n\f]*(?:
    (?P<string>[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    | (?P<number>-?(?:0|[1-9][0-9]{0,19})L?(?![\w.]))
    | (?P<word>[A-Za-z]+)(?!\w)
    | (?P<mark>[][(){},:])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def literal(text: str) -> Any:
    """The value of a literal.

    Raises:
        ValueError: it is not a literal of these types, or is nested too deeply.

    >>> literal("{'shape': (3L, 4), 'order': False}")
    {'shape': (3, 4), 'order': False}
    """
    parser = _Parser(text)
    value = parser.value(0)
    if text[parser.at :].strip():
        raise ValueError(f"there is more after its end: {text[parser.at :].strip()[:20]!r}")
    return value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def _next(self) -> tuple[str, str]:
        """The kind and the text of the next token."""
        found = _TOKEN.match(self._text, self.at)
        if found is None or found.lastgroup is None:
            rest = self._text[self.at :].strip()[:20]
            raise ValueError(f"{rest!r} is not expected there" if rest else "it ends too early")
        self.at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _is_next(self, mark: str) -> bool:
        """Whether this mark follows. If so, it is taken."""
        found = _TOKEN.match(self._text, self.at)
        if found is None or found["mark"] != mark:
            return False
        self.at = found.end()
        return True

    def value(self, depth: int) -> Any:
        kind, text = self._next()
        if kind == "string":
            return _string(text)
        if kind == "number":
            return int(text.removesuffix("L"))
        if kind == "word" and text in _WORDS:
            return _WORDS[text]
        if text not in _CLOSING:
            raise ValueError(f"{text[:20]!r} is not expected there")
        if depth >= _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        return self._items(text, depth + 1)

    def _items(self, opening: str, depth: int) -> Any:
        closing, items, pairs = _CLOSING[opening], list[Any](), dict[Any, Any]()
        has_comma = True
        while not self._is_next(closing):
            if not has_comma:
                raise ValueError("a comma is missing")
            value = self.value(depth)
            if opening == "{":
                if not isinstance(value, str) or value in pairs or self._next()[1] != ":":
                    raise ValueError(f"the key {value!r:.20} is not a text, or occurs twice")
                pairs[value] = self.value(depth)
            else:
                items.append(value)
            has_comma = self._is_next(",")
        if opening == "{":
            return pairs
        if opening == "[":
            return items
        # Without a comma, brackets around one value are not a tuple.
        return items[0] if len(items) == 1 and not has_comma else tuple(items)


def _string(text: str) -> str:
    return _ESCAPE.sub(_character, text.lstrip("uU")[1:-1])


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        if found[4] not in _ESCAPES:
            raise ValueError(f"the escape {found[0]!r} is unknown")
        return _ESCAPES[found[4]]
    number = int(code, 16)
    if number > 0x10FFFF:
        raise ValueError(f"the escape {found[0]!r} is not a character")
    return chr(number)
