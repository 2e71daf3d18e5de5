"""Pieces of text that people read: shapes, sizes, code, folded lists of names, tables."""

from __future__ import annotations

import itertools
import json
import math
import operator
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from initreg import dtypes, folding
from initreg.errors import printable as printable
from initreg.names import as_read, plain
from initreg.option_spelling import either, join
from initreg.records import record
from initreg.specs import ArraySpec
from initreg.store_paths import StorePath

GATES = "gates"  # how the text of a change begins that says the order of gates

_WIDTH = 120  # characters of folded names in one line; a longer one is split
_LONGEST = 400  # characters of one name, unless everything is shown
_MANY = 10_000  # names with one note; more are not put into natural order, which would take long
_MOST_LINES = 20  # of what cannot be read
MORE = either("plan.to_text(limit=None) shows them all", "--all shows them all")


def shape_text(shape: Sequence[int | None] | None) -> str:
    """A shape as text. An axis of any length is ``?``, and None is ``<any shape>``.

    >>> shape_text((3, None))
    '(3, ?)'
    """
    if shape is None:
        return "<any shape>"
    known = shape if None not in shape else ["?" if axis is None else axis for axis in shape]
    inner = ", ".join(map(str, known))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def parts_text(parts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> str:
    """The boxes that an array is written in, each given as its start and its shape.

    >>> parts_text([((0, 0), (2, 3)), ((2, 0), (2, 3))])
    'in 2 parts: [0:2, 0:3] [2:4, 0:3]'
    """
    shown = [
        "[" + ", ".join(f"{a}:{a + n}" for a, n in zip(at, shape, strict=True)) + "]"
        for at, shape in parts[:3]
    ]
    if len(parts) == 1:
        return f"only the part {shown[0]}"
    return f"in {plural(len(parts), 'part')}: " + " ".join(shown + ["..."] * (len(parts) > 3))


def size_text(nbytes: float | None) -> str:
    """A number of bytes as people read it, in powers of 1000. None is ``?``.

    >>> size_text(1_200_000)
    '1.2 MB'
    """
    if nbytes is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def plural(count: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "array"), plural(2000, "array")
    ('1 array', '2,000 arrays')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def code_text(value: Any) -> str:
    """A value as Python code that gives it back, its strings in double quotes.

    A dtype becomes its name, a path its text, and a function the name that it was defined under.

    >>> print(code_text({"conv*": (2, 3, 1, 0)}))
    {"conv*": (2, 3, 1, 0)}
    """
    if isinstance(value, type) or (hasattr(value, "newbyteorder") and hasattr(value, "kind")):
        return code_text(getattr(value, "__name__", None) or value.name)  # a dtype
    if isinstance(value, os.PathLike):
        return code_text(str(value) if isinstance(value, StorePath) else os.fspath(value))
    if isinstance(value, re.Pattern):
        return _regex_text(value)
    if callable(value):
        return _function_text(value)
    value = plain(value)
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
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    try:
        return repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return "..."


def _regex_text(regex: re.Pattern[Any]) -> str:
    """A compiled regex as the text that compiles to it, so that the code needs no ``import re``."""
    if not isinstance(regex.pattern, str):
        return repr(regex)
    flags = (("a", re.A), ("i", re.I), ("m", re.M), ("s", re.S), ("x", re.X))
    letters = "".join(letter for letter, flag in flags if regex.flags & flag)
    body = re.sub(r"^\(\?[aimsux]+\)", "", regex.pattern)
    return code_text(f"(?{letters}){body}" if letters else body)


def _function_text(function: Any) -> str:
    """The name of a function as it can be typed, ``...`` for a lambda or anything without one."""
    name = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    bound = getattr(function, "__self__", None)
    is_named = name and all(part.isidentifier() for part in name.split("."))
    return name if is_named and (bound is None or isinstance(bound, (type, ModuleType))) else "..."


def options_text(options: Mapping[str, Any]) -> str:
    """Options as code that follows a first argument.

    >>> print(options_text({"drop": "head/*", "allow_pickle": True}))
    , drop="head/*", allow_pickle=True
    """
    return "".join(f", {name}={code_text(value)}" for name, value in options.items())


@record()
class Line:
    """Names that share a note.

    Args:
        names: the names, folded.
        count: how many they are.
        note: what is to be said about each, such as its shape and dtype.
    """

    names: str
    count: int
    note: str

    def text(self, gap: str = "  ") -> str:
        times = f"{self.count} x " if self.count > 1 else ""
        return self.names + gap + times + printable(self.note) if self.note else self.names


def folded(entries: Iterable[tuple[str, str]], limit: int | None = 20) -> tuple[list[Line], int]:
    """Fold names with their notes. Only names with equal notes are folded together.

    Args:
        entries: each name, with its note.
        limit: how many lines to make. With None, nothing is left out and no name is shortened.

    Returns:
        The lines, and how many names are not in them.
    """
    groups: dict[str, list[str]] = {}
    for name, note in entries:
        groups.setdefault(note, []).append(name)
    lines = (
        Line(found.text, found.count, note)
        for note, names in groups.items()
        for found in folding.lines(as_read(names) if len(names) < _MANY else names, _WIDTH)
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
    """The lines of :func:`folded` as text, and one more for the names that are not in them.

    Args:
        entries: each name, with its note.
        limit: how many lines to make, or None for all.
        gap: what separates a name from its note.
        more: what the last line says about how to see the other names.
    """
    lines, hidden = folded(entries, limit)
    shown = [line.text(gap) for line in lines]
    if hidden:
        shown.append(f"... and {plural(hidden, 'name')} more: " + more)
    return shown


def shared(one: Iterable[str], other: Iterable[str]) -> int:
    """The length of the common beginning of two names, or of the common end of two reversed ones.

    >>> shared("model/w", "model/b")
    6
    """
    return sum(1 for _ in itertools.takewhile(bool, map(operator.eq, one, other)))


def _shorten(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines with aligned columns.

    Args:
        rows: the cells of each line.
        right: the indices of the columns that are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def also_text(spec: ArraySpec) -> str:
    """What there is to say about an array: that it cannot be read, or the names that people gave to
    one that is called by its place."""
    if spec.unreadable:
        return "cannot be read"
    names = spec.given if spec.name in spec.places else ()
    return f"also {', '.join(map(printable, names))}" if names else ""


def listing_text(specs: Sequence[ArraySpec], not_arrays: Sequence[str] = ()) -> str:
    """One line for each array, with its name, shape, dtype and size, and then the totals.

    An array whose name is its place has the names that people gave to it at the end of its line,
    because rules match on them, too. What cannot be read, and what is not an array, follows.

    Args:
        specs: the arrays.
        not_arrays: the names of what else the source holds.
    """
    rows = [
        (printable(s.name), shape_text(s.shape), s.dtype, size_text(s.nbytes), also_text(s))
        for s in specs
    ]
    lines = [*table(rows, right=(3,)), totals_text(specs), *not_read_text(specs, not_arrays)]
    return join("\n", lines)


def totals_text(specs: Sequence[ArraySpec]) -> str:
    """How many arrays these are, how many numbers they have, and how large they are."""
    total = sum(spec.nbytes or 0 for spec in specs)
    numbers = plural(count_numbers(specs), "number")
    return ", ".join((plural(len(specs), "array"), numbers, size_text(total)))


def count_numbers(specs: Iterable[ArraySpec]) -> int:
    """How many numbers arrays have. Strings are none, nor is what cannot be read."""
    numbers = 0
    for spec in specs:
        if spec.dtype != dtypes.STRING and not spec.unreadable:
            count = 1
            for axis in spec.shape:
                count *= axis
            numbers += count
    return numbers


def not_read_text(specs: Sequence[ArraySpec], not_arrays: Sequence[str] = ()) -> list[str]:
    """The lines of a listing about arrays that cannot be read, and about what is not an array."""
    lines: list[str] = []
    unreadable = [spec for spec in specs if spec.unreadable]
    if unreadable:
        lines.append(f"{plural(len(unreadable), 'array')} cannot be read:")
        texts = [f"  {printable(s.name)}: " + printable(s.unreadable) for s in unreadable]
        lines += _first(texts)
    if not_arrays:
        lines.append(f"not arrays, but other members of the archive: {len(not_arrays):,}")
        lines += _first([f"  {_shorten(printable(name))}" for name in not_arrays])
    return lines


def metadata_text(metadata: Mapping[str, str], limit: int | None = 20) -> list[str]:
    """The lines of a listing about metadata, of which there are none if it is empty.

    Args:
        metadata: the texts by key.
        limit: how many keys to show, each with a part of a long text. None for all, and all text.

    >>> metadata_text({"format": "pt"})
    ['metadata', '  format: pt']
    """
    if not metadata:
        return []
    shown = list(metadata.items())[:limit]
    cut = str if limit is None else _shorten
    lines = [f"  {cut(printable(key))}: {cut(printable(text))}" for key, text in shown]
    if limit is not None and len(metadata) > limit:
        more = f"  ... and {plural(len(metadata) - limit, 'key')} more: "
        lines.append(more + either("m.metadata has them all", "--metadata shows them all"))
    return ["metadata", *lines]


def _first(lines: Sequence[str]) -> list[str]:
    """The first lines of a list, and how many more there are."""
    if len(lines) <= _MOST_LINES:
        return list(lines)
    more = f"  ... and {len(lines) - _MOST_LINES:,} more: --json lists all"
    return [*lines[:_MOST_LINES], more]
