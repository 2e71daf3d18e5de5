"""The parts that an index names: files beside it, and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

from initreg import DamagedFile, RefusedFile, Source

# What leads elsewhere, and control characters, which no writer of weights puts there.
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


def part_of(index: Path, name: str, what: str) -> Source:
    """A part by the name that an index gives it: a file in the folder where the index lies.

    Raises RefusedFile for a name that leads elsewhere, DamagedFile for a part that is missing.
    """
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name):
        raise RefusedFile(
            f"{what}: its part {name!r} is no plain file name; the parts must lie beside the index"
        )
    folder = index.parent
    path = folder.absolute() / name  # absolute, so that a leading ~ means nothing
    refuse_link_out(path, what, index)
    part = Source(path)
    if not part.exists:
        raise DamagedFile(
            f"{what}: part {name} is missing; it should lie beside the index, in {folder}. "
            "Download it too"
        )
    if not part.is_file:
        raise DamagedFile(f"{what}: its part {name} is no file")
    return part


def refuse_link_out(path: Path, what: str, main: Path | None = None) -> None:
    """Raise RefusedFile for a part that is a link out of its folder. ``main``: the file that the
    user named, or that names the parts; where it leads if it is a link, they may lead, too."""
    if path.is_symlink() and not _stays_home(path, main):
        raise RefusedFile(
            f"{what}: its part {path.name} is a link out of the folder, to "
            f"{os.path.realpath(path)}. If you trust it, put the file itself there"
        )


def _stays_home(link: Path, main: Path | None) -> bool:
    """Whether a link leads into its own folder, or, as every file of a Hugging Face snapshot
    does, into the ``blobs`` of the cached repository: ``snapshots/REVISION/x -> ../../blobs/y``."""
    target = Path(os.path.realpath(link)).parent
    folder = Path(os.path.realpath(link.parent))
    if target == folder or (main is not None and target == Path(os.path.realpath(main)).parent):
        return True
    return folder.parent.name == "snapshots" and target == folder.parent.parent / "blobs"
