"""The verb ``diff``."""

from __future__ import annotations

import argparse
from typing import Any

from initreg.cli.flags import typed
from initreg.cli.options import add_opening, add_rules, opening_of, rules_of, sources_of
from initreg.cli.printing import show, show_json

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
        help="A and B: files, folders, prefixes of checkpoints, or URLs",
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
        "--all", action="store_true", help="show every name, however many there are"
    )
    add_opening(parser)
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if nothing is beyond the tolerance, and 1 if something is."""
    from initreg.api.diffing import diff

    a, b = sources_of(options)
    given: dict[str, Any] = {**opening_of(options), **rules_of(options)}
    found = diff(a, b, rtol=options.rtol, atol=options.atol, by=options.by, **given)
    if options.json:
        show_json(found.to_dict())
    else:
        show(typed(found.to_text(None if options.all else 20)))
    return 0 if found.is_same else 1
