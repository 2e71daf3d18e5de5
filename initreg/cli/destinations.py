"""What stands where ``convert`` is to write. Something that would be lost needs ``--force``.

Who forgets the destination names a source in its place: ``initreg convert base.npz head.npz``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from initreg.errors import InitregError, SourceNotFound, UnwritableFile
from initreg.option_spelling import option

if TYPE_CHECKING:
    from initreg.arrays.array_map import ArrayMap

_SHOWN = 3  # names in a message


def overridden(maps: Iterable[ArrayMap]) -> dict[str, list[str]]:
    """The sources that have a name, for each name that several have. The last one wins."""
    suppliers: dict[str, list[str]] = {}
    for opened in maps:
        for name in opened:
            suppliers.setdefault(name, []).append(opened.label)
    return {name: labels for name, labels in suppliers.items() if len(labels) > 1}


def refuse_loss(destination: str, to: str | None, maps: Sequence[ArrayMap]) -> None:
    """Refuse to replace what the same conversion would not have written.

    Args:
        destination: the path to write.
        to: the format to write, or None if the extension decides.
        maps: the open sources.

    Raises:
        UnwritableFile: one of the sources is there, or a file of another format, or one with arrays
            that the sources lack.
        UnknownFormat: no format has this extension.
    """
    from initreg.api.opening_options import Opening
    from initreg.api.saving import saver_for
    from initreg.plugin.installed import default_registry
    from initreg.plugin.source import Source
    from initreg.storage.paths import real

    if not destination:
        return  # the save says so
    there = Source(destination)
    if there.is_dir or (there.exists and not there.size):
        return  # a folder, which no save replaces, or an empty file
    try:
        probe = default_registry().probe(there)
    except SourceNotFound:
        return
    writes = to if to is not None else saver_for(destination)
    if probe.winner != writes:
        is_ = f"a file of the format {probe.winner}" if probe.winner else "no file of weights"
        raise _loss(destination, f"is {is_}, and {writes} would be written")
    names = {name for opened in maps for name in opened}
    try:
        with Opening(probe.winner).open(destination) as old:
            files = set(map(real, old.files))
            lost = [name for name in old if name not in names]
    except InitregError as error:
        raise _loss(destination, f"cannot be opened as {writes}") from error
    if any(files & set(map(real, opened.files)) for opened in maps):
        raise _loss(destination, "is one of the sources")
    if lost:
        more = f" and {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else ""
        what = ", ".join(lost[:_SHOWN]) + more
        raise _loss(destination, f"has arrays that would not be in the new file: {what}")


def refuse_existing(destination: str) -> None:
    """Refuse to replace a model, whatever is in it. An empty file is no model.

    Args:
        destination: the path to write.

    Raises:
        UnwritableFile: there is a file, or the checkpoint of this prefix.
    """
    from initreg.plugin.installed import default_registry
    from initreg.plugin.source import Source

    there = Source(destination)
    if there.is_dir or (there.exists and not there.size):
        return
    try:
        default_registry().probe(there)
    except SourceNotFound:
        return
    raise _loss(destination, "would be replaced")


def _loss(destination: str, why: str) -> UnwritableFile:
    return UnwritableFile(
        f"{destination}: the file exists and {why}. The destination comes last. To replace what is "
        "there, pass " + option("force", True)
    )
