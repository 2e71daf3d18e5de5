"""The verb ``stats``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from initreg.cli.options import (
    add_opening,
    add_rules,
    add_sources,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.printing import show, show_json

# Those of initreg.api.stating, which parsing does not import.
_KEYS = ("name", "size", "mean", "std", "min", "max", "norm", "zeros", "nan", "inf")
SUMMARY = "Show what the values are like: mean, spread, range, zeros, NaN, and a histogram."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    parser.add_argument("--sort", choices=_KEYS, help="by name, or the largest figure first")
    parser.add_argument(
        "--depth",
        type=int,
        metavar="NUMBER",
        help="arrays whose names have the same first parts together, as du -d",
    )
    add_opening(parser)
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.stating import stats

    given: dict[str, Any] = {**opening_of(options), **rules_of(options)}
    found = stats(sources_of(options), progress=True, **given)
    if options.depth is not None:
        found = found.to_depth(options.depth)
    if options.sort is not None:
        found = found.sorted(options.sort)
    if options.json:
        show_json(found.to_dict())
    else:
        show(found.to_text(bars=_has_blocks()))
    return 0


def _has_blocks() -> bool:
    """Whether the output can show the blocks of a histogram."""
    try:
        "▁█".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
