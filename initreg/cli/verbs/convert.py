"""The verb ``convert``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from initreg.cli.options import (
    add_opening,
    add_rules,
    add_sources,
    opening_of,
    rules_of,
    sources_of,
)

SUMMARY = "Write the arrays of one or more sources into one file, of any format that can be saved."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="the file or the prefix of the checkpoint to write; its extension decides the format",
    )
    add_opening(parser)
    add_saving(parser)
    add_rules(parser)


def add_saving(parser: argparse.ArgumentParser) -> None:
    """Add the options of saving."""
    parser.add_argument(
        "--to", metavar="FORMAT", help="the format to write, whatever the extension"
    )
    parser.add_argument(
        "--compress", action="store_true", help="compress the arrays (npz and HDF5 only)"
    )
    parser.add_argument(
        "--shard-size",
        metavar="SIZE",
        help="the largest size of one file, such as 5GB (safetensors only)",
    )
    parser.add_argument(
        "--manifest",
        action="store_true",
        help="write digests beside the file, for 'initreg verify'",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0. After an error, nothing is written."""
    from initreg.api.saving import convert

    with progress_bar() as progress:
        path = convert(
            sources_of(options),
            options.destination,
            to=options.to,
            compress=options.compress,
            shard_size=options.shard_size,
            manifest=options.manifest,
            progress=progress,
            **opening_of(options),
            **rules_of(options),
        )
    found = written_to(path, options.to)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(written_text(found))
    return 0


def written_to(path: Path, format: str | None) -> dict[str, Any]:
    """What was written: the path to open, the number of arrays, and the bytes on disk."""
    from initreg.api.opening import open as open_source

    with open_source(path, format=format) as opened:
        files = {file.resolve() for file in (path, *opened.files)}
        count = len(opened)
    sizes = [os.path.getsize(file) for file in files if file.is_file()]
    return {"path": str(path), "arrays": count, "nbytes": sum(sizes)}


def written_text(found: dict[str, Any]) -> str:
    from initreg.wording import plural, printable, size_text

    path, count, nbytes = printable(found["path"]), found["arrays"], found["nbytes"]
    return f"{path}: {plural(count, 'array')}, {size_text(nbytes)}"


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A function that shows the bytes done and all bytes, or None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
