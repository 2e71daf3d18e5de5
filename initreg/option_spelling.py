"""Options in a message, spelt as its reader types them.

A message that names an option is read by two kinds of people. To the caller of a function it says
``allow_pickle=True``, and to the user of the command line ``--allow-pickle``. The message
therefore carries the option itself. It reads as Python, and :func:`spell` gives it in the spelling
of another front end.

>>> message = "pass " + option("allow_pickle", True) + " to open it"
>>> message
'pass allow_pickle=True to open it'
>>> spell(message, lambda options: " ".join(f"--{name}" for name in options))
'pass --allow_pickle to open it'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from initreg.records import record

Flags = Callable[[Mapping[str, Any]], str]


@record()
class _Choice:
    """A piece of a text in two forms: for Python, and for another front end.

    The second form is a text, or an option that the front end spells, by its name.
    """

    python: str
    other: str | Mapping[str, Any]


class Spelt(str):
    """Text with options in it. As a str it is the text for Python.

    The options survive ``+`` and :func:`join`. An f-string, or a method of str, gives the text
    for Python alone.
    """

    def __new__(cls, pieces: Iterable[str | _Choice]) -> Spelt:
        pieces = tuple(pieces)
        texts = [piece.python if isinstance(piece, _Choice) else piece for piece in pieces]
        text = super().__new__(cls, "".join(texts))
        text._pieces = pieces
        return text

    _pieces: tuple[str | _Choice, ...]

    def __add__(self, other: str) -> Spelt:
        return Spelt((*self._pieces, *_pieces_of(other)))

    def __radd__(self, other: str) -> Spelt:
        return Spelt((*_pieces_of(other), *self._pieces))

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # an error that goes to another process is read in Python

    def spelt(self, flags: Flags) -> str:
        return "".join(
            piece
            if isinstance(piece, str)
            else piece.other
            if isinstance(piece.other, str)
            else flags(piece.other)
            for piece in self._pieces
        )

    def with_options(self, flags: Flags) -> str:
        return "".join(
            flags(piece.other)
            if isinstance(piece, _Choice) and not isinstance(piece.other, str)
            else str(getattr(piece, "python", piece))
            for piece in self._pieces
        )

    def mapped(self, change: Callable[[str], str]) -> Spelt:
        """The text with ``change`` applied to all but the options of other front ends."""
        return Spelt(
            _Choice(change(piece.python), piece.other)
            if isinstance(piece, _Choice)
            else change(piece)
            for piece in self._pieces
        )

    def after(self, count: int) -> Spelt:
        """The text without its first ``count`` characters, which must not be an option's."""
        first, *others = self._pieces
        return Spelt((first[count:], *others)) if isinstance(first, str) else self


def _pieces_of(text: str) -> tuple[str | _Choice, ...]:
    return text._pieces if isinstance(text, Spelt) else (text,)


def option(name: str, value: Any = ..., python: str = "") -> str:
    """A text that names an option.

    Args:
        name: the name of the keyword.
        value: its value. Without one, the option is mentioned by its name alone.
        python: what the text says in Python. By default ``name=value``, or ``name=``.

    >>> option("drop", "fc/*"), option("drop"), option("drop", ["a"], "drop=[names]")
    ("drop='fc/*'", 'drop=', 'drop=[names]')
    """
    shown = python or (f"{name}=" if value is ... else f"{name}={_repr(value)}")
    return Spelt([_Choice(shown, {name: value})])


def _repr(value: Any) -> str:
    """The value as Python code, or ``...`` if it is an integer that Python refuses to write."""
    try:
        return repr(value)
    except ValueError:  # it has thousands of digits
        return "..."


def either(python: str, other: str) -> str:
    """A text that has other words for users of the command line than for callers of a function."""
    return Spelt([_Choice(python, other)])


def join(gap: str, texts: Iterable[str]) -> str:
    """``gap.join(texts)``, in which the options of the texts survive."""
    pieces: list[str | _Choice] = []
    for number, text in enumerate(texts):
        pieces += (gap, *_pieces_of(text)) if number else _pieces_of(text)
    if any(isinstance(piece, _Choice) for piece in pieces):
        return Spelt(pieces)
    return "".join(piece for piece in pieces if isinstance(piece, str))


def said(error: BaseException) -> str:
    """What an exception says, in which the options survive."""
    text = error.args[0] if error.args else None
    return text if isinstance(text, Spelt) else str(error)


def spell(text: str, flags: Flags) -> str:
    """The text with its options as ``flags`` spells them.

    Args:
        text: any text. One that names no options is returned as it is.
        flags: takes options by name, and returns what to type for them. The value of an option
            that is only mentioned is ``...``.
    """
    return text.spelt(flags) if isinstance(text, Spelt) else text


def spell_options(text: str, flags: Flags) -> str:
    """The text for Python, but with its options as ``flags`` spells them, as in a file of rules."""
    return text.with_options(flags) if isinstance(text, Spelt) else text
