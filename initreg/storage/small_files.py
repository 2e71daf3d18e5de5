"""Reading small files that belong to a source, such as manifests, safely and completely."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

from initreg.errors import DamagedFile, UnreadableFile
from initreg.storage.open_files import StoreFile
from initreg.storage.stand_ins import HEAD, stand_in
from initreg.storage.store_files import files_of
from initreg.store_paths import FilePath, StorePath


class _NoFile(OSError):
    """It is a pipe, a device or a socket."""


def opened(path: FilePath) -> BinaryIO:
    """Open a regular file for reading bytes. The caller closes it.

    Raises:
        OSError: it cannot be read, or it is not a regular file. A pipe would block the reader.
    """
    if isinstance(path, StorePath):
        if not path.exists():
            raise OSError(errno.ENOENT, "no such file", str(path))
        return cast("BinaryIO", StoreFile(files_of(path), path.key))
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _NoFile(errno.EINVAL, "is not a regular file", os.fspath(path))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def listed(folder: FilePath | str) -> list[str]:
    """The names in a folder.

    Raises:
        OSError: the folder cannot be listed. So is a path with NUL, for which Python has another
            exception.
    """
    if isinstance(folder, StorePath):
        return list(files_of(folder).names(folder.key) or ())
    try:
        return os.listdir(folder)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), os.fspath(folder)) from error


def real(path: FilePath) -> FilePath:
    """A path with its links followed. One that cannot be followed is returned as it is."""
    if isinstance(path, StorePath):
        return path
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return Path(path)


def plain_name(name: object) -> str:
    """Check the name of a file that another file in the same folder refers to.

    Raises:
        ValueError: it is not the name of a file, or it leads to another folder.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or not {"/", "\0"}.isdisjoint(name):
        raise ValueError(f"{name!r} is not the name of a file in the same folder")
    return name


def content(path: FilePath, largest: int, what: str, is_json: bool = False) -> bytes:
    """Read all bytes of a small file.

    Args:
        path: the file.
        largest: how many bytes it may have.
        what: what to call it in an error: ``"a manifest"``.
        is_json: whether initreg itself wrote it, as JSON. Then a web page is not it.

    Raises:
        DamagedFile: it is larger, it is not a regular file, or it is what a failed download left.
        UnreadableFile: the system cannot read it.
    """
    try:
        with opened(path) as file:
            # Ask for no more than there is: read() allocates that much before it reads.
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            data = file.read(min(size, largest + 1))
    except _NoFile as error:
        raise DamagedFile(f"{path}: this is not a regular file") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > largest:
        raise DamagedFile(f"{path}: the file is too large: {what} has at most {largest:,} bytes")
    if is_json and (found := stand_in(data[:HEAD], len(data))):
        raise DamagedFile(f"{path}: this is {found}")
    return data
