"""The verb ``convert``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initreg.cli.flags import flags
from initreg.cli.options import (
    add_for,
    add_opening,
    add_rules,
    add_sources,
    metadata_of,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.printing import show, show_json
from initreg.cli.screen import show_fitted
from initreg.errors import RuleError, SourceNotFound

if TYPE_CHECKING:
    from initreg.arrays.array_map import ArrayMap
    from initreg.rules.keywords import Rules

SUMMARY = "Write the arrays of sources into one file, of any format."
EXAMPLES = (
    ("initreg convert model.ckpt model.safetensors", "another format"),
    ("initreg convert base.npz head.npz all.npz", "two files in one"),
    ("initreg convert a.npz b.npz --cast float16", "half the size"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="the file or the prefix of the checkpoint to write; its extension decides the format",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a destination that is a source, is of another format, or has other arrays",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would be written, and write nothing",
    )
    parser.add_argument(
        "--all", action="store_true", help="with --dry-run, show every name, however many there are"
    )
    add_opening(parser)
    add_saving(parser)
    rules = add_rules(parser)
    add_for(parser, rules)
    rules.add_argument(
        "--reverse",
        metavar="FILE",
        action="append",
        help="undo the rules of a rule file: take a model back to the names and axes that it came "
        "from",
    )


def add_saving(parser: argparse.ArgumentParser) -> None:
    """Add the options of saving."""
    group = parser.add_argument_group("saving", "How the file is written.")
    group.add_argument("--to", metavar="FORMAT", help="the format to write, whatever the extension")
    group.add_argument(
        "--compress", action="store_true", help="compress the arrays (npz and HDF5 only)"
    )
    group.add_argument(
        "--shard-size",
        metavar="SIZE",
        help="the largest file, such as 5GB (safetensors only)",
    )
    group.add_argument(
        "--manifest",
        action="store_true",
        help="write digests beside the file, for 'initreg verify'",
    )
    group.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        help="a text to save beside the arrays, with those of the sources (safetensors only)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0. After an error, nothing is written."""
    from initreg.api.chain import Link, flatten, open_chain
    from initreg.api.opening_options import opening_of as opening
    from initreg.api.saving import convert
    from initreg.cli.destinations import overridden, refuse_loss

    like = Link(None, opening(opening_of(options), "convert"), (_rules(options),))
    with ExitStack() as stack, progress_bar() as progress:
        maps = open_chain(flatten(sources_of(options), like), stack)
        if not options.force:
            refuse_loss(options.destination, options.to, maps)
        path = convert(
            maps,
            options.destination,
            to=options.to,
            compress=options.compress,
            shard_size=options.shard_size,
            manifest=options.manifest,
            metadata=metadata_of(options),
            progress=progress,
            dry_run=options.dry_run,
        )
        names = overridden(maps)
        if options.dry_run:
            _show_rehearsal(options, maps, str(path), names)
            return 0
    found = written_to(path, options.to)
    if options.json:
        show_json(found | {"overridden": names} if names else found)
    else:
        show_fitted(written_text(found))
        show_overridden(names)
    return 0


def _rules(options: argparse.Namespace) -> Rules:
    """The rules that were typed, or those that undo a file.

    Raises:
        RuleError: both were typed, or a rule is wrong.
    """
    from initreg.rules.keywords import Rules

    typed = rules_of(options)
    if not options.reverse:
        return Rules.of(**typed)
    if typed:
        raise RuleError(
            f"--reverse {options.reverse[0]} and {flags(dict.fromkeys(typed, ...))}: are these "
            "to be undone as well, or applied afterwards? Write them into the file, or convert "
            "twice"
        )
    made = Rules.of(rules=options.reverse)
    if not made:
        raise RuleError(f"--reverse {options.reverse[0]}: there are no rules to undo")
    return made.reversed()


def _show_rehearsal(
    options: argparse.Namespace,
    maps: Sequence[ArrayMap],
    path: str,
    names: Mapping[str, Sequence[str]],
) -> None:
    """Print what would be written, and what it would replace."""
    from initreg.api.chain import merged
    from initreg.plugin.installed import default_registry
    from initreg.plugin.source import Source
    from initreg.text.wording import names_text, plural, printable, shape_text, size_text

    specs = [array.spec for array in merged(maps).values()]
    nbytes = sum(spec.nbytes or 0 for spec in specs)
    try:
        replaces = bool(default_registry().probe(Source(path)).source)
    except SourceNotFound:  # also for the prefix of a checkpoint
        replaces = False
    if options.json:
        arrays = [{"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in specs]
        found = {"path": path, "arrays": arrays, "nbytes": nbytes, "replaces": replaces}
        show_json(found | {"dry_run": True} | ({"overridden": names} if names else {}))
        return
    what = f"{plural(len(specs), 'array')} of {size_text(nbytes)}"
    show(f"{printable(path)}: would be written, with {what}" + ", and replaced" * replaces)
    entries = [(printable(s.name), f"{shape_text(s.shape)} {s.dtype}") for s in specs]
    for line in names_text(entries, None if options.all else 20, more="--all shows them all"):
        show("  " + line)
    show_overridden(names)


def show_overridden(names: Mapping[str, Sequence[str]]) -> None:
    """Print the names that several sources have, and which source each array is from."""
    from initreg.text.wording import names_text, plural

    if names:
        show_fitted(f"{plural(len(names), 'name')} in several sources, of which the last one wins")
        entries = [(name, "from " + ", not ".join(labels[::-1])) for name, labels in names.items()]
        for line in names_text(entries, None):
            show_fitted("  " + line)


def written_to(path: Path | str, format: str | None) -> dict[str, Any]:
    """What was written: the path to open, the number of arrays, and the bytes of the files."""
    from initreg.api.opening import open as open_source
    from initreg.plugin.source import Source
    from initreg.storage.paths import real, status

    with open_source(path, format=format) as opened:
        given = Source(path).path
        assert given is not None
        files = {real(file): file for file in (given, *opened.files)}
        count = len(opened)
    found = [status(file) for file in files.values()]
    sizes = [each.stamp.size for each in found if each is not None and each.is_file]
    return {"path": str(path), "arrays": count, "nbytes": sum(sizes)}


def written_text(found: dict[str, Any]) -> str:
    from initreg.text.wording import plural, printable, size_text

    path, count, nbytes = printable(found["path"]), found["arrays"], found["nbytes"]
    return f"{path}: {plural(count, 'array')}, {size_text(nbytes)}"


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A function that shows the bytes done and all bytes, or None if stderr is not a terminal."""
    from initreg.api.progressing import shown

    with shown(True) as report:
        yield report
