"""The files of a checkpoint: that none is a link out of it or a failed download, and that they stay
what they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from initreg import DamagedFile, RefusedFile, Source

_MOST = 1_000_000


class Files:
    """All files of a folder.

    Args:
        folder: the folder.
        label: what messages call the source.

    Attributes:
        size: the size of all of them together, in bytes.

    Raises:
        RefusedFile: a file or a folder is a link to another place.
        DamagedFile: a file is what a failed download left.
    """

    def __init__(self, folder: Source, label: str) -> None:
        root = os.fspath(cast("Path", folder.path))  # a LocalOnly in a store
        self._label, self.size = label, 0
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        for where, folders, names in os.walk(root):
            above = Source(where, of=folder)
            for name in folders:
                if os.path.islink(os.path.join(where, name)):
                    raise RefusedFile(
                        f"{label}: its folder {name} is a link. If you trust it, put the folder "
                        "itself there"
                    )
            for name in names:
                part = above.part(name)
                path = cast("Path", part.path)
                self.size += part.size
                self._stamps[path] = _stamp(path)
                if len(self._stamps) > _MOST:
                    raise DamagedFile(f"{label}: has more than {_MOST:,} files")

    def check(self, below: Path) -> None:
        """Raise DamagedFile if a file in a folder is not the one any more that was listed."""
        for path, stamp in self._stamps.items():
            if path.is_relative_to(below) and _stamp(path) != stamp:
                raise DamagedFile(
                    f"{self._label}: {path.name} was replaced or written to after it was looked at "
                    "first. Open the checkpoint again"
                )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino
