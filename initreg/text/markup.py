"""Pieces of HTML that notebooks and reports show. All text from files is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from initreg.errors import printable
from initreg.text.wording import folded, plural

LIMIT = 200  # rows of a table in a notebook, which is saved with it

# In a notebook. Colours of text are those of its theme, but for what is wrong.
_STYLE = """\
.initreg{font-variant-numeric:tabular-nums;max-width:100%;overflow-x:auto}
.initreg .verdict{border-radius:6px;padding:.4em .8em;margin:.3em 0;font-weight:600;\
border:1px solid rgba(128,128,128,.4)}
.initreg .verdict.bad{background:#b3261e;color:#fff;border-color:#b3261e}
.initreg details{margin:.3em 0}
.initreg summary{cursor:pointer;font-weight:600}
.initreg table{border-collapse:collapse;margin:.2em 0}
.initreg th{text-align:left;font-weight:600;opacity:.7;border:0;padding:.1em 1em .1em 0}
.initreg td{text-align:left;border:0;border-top:1px solid rgba(128,128,128,.25);\
padding:.1em 1em .1em 0;white-space:pre;\
font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.9em;\
vertical-align:baseline}
.initreg td:last-child{white-space:pre-wrap;min-width:8em}
.initreg .number,.initreg td.number{text-align:right;white-space:pre;min-width:0}
.initreg pre{white-space:pre-wrap;margin:.3em 0}
.initreg .faint{opacity:.7}
"""


def text(given: str) -> str:
    """Text as HTML, in which nothing is markup and no character is invisible.

    >>> text("<b>\\x1b")
    '&lt;b&gt;\\\\x1b'
    """
    return escape(printable(given, keep="\n"))


def notebook(*parts: str) -> str:
    """Pieces of HTML as a notebook shows them: in a box with a style of its own."""
    return f'<div class="initreg"><style>{_STYLE}</style>{"".join(parts)}</div>'


def verdict(given: str, *, is_bad: bool) -> str:
    """A sentence that comes before all others. It is red if something is wrong."""
    if is_bad:  # the style is here once more for what removes style sheets, as some viewers do
        style = "background:#b3261e;color:#fff;padding:.4em .8em;font-weight:600"
        return f'<p class="verdict bad" style="{style}">{text(given)}</p>'
    return f'<p class="verdict">{text(given)}</p>'


def folding(title: str, body: str, *, is_open: bool = False) -> str:
    """A part that can be opened."""
    return f"<details{' open' if is_open else ''}><summary>{text(title)}</summary>{body}</details>"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Iterable[int] = (),
    last: str = "",
) -> str:
    """A table of text.

    Args:
        head: the headings of the columns. Without any, the table has no head.
        rows: the cells of each row.
        numbers: the columns that are aligned to the right.
        last: what is said below the rows, such as how many there are more.
    """
    right = frozenset(numbers)

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if i in right else ''}>{text(cell)}</{tag}>"
            for i, cell in enumerate(row)
        )

    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    end = f'<p class="faint">{text(last)}</p>' if last else ""
    return f'<table class="lines">{top}<tbody>{body}</tbody></table>{end}'


def names(entries: Iterable[tuple[str, str]], more: str) -> str:
    """A table of names with their notes. Names with equal notes are folded.

    Args:
        entries: each name, with its note.
        more: what is said about those that are not shown.
    """
    lines, hidden = folded(entries, LIMIT)
    rows = [(line.names, f"{line.count:,}" if line.count > 1 else "", line.note) for line in lines]
    last = f"... and {plural(hidden, 'name')} more: {more}" if hidden else ""
    return table((), rows, (1,), last)
