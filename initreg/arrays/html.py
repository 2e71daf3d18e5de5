"""Open maps and their arrays in HTML, for notebooks. No values are read."""

from __future__ import annotations

from collections.abc import Sequence

from initreg.specs import ArraySpec
from initreg.text.markup import LIMIT, folding, notebook, table, text, verdict
from initreg.text.wording import plural, shape_text, size_text, totals_text


def map_html(label: str, format: str, specs: Sequence[ArraySpec]) -> str:
    """The names, shapes, dtypes and sizes of the first arrays, and the totals of all."""
    rows = [
        (each.name, shape_text(each.shape), each.dtype, size_text(each.nbytes))
        for each in specs[:LIMIT]
    ]
    counts = totals_text(specs)
    hidden = len(specs) - len(rows)
    last = f"... and {plural(hidden, 'array')} more: .specs() lists all of them" if hidden else ""
    body = table(("Name", "Shape", "Type", "Size"), rows, (3,), last)
    title = f"{label} ({format}): {counts}"
    unreadable = sum(bool(each.unreadable) for each in specs)
    wrong = f"{plural(unreadable, 'array')} cannot be read" if unreadable else ""
    return notebook(
        verdict(wrong, is_bad=True) if wrong else "",
        folding(title, body, is_open=len(specs) <= LIMIT),
    )


def array_html(spec: ArraySpec) -> str:
    """The name, the shape, the dtype and the size of an array, and what rules do to it."""
    known = f"{shape_text(spec.shape)} {spec.dtype}, {size_text(spec.nbytes)}"
    lines = [
        f"<p><code>{text(spec.name)}</code> {text(known)}</p>",
        *(f"<p>{text(change)}</p>" for change in spec.changes),
    ]
    if spec.unreadable:
        return notebook(verdict(f"It cannot be read: {spec.unreadable}", is_bad=True), *lines)
    hint = "Its values have not been read. np.asarray(a) or a[...] reads them."
    return notebook(*lines, f'<p class="faint">{text(hint)}</p>')
