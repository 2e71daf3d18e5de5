"""An output that writes nothing: for a save that is only tried."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from initreg.errors import UnwritableFile
from initreg.storage.destinations import refuse_second
from initreg.storage.output import Output


class Enough(BaseException):
    """A format has checked all that it checks before it writes."""


class Rehearsal(Output):
    """An output for a save that ends where its first file would be made.

    Formats check names, dtypes and options before. Nothing is made on the disk, and no folder is
    locked.

    Args:
        path: where the save would be, as messages call it.
        is_elsewhere: whether that is a URL or an open file, of which only the name is looked at.
        is_open: whether it is an open file, which takes one file.
    """

    def __init__(self, path: str, is_elsewhere: bool = False, is_open: bool = False) -> None:
        super().__init__(path.rpartition("/")[2] or "x" if is_elsewhere else path)
        self._is_remote = is_elsewhere
        self._is_open = is_open
        if is_elsewhere:
            self.label = path
        elif not self.folder.is_dir():
            raise UnwritableFile(f"{self.label}: the folder {self.folder} does not exist")
        elif not os.access(self.folder, os.W_OK):
            raise UnwritableFile(f"{self.label}: the folder {self.folder} cannot be written to")

    def file(self, name: str | None = None, like: Iterable[str] = ()) -> NoReturn:
        """Check that such a file could be made.

        Raises:
            Enough: it could.
            UnwritableFile: it could not.
        """
        if self._is_open:
            refuse_second(self.label, self.path.name, name)
        name = self.path.name if name is None else name
        if not self._is_remote:
            if (self.folder / name).is_dir():
                raise UnwritableFile(
                    f"{self.folder / name}: the path is a folder, which a file cannot replace"
                )
            self._check_regular(name)
        raise Enough

    def take(self, path: Path, name: str, like: Iterable[str] = ()) -> NoReturn:
        """The same for a file that would be renamed."""
        self.file(name, like)

    def is_free(self, name: str) -> bool:
        """Whether no file has the name now."""
        return self._is_remote or not os.path.lexists(self.folder / name)
