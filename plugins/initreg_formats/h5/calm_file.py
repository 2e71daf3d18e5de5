"""A file that hides errors from HDF5 while HDF5 writes to it.

HDF5 1.14.6 does not survive an error. On a full disk it fails to close its objects, again and
again, and ends the process with a segmentation fault (measured, with a limit on the file's size).
So an error is kept until the HDF5 file is closed, and is raised then.
"""

from __future__ import annotations

import io
import os
from typing import Any

_KEPT = 1 << 20  # bytes; HDF5 reads back only its own records, which are smaller than that


class CalmFile:
    """A file object for h5py.

    ``error`` is the first error. Nothing is written after it: close the HDF5 file, and raise it.
    """

    def __init__(self, file: io.FileIO) -> None:
        self.error: BaseException | None = None
        self._file = file
        self._at = 0
        self._end = 0
        self._kept: list[tuple[int, bytes]] = []  # what was not written, and where it belongs

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_CUR: self._at, os.SEEK_END: self._end}.get(whence, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                self._file.seek(self._at)
                rest = view
                while rest:
                    rest = rest[self._file.write(rest) :]
            except BaseException as error:  # an interrupt too
                self.error = error
        if self.error is not None and len(view) <= _KEPT:
            self._kept.append((self._at, bytes(view)))
        self._at += len(view)
        self._end = max(self._end, self._at)
        return len(view)

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        try:
            self._file.seek(self._at)
            self._file.readinto(view)
        except BaseException as error:
            self.error = self.error or error
        for start, data in self._kept:
            begin, end = max(start, self._at), min(start + len(data), self._at + len(view))
            if begin < end:
                view[begin - self._at : end - self._at] = data[begin - start : end - start]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        self._end = size
        if self.error is None:
            try:
                self._file.truncate(size)
            except BaseException as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Does nothing, because the file has no buffer."""
