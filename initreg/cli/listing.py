"""The lines of a listing: arrays in an order, folded, as a tree, or to a depth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from initreg import folding
from initreg.cli.colours import Paint
from initreg.cli.trees import to_depth, tree
from initreg.errors import printable
from initreg.names import as_read, natural
from initreg.specs import ArraySpec
from initreg.text.tables import lay_out
from initreg.text.wording import also_text, plural, shape_text, size_text

_LONGEST = 100  # characters of folded names on one line
_HEAD = ("NAME", "SHAPE", "DTYPE", "SIZE", "")


class Line(NamedTuple):
    """One line: an array, or several.

    Args:
        label: the name, or what stands for several.
        specs: the arrays.
        is_group: whether it stands for several.
    """

    label: str
    specs: list[ArraySpec]
    is_group: bool

    def to_dict(self) -> dict[str, Any]:
        """What is known of several arrays together."""
        return {
            "name": self.label,
            "arrays": [spec.name for spec in self.specs],
            "dtypes": _dtypes(self.specs),
            "nbytes": _size(self.specs),
        }


def lines_of(specs: Sequence[ArraySpec], options: argparse.Namespace) -> list[Line]:
    """The lines of a listing, as the options of :mod:`initreg.cli.order_options` say.

    Args:
        specs: the arrays in the order of the file.
        options: what was typed.
    """
    specs = in_order(specs, options.sort)
    names = [spec.name for spec in specs]
    if options.fold:
        return _sorted(_folded(specs), options.sort)
    if options.tree:
        key = None
        if options.sort in ("size", "dtype"):
            key = lambda indices: _key([specs[i] for i in indices], options.sort)  # noqa: E731
        branches = tree(names, options.depth, key)
    elif options.depth is not None:
        branches = to_depth(names, options.depth)
    else:
        return [Line(spec.name, [spec], False) for spec in specs]
    lines = [Line(b.label, [specs[i] for i in b.indices], b.is_group) for b in branches]
    return lines if options.tree else _sorted(lines, options.sort)


def in_order(specs: Sequence[ArraySpec], sort: str | None) -> list[ArraySpec]:
    """The arrays in the order in which they are listed.

    Args:
        specs: the arrays in the order of the file.
        sort: ``"name"``, ``"size"``, ``"dtype"``, ``"file"``, or None.
    """
    if sort == "file":
        return list(specs)
    if sort is None:
        by_name = {spec.name: spec for spec in specs}
        return [by_name[name] for name in as_read(list(by_name))]
    found = sorted(specs, key=lambda spec: natural(spec.name))
    return found if sort == "name" else sorted(found, key=lambda spec: _key([spec], sort))


def table_of(lines: Sequence[Line], paint: Paint, width: int | None, exact: bool) -> list[str]:
    """The table of a listing.

    Args:
        lines: its lines.
        paint: puts a text into a style.
        width: the columns of the terminal, or None.
        exact: whether sizes are in bytes.
    """
    rows = [_row(line, exact) for line in lines]
    groups = [number for number, line in enumerate(lines) if line.is_group]
    styles = {2: "dim", 4: "yellow"}
    if not rows:
        return []
    return lay_out(_HEAD, rows, right=(3,), width=width, styles=styles, marked=groups, paint=paint)[
        0
    ]


def _row(line: Line, exact: bool) -> tuple[str, ...]:
    size = f"{_size(line.specs):,}" if exact else size_text(_size(line.specs))
    if not line.is_group:
        [spec] = line.specs
        if spec.nbytes is None:
            size = "?"
        return printable(line.label), shape_text(spec.shape), spec.dtype, size, also_text(spec)
    shapes = {spec.shape for spec in line.specs}
    times = f"{len(line.specs)} x {shape_text(line.specs[0].shape)}"
    shape = times if len(shapes) == 1 else plural(len(line.specs), "array")
    dtypes = _dtypes(line.specs)
    shown = ", ".join(dtypes) if len(dtypes) < 3 else f"{len(dtypes)} dtypes"
    unreadable = sum(1 for spec in line.specs if spec.unreadable)
    return (
        printable(line.label),
        shape,
        shown,
        size,
        f"{unreadable} cannot be read" * bool(unreadable),
    )


def _folded(specs: Sequence[ArraySpec]) -> list[Line]:
    """Similar names on one line, if their arrays have the same shape and dtype."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    by_name = {spec.name: spec for spec in specs}
    for spec in specs:
        key = (spec.shape, spec.dtype, also_text(spec))
        groups.setdefault(key, []).append(spec.name)
    place = {spec.name: number for number, spec in enumerate(specs)}
    found = []
    for names in groups.values():
        for line in folding.lines(names, _LONGEST):
            own = folding.expand(line.text)
            found.append(Line(line.text, [by_name[name] for name in own], line.count > 1))
    return sorted(found, key=lambda line: min(place[spec.name] for spec in line.specs))


def _sorted(lines: list[Line], sort: str | None) -> list[Line]:
    return sorted(lines, key=lambda line: _key(line.specs, sort)) if sort in _FIGURES else lines


_FIGURES = ("size", "dtype")


def _key(specs: Sequence[ArraySpec], sort: str) -> Any:
    return -_size(specs) if sort == "size" else _dtypes(specs)


def _size(specs: Iterable[ArraySpec]) -> int:
    return sum(spec.nbytes or 0 for spec in specs)


def _dtypes(specs: Iterable[ArraySpec]) -> list[str]:
    return list(dict.fromkeys(spec.dtype for spec in specs))
