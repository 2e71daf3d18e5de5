"""The parts that an index names: files beside it, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from initreg import DamagedFile, RefusedFile, Source


def part_of(folder: Path, name: str, what: str) -> Source:
    """A part by the name that an index gives it: a file in ``folder``, where the index lies.

    Raises RefusedFile for a name that leads elsewhere, DamagedFile for a part that is missing.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise RefusedFile(
            f"{what}: its part {name!r} is no plain file name; the parts must lie beside the index"
        )
    path = folder.absolute() / name  # absolute, so that a leading ~ means nothing
    if path.is_symlink() and not _stays_home(path):
        raise RefusedFile(
            f"{what}: its part {name} is a link out of the folder, to {os.path.realpath(path)}. "
            "If you trust it, put the file itself beside the index"
        )
    part = Source(path)
    if not part.exists:
        raise DamagedFile(
            f"{what}: part {name} is missing; it should lie beside the index, in {folder}. "
            "Download it too"
        )
    if not part.is_file:
        raise DamagedFile(f"{what}: its part {name} is no file")
    return part


def _stays_home(link: Path) -> bool:
    """Whether a link leads into its own folder, or, as every file of a Hugging Face snapshot
    does, into the ``blobs`` of the cached repository: ``snapshots/REVISION/x -> ../../blobs/y``."""
    target = Path(os.path.realpath(link)).parent
    folder = Path(os.path.realpath(link.parent))
    if target == folder:
        return True
    return folder.parent.name == "snapshots" and target == folder.parent.parent / "blobs"
