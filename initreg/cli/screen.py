"""Lines of names with notes, as they fit a terminal, in colours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from initreg.cli.colours import columns, painter
from initreg.cli.printing import write
from initreg.errors import printable

Style = Callable[[str], str]
_GAP = "  "  # between a name and its note; see initreg.folding, which has none within names


def show_fitted(text: str, style: Style = lambda line: "") -> None:
    """Print lines of text. On a terminal they are in colours, and long ones go on below.

    Control characters are escaped. A name is never broken: a note that does not fit beside it goes
    to the next line.

    Args:
        text: the lines.
        style: the style of a line, such as ``"red"``, or "".

    Raises:
        OutputFailed: stdout cannot be written.
    """
    paint = painter(sys.stdout)
    width = columns()
    shown: list[str] = []
    for line in printable(text, keep="\n").split("\n"):
        how = style(line)
        parts = [line] if width is None else fitted(line, width)
        shown += (paint(part, how) if how else part for part in parts)
    write("\n".join(shown))


def fitted(line: str, width: int) -> Iterator[str]:
    """A line in parts that fit, but for names that do not.

    >>> list(fitted("  encoder/layer_0/kernel  (64, 64) float32", 30))
    ['  encoder/layer_0/kernel', '      (64, 64) float32']
    """
    if len(line) <= width:
        yield line
        return
    import textwrap

    body = line.lstrip()
    indent = line[: len(line) - len(body)]
    name, gap, note = body.partition(_GAP)
    begin = indent
    if gap and len(indent + name + gap) <= width // 2:
        begin, body = indent + name + gap, note.lstrip()
    elif gap:
        yield indent + name
        begin, body = indent + " " * 4, note.lstrip()
    yield from textwrap.wrap(
        body,
        max(width, len(begin) + 20),
        initial_indent=begin,
        subsequent_indent=indent + " " * 4,
        break_long_words=False,
        break_on_hyphens=False,
    )
