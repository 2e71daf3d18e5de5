"""Tables that fit a terminal, without a broken name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence

Paint = Callable[[str, str], str]
_GAP = "  "
_SHORT = 28  # columns of names that are always beside their other columns, if there is room


def cells(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> cells("abc"), cells("層")
    (3, 2)
    """
    if text.isascii():
        return len(text)
    return sum(_WIDTHS.get(unicodedata.east_asian_width(c), 1) for c in text) - sum(
        unicodedata.combining(c) != 0 for c in text
    )


_WIDTHS: Mapping[str, int] = {"W": 2, "F": 2}


def lay_out(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    width: int | None = None,
    spare: Sequence[int] = (),
    styles: Mapping[int, str] | None = None,
    marked: Collection[int] = (),
    paint: Paint = lambda text, style: text,
) -> tuple[list[str], list[str]]:
    """The lines of a table, whose first column has names.

    Columns without any text are left out. If the table is too wide, long names get lines of their
    own, so that none is broken. If that is not enough, columns are left out that can be spared.

    Args:
        head: the headings.
        rows: the cells of each row.
        right: the columns that are aligned to the right.
        width: the columns of the terminal. None if lines may be of any length.
        spare: the columns that can be spared, those that go first.
        styles: the styles of columns.
        marked: the rows whose names stand for several arrays, which have a style of their own.
        paint: puts a text into a style.

    Returns:
        The lines, and the headings of the columns that were spared.
    """
    columns = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    widths = {i: max(cells(row[i]) for row in (head, *rows)) for i in columns}
    spared: list[str] = []
    needed = {**widths, 0: min(widths[0], _SHORT)}
    for column in spare:
        if width is None or _total(columns, needed) <= width:
            break
        if column in columns:
            columns.remove(column)
            spared.append(head[column])
    names = widths[0]
    if width is not None and (over := _total(columns, widths) - width) > 0:
        names = max(names - over, cells(head[0]))
    styles, groups = styles or {}, frozenset(marked)

    def line(row: Sequence[str], style: Callable[[int], str]) -> list[str]:
        shown = []
        for i in columns:
            gap = " " * ((names if i == 0 else widths[i]) - cells(row[i]))
            text = paint(row[i], style(i)) if style(i) else row[i]
            shown.append(gap + text if i in right else text + gap)
        begin, *others = shown
        if cells(row[0]) > names:
            rest = " " * names + _GAP + _GAP.join(others)
            return [begin, rest.rstrip()] if rest.strip() else [begin]
        return [_GAP.join([begin, *others]).rstrip()]

    lines = line(head, lambda i: "bold")
    for number, row in enumerate(rows):
        mark = {0: "cyan"} if number in groups else {}
        lines += line(row, lambda i, mark=mark: mark.get(i) or styles.get(i, ""))  # type: ignore[misc]
    return lines, spared


def _total(columns: Sequence[int], widths: Mapping[int, int]) -> int:
    return sum(widths[i] for i in columns) + len(_GAP) * (len(columns) - 1)
