"""The verb ``ls``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from initreg.cli.flags import typed
from initreg.cli.options import (
    add_for,
    add_opening,
    add_rules,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.order_options import add_order, check_order
from initreg.cli.printing import show_json

if TYPE_CHECKING:
    from initreg.arrays.array_map import ArrayMap
    from initreg.cli.colours import Paint

KEYS = ("name", "size", "dtype", "file")
SUMMARY = "List the arrays of sources: names, shapes, dtypes and sizes."
EXAMPLES = (
    ("initreg ls model.npz", "all arrays"),
    ("initreg ls model.npz --tree --depth 2", "two levels of its layers"),
    ("initreg ls model.npz --sort size", "the largest first"),
    ("initreg ls model.npz --keep '*/kernel'", "kernels only"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a file, a folder, a checkpoint's prefix or a URL; several are listed one by one",
    )
    add_order(parser, KEYS)
    parser.add_argument("--bytes", action="store_true", help="sizes in bytes, all digits")
    parser.add_argument(
        "--metadata",
        action="store_true",
        help="show all of the metadata instead of the arrays: what the file says beside them",
    )
    add_opening(parser)
    add_for(parser, add_rules(parser))


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.chain import Link, flatten, open_chain
    from initreg.api.opening_options import opening_of as opening
    from initreg.rules.keywords import Rules

    check_order(options)
    like = Link(None, opening(opening_of(options), "open"), (Rules.of(**rules_of(options)),))
    with ExitStack() as stack:
        maps = open_chain(flatten(sources_of(options), like), stack)
        if options.json:
            found = [_answer(each, options) for each in maps]
            show_json(found[0] if len(found) == 1 else {"sources": found})
        else:
            _show(maps, options)
    return 0


def _show(maps: list[ArrayMap], options: argparse.Namespace) -> None:
    import sys

    from initreg.cli.colours import painter
    from initreg.cli.pager import write_paged

    paint = painter(sys.stdout)
    lines: list[str] = []
    for each in maps:
        if len(maps) > 1:
            lines += [paint(_printable(f"{each.label} ({each.format})"), "bold")]
        lines += _text_of(each, options, paint)
        if len(maps) > 1:
            lines.append("")
    if len(maps) > 1:
        lines += _fitted([_all_of(maps)])
    write_paged("\n".join(lines), use_pager=not options.no_pager)


def _text_of(opened: ArrayMap, options: argparse.Namespace, paint: Paint) -> list[str]:
    """The lines about one source."""
    from initreg.cli.colours import columns
    from initreg.cli.listing import lines_of, table_of
    from initreg.text.wording import metadata_text, not_read_text, totals_text

    if options.metadata:
        found = metadata_text(opened.metadata, None) or ["there is no metadata"]
        return _fitted(found)
    specs = opened.specs()
    lines = table_of(lines_of(specs, options), paint, columns(), options.bytes)
    lines.append(paint(totals_text(specs), "bold"))
    further = [*not_read_text(specs, opened.not_arrays), *metadata_text(opened.metadata)]
    return lines + _fitted(further)


def _fitted(lines: Sequence[str]) -> list[str]:
    """Lines of text, as they fit the terminal."""
    from initreg.cli.colours import columns
    from initreg.cli.screen import fitted

    width = columns()
    shown = [_printable(typed(line)) for line in lines]
    return shown if width is None else [part for line in shown for part in fitted(line, width)]


def _printable(text: str) -> str:
    from initreg.errors import printable

    return printable(text)


def _all_of(maps: list[ArrayMap]) -> str:
    """The last line about several sources."""
    from initreg.text.wording import plural, totals_text

    specs = [spec for each in maps for spec in each.specs()]
    names = [spec.name for spec in specs]
    several = sum(1 for count in _counts(names).values() if count > 1)
    text = f"{plural(len(maps), 'source')}: {totals_text(specs)}"
    if several:
        text += f"; {plural(several, 'name')} in several sources, of which a chain takes the last"
    return text


def _counts(names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def _answer(opened: ArrayMap, options: argparse.Namespace) -> dict[str, Any]:
    """All that is known of a source without reading its arrays."""
    from initreg.cli.listing import in_order, lines_of

    specs = opened.specs()
    answer: dict[str, Any] = {
        "source": opened.label,
        "format": opened.format,
        "arrays": [
            {
                "name": spec.name,
                "shape": list(spec.shape),
                "dtype": spec.dtype,
                "nbytes": spec.nbytes,
                "aliases": list(spec.aliases),
                "given": list(spec.given),
                "places": list(spec.places),
                "automatic": list(spec.automatic),
                "made_of": list(spec.made_of),
                "changes": list(spec.changes),
                "unreadable": typed(spec.unreadable) or None,
            }
            for spec in in_order(specs, options.sort)
        ],
        "metadata": dict(opened.metadata),
        "not_arrays": list(opened.not_arrays),
    }
    if options.fold or options.tree or options.depth is not None:
        lines = lines_of(specs, options)
        answer["groups"] = [line.to_dict() for line in lines if line.is_group]
    return answer
