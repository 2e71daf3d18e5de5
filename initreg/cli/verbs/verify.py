"""The verb ``verify``."""

from __future__ import annotations

import argparse

from initreg.cli.flags import typed
from initreg.cli.options import add_opening, opening_of
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted

SUMMARY = "Check that a source is complete, unchanged and finite."
EXAMPLES = (
    ("initreg verify model.safetensors", "read all of it"),
    ("initreg verify model.npz --manifest good.json", "compare digests"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a file, a folder or a checkpoint's prefix"
    )
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="the manifest to compare with (default: the one beside the source)",
    )
    parser.add_argument(
        "--allow-nonfinite", action="store_true", help="count NaN and Inf, but accept them"
    )
    parser.add_argument(
        "--all", action="store_true", help="show every name, however many there are"
    )
    add_opening(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if all is well, and 1 if something is wrong."""
    from initreg.api.verifying import verify

    found = verify(
        options.source,
        manifest=options.manifest,
        finite=not options.allow_nonfinite,
        progress=True,
        **opening_of(options),
    )
    if options.json:
        show_json(found.to_dict())
    else:
        text = typed(found.to_text(None if options.all else 20))
        first = text.partition("\n")[0]
        verdict = "green" if found.ok else "red"
        show_fitted(text, lambda line: verdict if line == first else "")
    return 0 if found.ok else 1
