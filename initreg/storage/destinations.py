"""Saves into what the user has opened: a file, a ``BytesIO``, a pipe, a member of a zip archive.

A format writes a file on the disk, as always. When it is complete, it is copied to where the open
file stands. So a save that fails before that has not touched the open file. If the copy fails, the
open file is cut off where it ended before, if that is possible, and the error says if it is not.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from pathlib import Path
from typing import Any, Protocol

from initreg.errors import InitregError, UnwritableFile, brief, one_line
from initreg.storage.locating import is_remote
from initreg.storage.output import Output

_PIECE = 1 << 20
_CLOSED = "the file is closed"


class Destination(Protocol):
    """Something that the user has opened, which one file can be written into.

    Attributes:
        name: what the file is called, ``""`` if that is not known.
        label: what to call it in a message.
    """

    name: str
    label: str

    def check(self) -> None:
        """Raise InitregError if it cannot take a file now. Nothing is changed."""
        ...

    def write(self, file: Path) -> None:
        """Write all bytes of a file. Raises UnwritableFile."""
        ...


class OneFile(Output):
    """The output of a format that may write only one file."""

    def file(self, name: str | None = None, like: Any = ()) -> Path:
        refuse_second(str(self.path), self.path.name, name)
        return super().file(name, like)


def refuse_second(label: str, expected: str, name: str | None) -> None:
    """Raise InitregError if a format asks for another file than the one that there can be."""
    if name not in (None, expected):
        raise InitregError(
            f"{label}: this format has several files, such as {name!r}, and an open file takes "
            "one. Save to a path or a URL, or in another format"
        )


def destination_of(obj: Any) -> Destination | None:
    """What the user has opened. None for a path or a URL.

    Raises:
        InitregError: nothing can be written into such an object.
    """
    # Some open files have the path of their file, and some paths can write.
    is_path = isinstance(obj, os.PathLike) and not hasattr(obj, "closed")
    if isinstance(obj, str) or is_path or is_remote(obj):
        return None
    zipfile = sys.modules.get("zipfile")
    if zipfile is not None and isinstance(obj, zipfile.Path):
        return Member(obj)
    kind = type(obj).__name__
    if zipfile is not None and isinstance(obj, zipfile.ZipFile):
        raise InitregError(
            f"{_archive(obj)}: an archive takes several files. Say which one this is: "
            "zipfile.Path(archive, 'model.npz')"
        )
    if callable(getattr(obj, "write", None)) and not isinstance(obj, type):
        return OpenFile(obj)
    if hasattr(obj, "joinpath") and hasattr(obj, "iterdir"):
        raise InitregError(f"{obj}: a resource of a package can only be read. Save to a path")
    what = f"the class {obj.__name__}" if isinstance(obj, type) else f"of type {kind}"
    more = ", here the one of its makefile('wb')" if hasattr(obj, "makefile") else ""
    raise InitregError(
        f"the destination is {what}: give a path, a URL, an open binary file{more}, or a "
        "zipfile.Path"
    )


class OpenFile:
    """An open binary file, or whatever has ``write()``."""

    def __init__(self, file: Any) -> None:
        self._file = file
        given = getattr(file, "name", None)
        self.name = os.path.basename(given) if isinstance(given, str) else ""
        self.label = one_line(f"<{type(file).__name__} {self.name or 'file'!r}>")
        # What is below the buffer of a file on the disk. After an error, a buffer would try to
        # write the same bytes again, when the file is moved or closed.
        raw = getattr(file, "raw", None)
        self._raw = raw if isinstance(raw, io.FileIO) else None

    def check(self) -> None:
        file = self._file
        if getattr(file, "closed", False):
            raise InitregError(f"{self.label}: {_CLOSED}")
        mode = getattr(file, "mode", None)
        if isinstance(file, io.TextIOBase) or (isinstance(mode, str) and "b" not in mode):
            other = "its .buffer" if hasattr(file, "buffer") else "a BytesIO"
            raise InitregError(
                f"{self.label}: it takes text. Open it with mode 'wb', or give {other}"
            )
        writable = getattr(file, "writable", None)
        if callable(writable) and not writable():
            raise InitregError(
                f"{self.label}: the file was opened for reading. Open it with mode 'wb'"
            )
        place = self._place()
        if place is not None and place[0] < place[1]:
            at, end = place
            raise InitregError(
                f"{self.label}: {end - at:,} bytes come after its position, {at:,}, and they would "
                "be left behind what is saved. To drop them, call file.truncate(). To save after "
                "them, call file.seek(0, 2)"
            )

    def _place(self) -> tuple[int, int] | None:
        """The position where writing begins, and the end of the file. None if it cannot seek."""
        file = self._file
        mode = getattr(file, "mode", "")
        try:
            if not file.seekable() or not self._is_regular():
                return None
            at = int(file.tell())
            file.seek(0, io.SEEK_END)
            end = int(file.tell())
            if isinstance(mode, str) and "a" in mode:
                return end, end
            file.seek(at)
        # A GzipFile cannot seek to its end, and files of libraries have errors of their own.
        except Exception:
            return None
        return at, end

    def _is_regular(self) -> bool:
        """Whether it is not a pipe or a device."""
        return self._raw is None or stat.S_ISREG(os.fstat(self._raw.fileno()).st_mode)

    def write(self, file: Path) -> None:
        size = file.stat().st_size
        done = 0
        place = None
        try:
            self._flush()  # what the user has written
            self.check()  # the arrays may have come from it
            place = self._place()
            if self._raw is not None and place is not None:
                self._raw.seek(place[0])
            with open(file, "rb") as source:
                while piece := source.read(_PIECE):
                    while piece:
                        count = self._some(piece)
                        done += count
                        piece = piece[count:]
            self._flush()
            if self._raw is not None and place is not None:
                self._file.seek(0, io.SEEK_END)  # which the buffer does not know of
        except BaseException as error:
            left = self._undone(place, done)
            if isinstance(error, InitregError) or not isinstance(error, Exception):
                raise
            raise UnwritableFile(
                f"{self.label}: writing failed after {done:,} of {size:,} bytes: {brief(error)}. "
                + left
            ) from error

    def _some(self, piece: bytes) -> int:
        """Write some of these bytes, and return how many."""
        target = self._file if self._raw is None else self._raw
        count = target.write(piece)
        if count is None:
            if isinstance(target, io.RawIOBase):
                raise OSError("it does not wait until there is room. Use a blocking file")
            return len(piece)  # of a file that does not say
        if not 0 < count <= len(piece):
            raise OSError(f"write() returned {count!r}")
        return int(count)

    def _flush(self) -> None:
        flush = getattr(self._file, "flush", None)
        if callable(flush):
            flush()

    def _undone(self, place: tuple[int, int] | None, done: int) -> str:
        """Cut off what was written. Returns what to say of it."""
        if place is None:
            return "They cannot be taken back" if done else "Nothing was written"
        at, end = place
        try:
            (self._file if self._raw is None else self._raw).truncate(end)
            self._file.seek(0, io.SEEK_END)
            if at != end:
                self._file.seek(at)
        except Exception as error:
            if self._place() != place:
                return f"What was written cannot be cut off: {brief(error)}. Call truncate({end})"
        return "The file is as it was"


class Member:
    """A member of a zip archive that is open for writing, a ``zipfile.Path``."""

    def __init__(self, path: Any) -> None:
        self._archive = path.root
        self._at = path.at
        self.name = path.at.rpartition("/")[2]
        self.label = one_line(f"{_archive(path.root)}/{path.at}")

    def check(self) -> None:
        archive = self._archive
        if archive.fp is None:
            raise InitregError(f"{self.label}: the archive is closed")
        if not self.name:
            raise InitregError(f"{self.label}: is a folder. Give the name of a file in it")
        if archive.mode == "r":
            raise InitregError(
                f"{self.label}: the archive is open for reading. Open it for writing: "
                f"zipfile.Path(zipfile.ZipFile(archive, 'a'), {self._at!r})"
            )
        if getattr(archive, "_writing", False):
            raise InitregError(
                f"{self.label}: another member of the archive is being written. Close that first"
            )
        if self._at in archive.NameToInfo:
            raise InitregError(
                f"{self.label}: the archive has such a member, and an archive cannot replace one. "
                "Choose another name"
            )

    def write(self, file: Path) -> None:
        self.check()  # the arrays may have come from it
        file.chmod(0o644)  # which the archive records
        archive, start = self._archive, self._archive.start_dir
        try:
            archive.write(file, self._at)
        except BaseException as error:
            # What there is of it may be listed. Where the archive refused to begin, there is none.
            info = archive.NameToInfo.pop(self._at, None)
            if info is not None:
                archive.filelist.remove(info)
            if info is not None or not isinstance(error, ValueError):
                archive.start_dir = start
                with contextlib.suppress(Exception):
                    archive.fp.seek(start)
                    archive.fp.truncate()
            if not isinstance(error, Exception):
                raise
            raise UnwritableFile(
                f"{self.label}: writing failed: {brief(error)}. The archive does not list it"
            ) from error


def _archive(archive: Any) -> str:
    name = archive.filename
    return os.fspath(name) if isinstance(name, (str, os.PathLike)) else "<zip>"
