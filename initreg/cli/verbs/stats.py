"""The verb ``stats``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initreg.cli.options import (
    add_for,
    add_opening,
    add_rules,
    add_sources,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.order_options import add_order, check_order
from initreg.cli.printing import show_json

if TYPE_CHECKING:
    from initreg.api.stating import ArrayStats, Stats

# Those of initreg.api.stating, which parsing does not import.
_KEYS: tuple[str, ...] = ("name", "size", "dtype", "file")
_KEYS += ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf")
SUMMARY = "Show what values are like: range, spread, zeros, NaN, histogram."
EXAMPLES = (
    ("initreg stats model.npz --sort norm", "the largest norm first"),
    ("initreg stats model.npz --depth 1", "one line for each layer"),
    ("initreg stats model.npz --keep '*/kernel'", "kernels only"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    add_order(parser, _KEYS)
    add_opening(parser)
    add_for(parser, add_rules(parser))


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.stating import stats

    check_order(options)
    given: dict[str, Any] = {**opening_of(options), **rules_of(options)}
    found = stats(sources_of(options), progress=True, **given)
    found = found.as_read() if options.sort is None else found.sorted(options.sort)
    if options.depth is not None and not options.tree:
        found = found.to_depth(options.depth)
        found = found if options.sort in (None, "file", "name") else found.sorted(options.sort)
    if options.json:
        show_json(found.to_dict())
    else:
        _show(found, options)
    return 0


def _show(found: Stats, options: argparse.Namespace) -> None:
    from textwrap import wrap

    from initreg.api.stating import stats_table
    from initreg.cli.colours import columns, painter
    from initreg.cli.pager import write_paged
    from initreg.errors import printable

    paint = painter(sys.stdout)
    arrays = _lines(found, options)
    marked = [number for number, each in enumerate(arrays) if each.shape is None]
    layout: dict[str, Any] = {"width": columns(), "paint": paint, "marked": marked}
    lines, spared = stats_table(arrays, bars=_has_blocks(), **layout)
    *further, total = found.footer()
    lines += map(printable, further)
    width = layout["width"] or len(total)
    lines += [paint(line, "bold") for line in wrap(total, width)]
    if spared:
        text = f"no room for {', '.join(spared)}: see a wider terminal, a pipe or --json"
        lines += wrap(text, width, break_on_hyphens=False)
    write_paged("\n".join(lines), use_pager=not options.no_pager)


def _lines(found: Stats, options: argparse.Namespace) -> list[ArrayStats]:
    """The lines of the table: as a tree, folded, or as they are."""
    from initreg.api.stating import group, sort_key
    from initreg.cli.trees import tree

    arrays = list(found.arrays)
    names = [each.name for each in arrays]
    by_figure = options.sort not in (None, "file", "name")
    if options.tree:
        key = None
        if by_figure:

            def key(indices: list[int]) -> Any:
                return sort_key(group("", [arrays[i] for i in indices]), options.sort)

        return [
            group(branch.label, [arrays[i] for i in branch.indices])
            if branch.is_group
            else replace(arrays[branch.indices[0]], name=branch.label)
            for branch in tree(names, options.depth, key)
        ]
    if not options.fold:
        return arrays
    lines = _folded(arrays)
    if by_figure:
        lines.sort(key=lambda each: sort_key(each, options.sort))
    return lines


def _folded(arrays: list[ArrayStats]) -> list[ArrayStats]:
    """Similar names on one line, if their arrays have the same shape and dtype."""
    from initreg import folding
    from initreg.api.stating import group

    place = {each.name: number for number, each in enumerate(arrays)}
    groups: dict[Any, list[str]] = {}
    for each in arrays:
        groups.setdefault((each.shape, each.dtype, each.why), []).append(each.name)
    found = []
    for names in groups.values():
        for line in folding.lines(names, 100):
            own = sorted(place[name] for name in folding.expand(line.text))
            each = arrays[own[0]]
            if line.count > 1:
                each = group(line.text, [arrays[i] for i in own])
            found.append((own[0], each))
    return [each for _, each in sorted(found, key=lambda item: item[0])]


def _has_blocks() -> bool:
    """Whether the output can show the blocks of a histogram."""
    try:
        "▁█".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
