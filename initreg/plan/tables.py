"""A plan as a table: in HTML for notebooks, and with rich for terminals."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from initreg.errors import MissingLibrary
from initreg.plan.rows import RESTORED, Kind, Rows
from initreg.plan.text import Section, heading, sections
from initreg.text import plural, printable

_LIMIT = 200  # lines of one section: a notebook scrolls, and most sections are closed
# The kinds that ask for attention: a notebook shows their sections open.
_OPEN = frozenset({Kind.MISMATCHED, Kind.PASSED_OVER, Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE})
_CELL = 'style="text-align:left; font-family:monospace; white-space:pre-wrap"'


def html(plan: Rows) -> str:
    """The plan as HTML: a heading, and a section for each kind of row that can be opened."""
    parts = [f"<div><p><strong>{escape(printable(heading(plan)))}</strong></p>"]
    for section in sections(plan, _LIMIT):
        is_open = " open" if section.kind in _OPEN and not section.expected else ""
        title = f"{section.count:,} {escape(section.title)}"
        parts.append(f"<details{is_open}><summary>{title}</summary><table>")
        for line in section.lines:
            cells = (line.names, f"{line.count:,}", line.note)
            row = "".join(f"<td {_CELL}>{escape(printable(cell))}</td>" for cell in cells)
            parts.append(f"<tr>{row}</tr>")
        if section.hidden:
            more = f"{plural(section.hidden, 'name')} more: plan.to_text(limit=None)"
            parts.append(f'<tr><td colspan="3">... and {more}</td></tr>')
        parts.append("</table></details>")
    parts += [
        f"<p>unmatched pattern: <code>{escape(printable(clause))}</code></p>"
        for clause in plan.unmet
    ]
    for hint in plan.hints:
        code = f": <code>{escape(hint.code)}</code>" if hint.options else ""
        parts.append(f"<p>{escape(printable(hint.words))}{code}</p>")
    return "".join((*parts, "</div>"))


def rich_table(plan: Rows, limit: int | None = 20, spell: Callable[[str], str] = str) -> Any:
    """The plan as a table for ``rich``.

    Args:
        plan: the plan.
        limit: at most so many lines for each kind of row, or None for all.
        spell: gives a text with its options as the reader types them, by default as in Python.

    Raises:
        MissingLibrary: rich is not installed.
    """
    try:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise MissingLibrary("a plan as a table", "rich", "pip install 'initreg[rich]'") from error
    table = Table("names", "n", "what", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.columns[0].overflow = "fold"
    table.columns[1].justify = "right"
    for section in sections(plan, limit):
        style = _style(section)
        table.add_row(Text(section.title, style=f"bold {style}"), f"{section.count:,}", "")
        for line in section.lines:
            count = f"{line.count:,}" if line.count > 1 else ""
            # Text, not str: rich would take [brackets] in a name for markup.
            names = Text(f"  {printable(line.names)}")
            table.add_row(names, Text(count, style="dim"), Text(printable(line.note)))
        if section.hidden:
            table.add_row(Text(f"  ... and {plural(section.hidden, 'name')} more", style="dim"))
    notes = [Text(spell("unmatched pattern: " + clause), style="yellow") for clause in plan.unmet]
    notes += [Text(f"hint: {hint}", style="cyan") for hint in plan.hints]
    return Group(Text(heading(plan), style="bold"), table, *notes)


def _style(section: Section) -> str:
    if section.kind is Kind.MISMATCHED:
        return "red"
    if section.kind in RESTORED:
        return "green"
    return "yellow" if section.kind in _OPEN and not section.expected else "dim"
