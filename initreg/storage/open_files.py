"""A file of a store, with the interface of an open file."""

from __future__ import annotations

import functools
import io
from typing import Any

from initreg.storage.segments import Segments
from initreg.storage.store_files import StoreFiles
from initreg.storage.stores import StoreStamp

_RUN = 1 << 20  # bytes that are read one after the other, from which on they are read ahead
_TIMES_RUN = 4  # as many as that, but
_WINDOW = 32 << 20  # bytes at most


class StoreFile(io.RawIOBase):
    """An open file of a store, read-only. Its bytes are kept by the store."""

    def __init__(self, files: StoreFiles, key: str) -> None:
        self._files = files
        self._key = key
        self._at = 0
        self._ended = 0  # where the last read ended
        self._run = 0  # how many bytes were read one after the other
        self._ahead = Segments()
        self.name = files.store.url(key)

    def pread(self, size: int, offset: int) -> bytes:
        """As ``os.pread``."""
        return self._files.pread(self._key, size, offset)

    @property
    def stamp(self) -> StoreStamp:
        return self._files.stamp(self._key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        if base is None:
            base = self._files.stamp(self._key).size
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        found = self._next(len(view))
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, self._files.stamp(self._key).size - self._at)
        found = self._next(size)
        self._at += len(found)
        return found

    def _next(self, size: int) -> bytes:
        """The next bytes. Whoever reads a large part from front to back gets it by windows."""
        size = max(0, min(size, self._files.stamp(self._key).size - self._at))
        found = self._ahead.get(self._at, size)
        if found is None:
            self._run = self._run + size if self._at == self._ended else size
            if self._run <= _RUN:
                found = self.pread(size, self._at)
            else:
                length = max(size, min(_WINDOW, _TIMES_RUN * self._run))
                self._ahead = self._files.window(self._key, self._at, length)
                found = self._ahead.get(self._at, size)
                assert found is not None
                self._run += length - size
        self._ended = self._at + size
        return found

    readall = functools.partialmethod(read, -1)
