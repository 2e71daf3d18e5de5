"""The verb ``diff``."""

from __future__ import annotations

import argparse
from typing import Any

from initreg.cli.colours import columns
from initreg.cli.flags import typed
from initreg.cli.options import (
    add_for,
    add_opening,
    add_rules,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted

SUMMARY = "Compare two sources of any format: names, shapes and values."
EXAMPLES = (
    ("initreg diff before.npz after.h5", "did training change anything?"),
    ("initreg diff a.npz b.npz --rtol 1e-3", "small differences are fine"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs=2,
        help="A and B: files, folders, prefixes of checkpoints, URLs, or code that builds a model, "
        "as module:callable or file.py:callable",
    )
    tolerances = (
        ("--rtol", "how much a value of A may differ, relative to that of B (default: 0)"),
        ("--atol", "how much it may differ besides (default: 0)"),
    )
    for name, what in tolerances:
        parser.add_argument(name, type=float, default=0.0, metavar="NUMBER", help=what)
    parser.add_argument(
        "--by",
        choices=("name", "place", "order"),
        help="by which of their names arrays are matched. Default: chosen by what they are",
    )
    parser.add_argument(
        "--fold", action="store_true", help="a line for each layer that differs, not for each array"
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="NUMBER",
        help="the same for layers whose names have the same first parts, as du -d",
    )
    parser.add_argument(
        "--all", action="store_true", help="show every name, however many there are"
    )
    add_opening(parser)
    add_for(parser, add_rules(parser))


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if nothing is beyond the tolerance, and 1 if something is."""
    from initreg.api.diffing import diff

    a, b = sources_of(options)
    given: dict[str, Any] = {**opening_of(options), **rules_of(options)}
    given["progress"] = True
    found = diff(a, b, rtol=options.rtol, atol=options.atol, by=options.by, **given)
    fold: dict[str, Any] = {"fold": options.fold, "depth": options.depth}
    if options.json:
        layers = found.layers(options.depth) if any(fold.values()) else None
        more = {} if layers is None else {"layers": [each.to_dict() for each in layers]}
        show_json(found.to_dict() | more)
    else:
        limit = None if options.all else 20
        show_fitted(typed(found.to_text(limit, **fold, width=columns())), _style)
    return 0 if found.is_same else 1


def _style(line: str) -> str:
    """The style of a line of the answer: red for what differs, green for what does not."""
    if line.startswith(" "):
        return ""
    ends = {" different": "red", " of another shape": "red", " equal, bit by bit": "green"}
    ends |= {" only in A": "yellow", " only in B": "yellow", " not compared": "yellow"}
    found = (how for end, how in ends.items() if line.endswith(end))
    return next(found, "green" if " within the tolerance: " in line else "")
