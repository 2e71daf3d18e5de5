"""A plan in HTML, for notebooks."""

from __future__ import annotations

from html import escape

from initreg.plan.rows import Rows
from initreg.plan.text import heading, sections, ways_text
from initreg.wording import plural, printable

_LIMIT = 200  # lines of one section: a notebook scrolls, and most sections are closed
_CELL = 'style="text-align:left; font-family:monospace; white-space:pre-wrap"'


def html(plan: Rows) -> str:
    """The plan as HTML: a heading, and a section for each kind of row that can be opened."""
    parts = [f"<div><p><strong>{escape(printable(heading(plan)))}</strong></p>"]
    parts += [f"<p>{escape(printable(way))}</p>" for way in ways_text(plan)]
    parts += [f"<p>{escape(printable(str(note)))}</p>" for note in plan.states]
    for section in sections(plan, _LIMIT):
        is_open = " open" if section.asks_for_attention else ""
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
