"""The verb ``resume``."""

from __future__ import annotations

import argparse

from initreg.cli.flags import typed
from initreg.cli.options import add_storage_options, storage_options_of
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted
from initreg.errors import one_line

SUMMARY = "Show where a training run can continue."
EXAMPLES = (
    ("initreg resume run/", "the newest complete checkpoint"),
    ("initreg resume run/ --verify", "with all checksums"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", help="the folder with the checkpoints, or its URL"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read all bytes and check their checksums"
    )
    add_storage_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0, or 1 if there is no complete checkpoint."""
    from initreg.api.resuming import find
    from initreg.storage.stores import without_secrets

    point, skipped = find(
        options.directory,
        verify=options.verify,
        storage_options=storage_options_of(options),
    )
    if options.json:
        left = [{"path": str(path), "reason": reason} for path, reason in skipped]
        answer = point.to_dict() if point is not None else {"path": None, "skipped": left}
        show_json(answer)
        return 0 if point is not None else 1
    if point is None:
        show_fitted(
            f"{one_line(without_secrets(options.directory))}: there is no complete checkpoint"
        )
    else:
        known = {"epoch": point.epoch, "step": point.step}
        show_fitted(one_line(str(point.path)))
        for name, value in known.items():
            if value is not None:
                show_fitted(f"  {name:<7}{value:,}")
        if point.states:
            show_fitted(f"  states {', '.join(point.states)}")
    for _, reason in skipped:
        show_fitted(f"skipped  {typed(reason)}")
    return 0 if point is not None else 1
