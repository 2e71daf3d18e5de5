"""Which file it was: what tells one file from another of the same path."""

from __future__ import annotations

import os
from pathlib import Path

from initreg.records import record
from initreg.storage.stores import StoreStamp


@record()
class Stamp:
    """What identifies a file and its content, to notice if it is replaced or written to.

    Size and time of modification are not enough: ``rsync -t``, ``cp -p`` and ``tar`` keep the time
    of the file that they copy, and a program may set it. Nobody can set ``ctime_ns``, the time of
    the last change to the content or to what the system knows about the file.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int

    @classmethod
    def of(cls, file: Path | int) -> Stamp:
        """The stamp of a path or a descriptor. Raises OSError."""
        return cls.from_status(os.stat(file))

    @classmethod
    def from_status(cls, status: os.stat_result) -> Stamp:
        """The stamp in what ``os.stat`` returned."""
        return cls(
            status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino
        )


AnyStamp = Stamp | StoreStamp
