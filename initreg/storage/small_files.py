"""Small files that lie beside a source and say something of it: read whole, if that is safe."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from initreg.errors import DamagedFile, UnreadableFile


class _NoFile(OSError):
    """A pipe, a device or a socket."""


def opened(path: Path) -> BufferedReader:
    """A file, open for reading bytes. Raises OSError, also for what is none: a pipe would be
    waited for."""
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _NoFile(errno.EINVAL, "is no file", os.fspath(path))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def plain_name(name: object) -> str:
    """The name of a file beside the sidecar that says it. Raises ValueError for what is none, or
    leads elsewhere."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or not {"/", os.sep, "\0"}.isdisjoint(name)
    ):
        raise ValueError(f"{name!r} is no name of a file beside it")
    return name


def content(path: Path, largest: int, what: str) -> bytes:
    """The bytes of a sidecar, which is called ``what`` and has at most ``largest`` of them. Raises
    DamagedFile, UnreadableFile."""
    try:
        with opened(path) as file:
            # Not more than there is: read() allocates what it is asked for before it looks.
            data = file.read(min(os.fstat(file.fileno()).st_size, largest + 1))
    except _NoFile as error:
        raise DamagedFile(f"{path}: is no file") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > largest:
        raise DamagedFile(f"{path}: {what} has at most {largest:,} bytes")
    return data
