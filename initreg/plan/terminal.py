"""A plan as a table in colours, for terminals. It needs rich."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initreg.errors import MissingLibrary
from initreg.plan.rows import RESTORED, Kind, Rows
from initreg.plan.text import Section, heading, sections, ways_text
from initreg.text.wording import plural, printable


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
        style = section_style(section)
        table.add_row(Text(section.title, style=f"bold {style}"), f"{section.count:,}", "")
        for line in section.lines:
            count = f"{line.count:,}" if line.count > 1 else ""
            # Text, not str: rich would take [brackets] in a name for markup.
            names = Text(f"  {printable(line.names)}")
            table.add_row(names, Text(count, style="dim"), Text(printable(line.note)))
        if section.hidden:
            table.add_row(Text(f"  ... and {plural(section.hidden, 'name')} more", style="dim"))
    notes = [
        Text(spell(note.text), style="dim" if note.is_quiet else "yellow") for note in plan.states
    ]
    notes += [Text(spell("unmatched pattern: " + clause), style="yellow") for clause in plan.unmet]
    notes += [Text(f"hint: {hint}", style="cyan") for hint in plan.hints]
    style = "bold" if plan.ok else "bold red"
    ways = [Text(way, style="dim") for way in ways_text(plan)]
    return Group(Text(spell(heading(plan)), style=style), *ways, table, *notes)


def section_style(section: Section) -> str:
    """In which colour the title of a section is: red for faults, yellow for what to look at."""
    if section.kind is Kind.MISMATCHED:
        return "red"
    if section.kind in RESTORED and not section.doubtful:
        return "green"
    return "yellow" if section.asks_for_attention else "dim"
