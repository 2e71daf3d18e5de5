"""Looking at files that may be on the disk, in a store, or open already.

``Source.path`` is a ``pathlib.Path`` only for local files. These functions take any of them, and so
a format that uses them, ``Source.part`` and ``Source.read`` works everywhere.
"""

from initreg.storage.paths import (
    is_file,
    is_inside,
    is_there,
    listed,
    pread_of,
    read_at,
    real,
    stamp_of,
    which_are_there,
)
from initreg.store_paths import FilePath

__all__ = [
    "FilePath",
    "is_file",
    "is_inside",
    "is_there",
    "listed",
    "pread_of",
    "read_at",
    "real",
    "stamp_of",
    "which_are_there",
]
