"""The verb ``show``."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from initreg.cli.options import (
    add_opening,
    add_rules,
    opening_of,
    rules_of,
    sources_with_rules,
)
from initreg.cli.printing import show, write_bytes, write_pieces
from initreg.errors import InitregError, UnwritableFile, printable

if TYPE_CHECKING:
    from initreg.api.showing import Showing

_FORMATS = ("csv", "json", "npy")  # those of initreg.api.showing, which parsing does not import
_IN_MEMORY = 16 << 20  # bytes of a text that waits to be complete
SUMMARY = "Show values as numpy prints them, or as CSV, JSON or npy."
EXAMPLES = (
    ("initreg show model.npz fc/kernel", "a summary, if it is large"),
    ("initreg show model.npz 'fc/kernel[2:4, ..., ::-1]'", "a part"),
    ("initreg show model.npz fc/bias --to csv", "for a spreadsheet"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a file, a folder or the prefix of a checkpoint, or code that builds a model",
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="an array, a glob, or a part of an array: 'fc/kernel[2:4, ..., ::-1]'",
    )
    parser.add_argument(
        "--all", action="store_true", help="print every value, however many there are"
    )
    parser.add_argument(
        "--to",
        choices=_FORMATS,
        help="write all values in this format (default: as the ending of --output says)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write them into this file (default: print them)"
    )
    add_opening(parser)
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.api.showing import format_for, showing

    if options.json and (options.to is not None or options.output is not None):
        raise InitregError("--json prints names, shapes and values. Leave out --to and --output")
    to = format_for(options.to, options.output)
    everything = options.all or options.json or to is not None
    given: dict[str, Any] = {**opening_of(options), **rules_of(options)}
    [source] = sources_with_rules(options, [options.source])
    with showing(source, tuple(options.names), everything, **given) as arrays:
        if options.json:
            write_pieces(_complete(_report(arrays)))
        elif to is None:
            for each in arrays:
                show(f"{each.heading}\n{each.to_text(_width())}")
        elif to != "json" and len(arrays) > 1:
            raise InitregError(
                f"--to {to} writes one array, and these are {len(arrays):,}. Name one, or write "
                "JSON: --to json"
            )
        elif options.output is None:
            _print(arrays, to)
        else:
            _write(arrays, to, options.output)
    return 0


def _width() -> int | None:
    """The width of the terminal. None if there is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def _report(arrays: Showing) -> Iterator[str]:
    """What ``Shown.to_dict`` returns, as JSON."""
    yield f'{{\n"source": {json.dumps(arrays.label)},\n"arrays": ['
    for number, each in enumerate(arrays):
        known = {
            "name": each.name,
            "index": each.index or None,
            "shape": list(each.shape),
            "dtype": each.dtype,
        }
        yield (",\n" if number else "\n") + json.dumps(known)[:-1] + ', "values":\n'
        yield from each.pieces("json")
        yield "}"
    yield "\n]}\n"


def _complete(pieces: Iterator[str]) -> Iterator[str]:
    """The same text, once the last of it is there: half a document is none.

    An array is read when it is printed, and may be damaged. A long text waits on the disk.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8", "surrogatepass"))
        file.seek(0)
        yield from io.TextIOWrapper(file, "utf-8", "surrogatepass", newline="")


def _pieces(arrays: Showing, to: str) -> Iterator[str]:
    """The text of a format. In JSON, several arrays are an object with their names."""
    if len(arrays) == 1:
        for each in arrays:
            yield from each.pieces(to)
        if to == "json":
            yield "\n"
        return
    for number, each in enumerate(arrays):
        yield ",\n" if number else "{\n"
        yield json.dumps(each.name + each.index) + ": "
        yield from each.pieces(to)
    yield "\n}\n"


def _print(arrays: Showing, to: str) -> None:
    """Write values to stdout."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    if to != "npy":
        pieces = _complete(_pieces(arrays, to))
        write_pieces((printable(each, keep="\n") for each in pieces) if is_terminal else pieces)
    elif is_terminal:
        raise InitregError("npy is not text. Write it into a file with --output, or into a pipe")
    else:
        for each in arrays:
            write_bytes(each.write_npy)


def _write(arrays: Showing, to: str, path: str) -> None:
    """Write values into a file, whole or not at all."""
    from initreg.storage.paths import real
    from initreg.storage.uploading import written_to

    with written_to(path, alone=True) as output:
        if str(output.path) in set(map(real, arrays.files)):
            raise UnwritableFile(f"{path}: the values are read from this file. Name another one")
        with open(output.file(), "wb") as file:
            if to == "npy":
                for each in arrays:
                    each.write_npy(file)
            else:
                file.writelines(piece.encode() for piece in _pieces(arrays, to))
    show(f"{path}: {', '.join(arrays.headings())}")
