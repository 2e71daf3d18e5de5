"""Stores of what the user has opened already: files, ``BytesIO``, archives, package resources."""

from __future__ import annotations

import io
import os
import threading
import weakref
from typing import Any

from initreg.storage.stores import Found, Replaced, StoreError, StoreStamp

_SHARED = (
    "it was opened before this process was forked, which moves its position in both. Open it again"
)


class FileStore:
    """One open binary file. Its position is where it was after each read.

    Args:
        file: the file, which can seek.
        name: what to call it.
    """

    concurrency = 1

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.key = name
        self._fileno = _fileno(file)
        self._is_shared = False  # its position, with the parent of a fork
        if self._fileno is not None and not file.closed and file.writable():
            file.flush()  # what was written is read, too

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._is_shared = self._fileno is None and not isinstance(self._file, io.BytesIO)

    def url(self, key: str) -> str:
        return f"<{type(self._file).__name__} {key!r}>"

    def find(self, key: str) -> Found | None:
        return Found(self._stamp()) if key == self.key else None

    def names(self, key: str) -> list[str]:
        raise StoreError("an open file lies in no folder that could be listed")

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        with self._lock:
            if self._file.closed:
                raise StoreError("the file was closed")
            if self._is_shared:
                raise StoreError(_SHARED)
            if self._fileno is not None:
                data = os.pread(self._fileno, length, offset)
            else:
                data = self._at(offset, length)
        if len(data) != length or self._stamp() != stamp:
            raise Replaced()
        return data

    def _at(self, offset: int, length: int) -> bytes:
        before = self._file.tell()
        try:
            self._file.seek(offset)
            found = []
            while length and (piece := self._file.read(length)):
                found.append(piece)
                length -= len(piece)
            return b"".join(found)
        finally:
            self._file.seek(before)

    def _stamp(self) -> StoreStamp:
        with self._lock:
            if self._file.closed:
                raise StoreError("the file was closed")
            if self._fileno is not None:
                status = os.fstat(self._fileno)
                return StoreStamp(status.st_size, f"{status.st_mtime_ns} {status.st_ctime_ns}")
            before = self._file.tell()
            try:
                return StoreStamp(self._file.seek(0, io.SEEK_END), "")
            finally:
                self._file.seek(before)


def _fileno(file: Any) -> int | None:
    """The descriptor of a file whose bytes are as they are on disk. None for any other."""
    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO):
        return None  # gzip.GzipFile has the descriptor of the packed file
    return raw.fileno()


class TraversableStore:
    """A ``zipfile.Path``, a resource of a package, or any other ``Traversable``.

    Args:
        root: what keys are below of.
        prefix: what to call the root in a message.
        key: the key of ``root`` itself, if it is a file.
    """

    concurrency = 1

    def __init__(self, root: Any, prefix: str, key: str = "") -> None:
        self._root = root
        self._prefix = prefix
        self.key = key
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}
        weakref.finalize(self, _close_all, self._opened)
        self._is_shared = False

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._is_shared = True

    def url(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def _at(self, key: str) -> Any | None:
        """What is at a key. None if nothing is there."""
        if self.key:
            return self._root if key == self.key else None
        found = self._root
        for name in filter(None, key.split("/")):
            if name == "..":
                return None
            found = found / name
        return found if found.is_file() or found.is_dir() else None

    def find(self, key: str) -> Found | None:
        with self._lock:
            found = self._at(key)
            if found is None:
                return None
            return Found(None) if found.is_dir() else Found(StoreStamp(self._size(key), ""))

    def names(self, key: str) -> list[str]:
        with self._lock:
            found = self._at(key)
            if found is None or not found.is_dir():
                raise StoreError("there is no such folder")
            return [each.name for each in found.iterdir()]

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        with self._lock:
            if self._is_shared:
                raise StoreError(_SHARED)
            if self._size(key) != stamp.size:
                raise Replaced()
            file = self._file(key)
            file.seek(offset)
            data: bytes = file.read(length)
            return data

    def _size(self, key: str) -> int:
        size: int = self._file(key).seek(0, io.SEEK_END)
        return size

    def _file(self, key: str) -> Any:
        file = self._opened.get(key)
        if file is None:
            at = self._at(key)
            if at is None:
                raise Replaced("it was removed")
            file = at.open("rb")
            if not file.seekable():
                with file:
                    file = io.BytesIO(file.read())
            self._opened[key] = file
        return file


def _close_all(files: dict[str, Any]) -> None:
    for file in files.values():
        file.close()
