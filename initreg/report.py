"""Plans, listings and lists of names as text that people can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from initreg import dtypes
from initreg.folding import fold

if TYPE_CHECKING:
    from initreg.arrays import ArraySpec
    from initreg.plan import Plan, Row

_WIDTH = 160

# Kind -> what it means for the user. In the order in which a plan is told.
_TITLES = {
    "mismatched": "not fitting",
    "matched": "restored as in the source",
    "reshaped": "restored, reshaped by axes of length 1",
    "cast": "restored, cast",
    "passed over": "not fitting, passed over",
    "overridden": "overridden by a later source",
    "optimiser slot": "optimiser slots of restored variables, on one side only",
    "only in target": "only in the target, left unchanged",
    "only in source": "only in the source, not used",
}


def shape_text(shape: Sequence[int | None] | None) -> str:
    """``(3, 224)``; an axis of any length is ``?``, any shape at all is ``<any shape>``."""
    if shape is None:
        return "<any shape>"
    inner = ", ".join("?" if axis is None else str(axis) for axis in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def size_text(nbytes: float | None) -> str:
    """Bytes as people read them: ``1.2 MB``, in powers of 1000."""
    if nbytes is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """The text with control characters spelt out: a name must not move the cursor, change colours
    or pass for another line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def names_text(entries: Iterable[tuple[str, str]], limit: int = 20) -> list[str]:
    """Names, each with what to say of it, folded to at most ``limit`` lines.

    Only names of which the same is said are folded together.
    """
    groups: dict[str, list[str]] = {}
    for name, note in entries:
        groups.setdefault(note, []).append(name)
    lines: list[tuple[str, int]] = []
    for note, names in groups.items():
        for folded in fold(names):
            times = f"{folded.count} x " if folded.count > 1 else ""
            lines.append(
                (f"{_shorten(printable(folded.text))}  {times}{note}".rstrip(), folded.count)
            )
    shown = [text for text, _ in lines[:limit]]
    hidden = sum(count for _, count in lines[limit:])
    if hidden:
        shown.append(f"... and {plural(hidden, 'name')} more: plan.to_dict() has them all")
    return shown


def _shorten(text: str) -> str:
    if len(text) <= _WIDTH:
        return text
    return f"{text[: _WIDTH * 2 // 3]} ... {text[-_WIDTH // 4 :]}"


def row_note(row: Row, plan: Plan) -> str:
    """What a plan says of one row besides its name."""
    if row.array_dtype is None:
        return f"{shape_text(row.shape)} {row.dtype}"
    note = f"{shape_text(row.array_shape)} {row.array_dtype}"
    if row.kind == "reshaped":
        note += f" -> {shape_text(row.shape)}"
        note += f" {row.dtype}" if row.is_cast else ""
    elif row.kind == "cast":
        note += f" -> {row.dtype}"
    elif row.kind in ("mismatched", "passed over"):
        note = row.reason
    elif row.kind == "overridden" and row.by is not None:
        note += f"  by {source_text(plan, row.by)}"
    return note + source_note(row, plan)


def source_note(row: Row, plan: Plan) -> str:
    """Which source the row's array is from, where there is more than one."""
    if len(plan.sources) < 2 or row.source is None:
        return ""
    return f"  [{source_text(plan, row.source)}]"


def source_text(plan: Plan, index: int) -> str:
    """The source's label, numbered if another one of the chain is called the same."""
    label = plan.sources[index]
    return f"{label} (#{index + 1})" if plan.sources.count(label) > 1 else label


def plan_text(plan: Plan, limit: int = 20) -> str:
    """The whole plan, each kind of row folded to at most ``limit`` lines."""
    chain = " + ".join(plan.sources) or "nothing"
    restored = len(plan.restored)
    total = len({row.name for row in plan if row.in_target})
    lines = [f"{chain} -> {plan.target}: {restored:,} of {plural(total, 'variable')} restored"]
    for kind, title in _TITLES.items():
        rows = plan.of(kind)
        if not rows:
            continue
        lines.append(f"  {len(rows):,} {title}")
        if kind == "optimiser slot":
            lines += [f"    {line}" for line in _slot_lines(rows)]
            continue
        entries = ((row.name, row_note(row, plan)) for row in rows)
        lines += [f"    {line}" for line in names_text(entries, limit)]
    return "\n".join(lines)


def _slot_lines(rows: Iterable[Row]) -> list[str]:
    counts: dict[tuple[str, bool], int] = {}
    for row in rows:
        key = (row.name.rsplit("/", 1)[-1], row.in_target)
        counts[key] = counts.get(key, 0) + 1
    return [
        f"{count:,} x .../{slot}, only in {'the target' if in_target else 'the source'}"
        for (slot, in_target), count in counts.items()
    ]


def listing_text(specs: Sequence[ArraySpec]) -> str:
    """One line an array (name, shape, dtype, size), then the totals."""
    rows = [(printable(s.name), shape_text(s.shape), s.dtype, size_text(s.nbytes)) for s in specs]
    lines = table(rows, right=(3,))
    parameters = 0
    for spec in specs:
        if spec.dtype != dtypes.STRING:
            count = 1
            for axis in spec.shape:
                count *= axis
            parameters += count
    total = sum(spec.nbytes or 0 for spec in specs)
    lines.append(f"{plural(len(specs), 'array')}, {parameters:,} numbers, {size_text(total)}")
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns; those in ``right`` are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
