"""The verb ``ls``."""

from __future__ import annotations

import argparse
import json

from initreg.cli.options import add_opening, opening_of

SUMMARY = "List the arrays of a source: names, shapes, dtypes and sizes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a file, a folder or a checkpoint's prefix"
    )
    add_opening(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.opening import open as open_source
    from initreg.wording import listing_text

    with open_source(options.source, **opening_of(options)) as arrays:
        specs = arrays.specs()
        if not options.json:
            print(listing_text(specs))
            return 0
        answer = {
            "source": arrays.label,
            "format": arrays.format,
            "arrays": [
                {
                    "name": spec.name,
                    "shape": list(spec.shape),
                    "dtype": spec.dtype,
                    "nbytes": spec.nbytes,
                    "aliases": list(spec.aliases),
                }
                for spec in specs
            ],
        }
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0
