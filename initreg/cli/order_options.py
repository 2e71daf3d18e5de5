"""The options of listings, which ``ls`` and ``stats`` share: which lines, and in which order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from initreg.errors import InitregError


def add_order(parser: argparse.ArgumentParser, keys: Sequence[str]) -> None:
    """Add the options that say which lines there are, and in which order.

    Args:
        parser: the parser of a verb.
        keys: what can be sorted by.
    """
    parser.add_argument(
        "--sort",
        choices=keys,
        metavar="KEY",
        help=f"sort by {', '.join(keys[:-1])} or {keys[-1]}; figures and sizes begin with the "
        "largest (default: the order of the file, or by name if that is the file's order)",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--tree", action="store_true", help="as a tree of the parts of names")
    way.add_argument(
        "--fold", action="store_true", help="similar names on one line: layer_{0..11}/kernel"
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="NUMBER",
        help="one line for the names whose first parts are the same, as du -d; with --tree, how "
        "many levels to show",
    )
    parser.add_argument(
        "--no-pager",
        action="store_true",
        help="do not use a pager (on a terminal, long output goes to PAGER or less)",
    )


def check_order(options: argparse.Namespace) -> None:
    """Raise InitregError for options of :func:`add_order` that do not go together."""
    if options.depth is not None and options.depth < 1:
        raise InitregError(f"--depth {options.depth}: give a number of at least 1")
    if options.depth is not None and options.fold:
        raise InitregError(
            "--fold and --depth: the first puts similar names on one line, the second those that "
            "begin alike. Give one of them"
        )
