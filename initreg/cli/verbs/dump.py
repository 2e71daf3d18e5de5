"""The verb ``dump``."""

from __future__ import annotations

import argparse

from initreg.cli.flags import typed
from initreg.cli.options import add_opening, metadata_of, opening_of
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted
from initreg.cli.verbs.convert import add_saving, progress_bar, written_text, written_to
from initreg.errors import SourceNotFound

SUMMARY = "Write the model of a checkpoint, without its training state."
EXAMPLES = (
    ("initreg dump run/ model.npz", "by the newest metagraph in run/"),
    ("initreg dump model-100 model.npz --inference", "without a metagraph"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a checkpoint's prefix or file, or a folder, whose newest checkpoint and newest "
        "metagraph are used",
    )
    parser.add_argument(
        "out", metavar="OUT", help="the file to write; its extension decides the format"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--meta",
        metavar="FILE",
        help="the metagraph whose TRAINABLE and MODEL variables are written",
    )
    which.add_argument(
        "--inference",
        action="store_true",
        help="without a metagraph: drop the variables that the checkpoint itself shows to belong "
        "to the training",
    )
    parser.add_argument(
        "--all", action="store_true", help="show every name, however many there are"
    )
    add_opening(parser)
    add_saving(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0. After an error, nothing is written."""
    from initreg.api.dumping import dump

    if options.meta == "":
        raise SourceNotFound("--meta '': the path is empty")
    with progress_bar() as progress:
        done = dump(
            options.checkpoint,
            options.out,
            meta=options.meta,
            inference=options.inference,
            to=options.to,
            **opening_of(options),
            compress=options.compress,
            shard_size=options.shard_size,
            manifest=options.manifest,
            metadata=metadata_of(options),
            progress=progress,
        )
    found = written_to(done.path, options.to)
    if options.json:
        show_json(found | done.to_dict())
        return 0
    show_fitted(written_text(found))
    if done.meta is not None:
        show_fitted(f"  by {done.meta}")
    show_fitted(typed(done.to_text(None if options.all else 20)))
    return 0
