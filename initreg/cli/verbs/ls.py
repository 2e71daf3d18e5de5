"""The verb ``ls``."""

from __future__ import annotations

import argparse

from initreg.cli.flags import typed
from initreg.cli.options import add_opening, add_rules, opening_of, rules_of
from initreg.cli.printing import show, show_json
from initreg.option_spelling import join

SUMMARY = "List the arrays of sources: names, shapes, dtypes and sizes."
EXAMPLES = (("initreg ls model.npz", "all arrays"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a file, a folder or a checkpoint's prefix"
    )
    add_opening(parser)
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.opening import open as open_source
    from initreg.wording import listing_text, metadata_text

    with open_source(options.source, **opening_of(options), **rules_of(options)) as arrays:
        specs = arrays.specs()
        if not options.json:
            lines = [listing_text(specs, arrays.not_arrays), *metadata_text(arrays.metadata)]
            show(typed(join("\n", lines)))
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
                    "given": list(spec.given),
                    "places": list(spec.places),
                    "automatic": list(spec.automatic),
                    "made_of": list(spec.made_of),
                    "changes": list(spec.changes),
                    "unreadable": typed(spec.unreadable) or None,
                }
                for spec in specs
            ],
            "metadata": dict(arrays.metadata),
            "not_arrays": list(arrays.not_arrays),
        }
        show_json(answer)
    return 0
