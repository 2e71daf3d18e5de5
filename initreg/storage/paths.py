"""What is at a path, be it on the disk or in a store."""

from __future__ import annotations

import errno
import functools
import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from typing import BinaryIO, cast

from initreg.errors import UnreadableFile
from initreg.records import record
from initreg.storage.open_files import StoreFile
from initreg.storage.stamps import AnyStamp, Stamp
from initreg.storage.store_files import files_of
from initreg.store_paths import FilePath, StorePath


@record()
class Status:
    """What is at a path.

    Args:
        is_dir: whether it is a folder.
        is_file: whether it is a file. A pipe is neither.
        stamp: what identifies it.
    """

    is_dir: bool
    is_file: bool
    stamp: AnyStamp


_FOLDER = Stamp(0, 0, 0, 0, 0)  # of a store, in which a folder is only the beginning of names


def status(path: FilePath) -> Status | None:
    """What is at a path. None if nothing is there.

    Raises:
        OSError, UnreadableFile: it cannot be looked at.
    """
    if isinstance(path, StorePath):
        found = files_of(path).find(path.key)
        if found is None:
            return None
        return Status(found.stamp is None, found.stamp is not None, found.stamp or _FOLDER)
    try:
        here = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            return None
        raise
    return Status(stat.S_ISDIR(here.st_mode), stat.S_ISREG(here.st_mode), Stamp.from_status(here))


def modified_at(path: FilePath) -> float:
    """When a file was written, in seconds since the epoch. 0 if that is not known."""
    if isinstance(path, StorePath):
        found = files_of(path).find(path.key)
        return 0.0 if found is None else found.modified_at
    try:
        return os.stat(path).st_mtime
    except OSError:  # removed meanwhile
        return 0.0


def is_file(path: FilePath) -> bool:
    """Whether a path is that of a file that may be read."""
    return path.is_file() if isinstance(path, StorePath) else os.path.isfile(path)


def is_there(path: FilePath) -> bool:
    """Whether something is at a path, be it a link that leads nowhere."""
    return path.exists() if isinstance(path, StorePath) else os.path.lexists(path)


def which_are_there(folder: FilePath, names: Iterable[str]) -> set[str]:
    """Which of these names are in a folder. A store is asked for all of them at once."""
    names = list(names)
    if isinstance(folder, StorePath):
        files_of(folder).find_all([(folder / name).key for name in names])
    return {name for name in names if is_there(folder / name)}


def names_in(folder: FilePath) -> list[str] | None:
    """The names in a folder, in no order. None if its store cannot list.

    Raises:
        OSError, UnreadableFile: it cannot be listed.
    """
    if isinstance(folder, StorePath):
        found = files_of(folder).names(folder.key)
        return None if found is None else list(found)
    try:
        return os.listdir(folder)
    except ValueError as error:  # a NUL in the path
        raise OSError(errno.EINVAL, str(error), os.fspath(folder)) from error


def listed(folder: FilePath) -> list[str]:
    """The names in a folder, in no order. None of them if it cannot be listed."""
    try:
        return names_in(folder) or []
    except (OSError, UnreadableFile):
        return []


def is_inside(path: FilePath, folder: FilePath) -> bool:
    """Whether a path leads to something in a folder, after its links."""
    if isinstance(path, StorePath) or isinstance(folder, StorePath):
        if not (isinstance(path, StorePath) and isinstance(folder, StorePath)):
            return False
        home = _normal(folder)
        return path.files is folder.files and posixpath.commonpath([home, _normal(path)]) == home
    real = os.path.realpath(folder)
    return os.path.commonpath([real, os.path.realpath(path)]) == real


def _normal(path: StorePath) -> str:
    return posixpath.normpath("/" + path.key.lstrip("/"))


def real(path: FilePath) -> str:
    """A path with its links followed, for a message. A store has no links."""
    return str(path) if isinstance(path, StorePath) else os.path.realpath(path)


def opened(path: FilePath) -> BinaryIO:
    """Open a file for reading bytes. Raises OSError."""
    if isinstance(path, StorePath):
        return cast("BinaryIO", StoreFile(files_of(path), path.key))
    return open(path, "rb")


def read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """At most ``size`` bytes of an open file from ``offset``, as ``os.pread``.

    It can be called from several threads.
    """
    if isinstance(file, StoreFile):
        return file.pread(size, offset)
    return os.pread(file.fileno(), size, offset)


def pread_of(file: BinaryIO) -> Callable[[int, int], bytes]:
    """:func:`read_at` of one file, for those that call it often."""
    if isinstance(file, StoreFile):
        return file.pread
    return functools.partial(os.pread, file.fileno())


def stamp_of(file: BinaryIO) -> AnyStamp:
    """The stamp of an open file."""
    if isinstance(file, StoreFile):
        return file.stamp
    return Stamp.of(file.fileno())
