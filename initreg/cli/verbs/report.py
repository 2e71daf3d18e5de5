"""The verb ``report``."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

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
from initreg.errors import InitregError

SUMMARY = "Write a page about one source, or about what differs between two."
EXAMPLES = (
    ("initreg report model.npz -o report.html", "one model"),
    ("initreg report before.npz after.h5 -o report.html", "what differs"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="one, or A and B: files, folders, prefixes of checkpoints, or URLs",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the page to write, a name that ends in .html"
    )
    parser.add_argument(
        "--onto",
        metavar="TARGET",
        help="show also what restoring the source, or B, onto this would do: a source, or code "
        "that builds a model, package.module:callable or file.py:callable",
    )
    parser.add_argument(
        "--no-values",
        action="store_true",
        help="read names, shapes and sizes, but no values",
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
    add_opening(parser)
    add_for(parser, add_rules(parser))


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.reporting import check_ending, report
    from initreg.cli.onto_option import target_of

    if options.output is not None:
        check_ending(options.output)  # before everything is read
    elif not options.json:
        raise InitregError("name the page to write: --output report.html, or -o report.html")
    if len(options.sources) > 2:
        raise InitregError(
            f"report is about one source or two, and these are {len(options.sources)}. To merge "
            "some, use convert first"
        )
    opening = opening_of(options)
    given: dict[str, Any] = {**opening, **rules_of(options)}
    with ExitStack() as stack:
        target = None
        if options.onto is not None:
            target = target_of(options.onto, stack, **{**opening, "format": None})
        found = report(
            *sources_of(options),
            target=target,
            values=not options.no_values,
            rtol=options.rtol,
            atol=options.atol,
            by=options.by,
            progress=True,
            **given,
        )
    if options.output is not None:
        found.save(options.output)
    if options.json:
        show_json(found.to_dict())
    else:
        show_fitted(typed(f"{options.output}\n{found.to_text()}"))
    return 0
