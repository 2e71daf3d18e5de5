"""Read all of a source: whether it is whole, as it was saved, and of finite values."""

from __future__ import annotations

import argparse
import json

from initreg.cli.rules import add_opening, opening_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a file, folder or checkpoint's prefix")
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="the manifest to compare with, by default the one that lies beside the source",
    )
    parser.add_argument(
        "--allow-nonfinite", action="store_true", help="count NaN and Inf, but allow them"
    )
    parser.add_argument(
        "--all", action="store_true", help="show every name, folded, however long that gets"
    )
    add_opening(parser)


def run(options: argparse.Namespace) -> int:
    """0 all is well, 1 something is not, 2 if that cannot be found out."""
    from initreg.api.verifying import verify

    found = verify(
        options.source,
        manifest=options.manifest,
        finite=not options.allow_nonfinite,
        **opening_of(options),
    )
    if options.json:
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        print(found.to_text(None if options.all else 20))
    return 0 if found.ok else 1
