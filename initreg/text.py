"""Pieces of text that people read: shapes, sizes, code, folded lists of names, tables."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg import dtypes, folding
from initreg.errors import printable as printable
from initreg.specs import ArraySpec

_WIDTH = 120  # of the names of one line; longer ones are told in several lines
_LONGEST = 400  # of one name, unless all is shown
MORE = "plan.to_text(limit=None) shows them all"


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


def code_text(value: Any) -> str:
    """A value as Python code, its strings in double quotes."""
    if isinstance(value, str):
        if not value.isprintable():
            return repr(value)
        raw = "\\" in value and '"' not in value and not value.endswith("\\")
        return f'r"{value}"' if raw else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{code_text(k)}: {code_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(code_text, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(code_text, value)) + (",)" if len(value) == 1 else ")")
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str) and not isinstance(value, type):
        return name if name.isidentifier() else "..."  # a lambda has no name to type
    if isinstance(value, type) or hasattr(value, "itemsize"):  # a dtype
        return code_text(str(name or value))
    return repr(value)


def options_text(options: Mapping[str, Any]) -> str:
    """Options as they follow a first argument: ``, drop="head/*", allow_pickle=True``."""
    return "".join(f", {name}={code_text(value)}" for name, value in options.items())


@dataclass(frozen=True, slots=True)
class Line:
    """Names of which the same is said: folded, how many they are, and what is said."""

    names: str
    count: int
    note: str

    def text(self, gap: str = "  ") -> str:
        times = f"{self.count} x " if self.count > 1 else ""
        return f"{self.names}{gap}{times}{printable(self.note)}" if self.note else self.names


def folded(entries: Iterable[tuple[str, str]], limit: int | None = 20) -> tuple[list[Line], int]:
    """Names, each with what to say of it, in at most ``limit`` lines, and how many names are left.

    Only names of which the same is said are folded together. Without a limit nothing is cut.
    """
    groups: dict[str, list[str]] = {}
    for name, note in entries:
        groups.setdefault(note, []).append(name)
    lines = (
        Line(found.text, found.count, note)
        for note, names in groups.items()
        for found in folding.lines(names, _WIDTH)
    )
    if limit is None:
        return list(lines), 0
    first = list(itertools.islice(lines, limit))
    shown = [Line(_shorten(line.names), line.count, line.note) for line in first]
    total = sum(len(set(names)) for names in groups.values())
    return shown, total - sum(line.count for line in first)


def names_text(
    entries: Iterable[tuple[str, str]],
    limit: int | None = 20,
    *,
    gap: str = "  ",
    more: str = MORE,
) -> list[str]:
    """The lines of :func:`folded`, and a last one for what is left, which says where it is."""
    lines, hidden = folded(entries, limit)
    shown = [line.text(gap) for line in lines]
    if hidden:
        shown.append(f"... and {plural(hidden, 'name')} more: {more}")
    return shown


def shared(one: Iterable[str], other: Iterable[str]) -> int:
    """How many characters two names begin with alike; of two reversed ones, end with."""
    return sum(1 for _ in itertools.takewhile(bool, map(operator.eq, one, other)))


def _shorten(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


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
