"""Colours on a terminal, and whether there are any.

``NO_COLOR`` (https://no-color.org) goes before ``FORCE_COLOR``. Without either, a terminal has
colours unless its ``TERM`` is ``dumb``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
NARROW = 80  # columns of what is not a terminal, for text that is wrapped

Paint = Callable[[str, str], str]


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colours(stream: Any) -> bool:
    """Whether what is printed to a stream is coloured."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return is_terminal(stream)


def painter(stream: Any) -> Paint:
    """A function that puts a text into a style, or returns it as it is.

    >>> painter(None)("NAME", "bold")
    'NAME'
    """
    if not has_colours(stream):
        return lambda text, style: text
    return painted


def painted(text: str, style: str) -> str:
    """A text in a style: ``"bold"``, ``"dim"``, or a colour."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text else text


def columns(stream: Any = None) -> int | None:
    """The width of a terminal. None if the stream is not one, so that no line needs to be short.

    ``COLUMNS`` goes before what the terminal says.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None or not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or NARROW
    except (OSError, ValueError):
        return shutil.get_terminal_size((NARROW, 24)).columns


def text_width() -> int:
    """How wide running text is: as the terminal, but not more than can be read well."""
    return max(40, min(columns() or NARROW, 100))
