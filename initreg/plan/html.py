"""A plan in HTML, for notebooks and reports."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from initreg.plan.rows import Rows
from initreg.plan.text import heading, sections, ways_text
from initreg.text.markup import folding, notebook, table, text, verdict
from initreg.text.wording import plural

_LIMIT = 200  # lines of one section: a notebook scrolls, and most sections are closed


def html(plan: Rows) -> str:
    """The plan as a notebook shows it: a heading, which is red if the plan fails, and a section for
    each kind of row that can be opened."""
    return notebook(verdict(heading(plan), is_bad=not plan.ok), *sections_html(plan))


def sections_html(plan: Rows) -> Iterator[str]:
    """All but the heading."""
    yield from (f"<p>{text(way)}</p>" for way in ways_text(plan))
    yield from (f"<p>{text(str(note))}</p>" for note in plan.states)
    for section in sections(plan, _LIMIT):
        rows = [(line.names, f"{line.count:,}", line.note) for line in section.lines]
        last = ""
        if section.hidden:
            last = f"... and {plural(section.hidden, 'name')} more: plan.to_text(limit=None)"
        title = f"{section.count:,} {section.title}"
        is_open = section.asks_for_attention
        yield folding(title, table((), rows, (1,), last), is_open=is_open)
    yield from (f"<p>unmatched pattern: <code>{text(clause)}</code></p>" for clause in plan.unmet)
    for hint in plan.hints:
        code = f": <code>{escape(hint.code)}</code>" if hint.options else ""
        yield f"<p>{text(hint.words)}{code}</p>"
