"""One open HDF5 file, on its own or inside an archive, and how much memory its size justifies."""

from __future__ import annotations

import contextlib
import fcntl
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from initreg import (
    DamagedFile,
    InitregError,
    OpenOptions,
    RefusedFile,
    Source,
    UnreadableFile,
)
from initreg_formats.h5.claiming import signature_at
from initreg_formats.h5.structures import Structures

if TYPE_CHECKING:
    import h5py

_HEAD = 4096  # bytes, in which the superblock begins
_SLACK = 1 << 20  # bytes that any file may ask for, such as those of datasets never written to


@contextlib.contextmanager
def h5_errors(what: str) -> Iterator[None]:
    """Turn whatever h5py raises for a damaged file into a DamagedFile that names ``what``."""
    try:
        yield
    except InitregError:
        raise
    except MemoryError as error:
        raise DamagedFile(
            f"{what}: reading it needs more memory than there is. Download or copy the file again, "
            "or free memory"
        ) from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).strip("'\"").split())
        raise DamagedFile(
            f"{what}: HDF5 cannot read it: {reason[:300]}. Download or copy the file again"
        ) from error


class Window(io.RawIOBase):
    """``length`` bytes of ``file`` from ``start``, as a file of its own, such as a member of a zip
    archive. HDF5's signature is at ``signature`` in it.

    HDF5 reads every file through a window. Its own driver would lock the file against writers, and
    share state with other users of the file in the process.
    """

    def __init__(self, file: BinaryIO, start: int, length: int, signature: int) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._at = 0
        self._lock = threading.Lock()
        self._structures = Structures(self.read_at, signature, length)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._length - self._at))
        with self._lock:
            self._file.seek(self._start + self._at)
            done = self._file.readinto(view[:count])  # type: ignore[attr-defined]
        self._structures.check(self._at, bytes(view[: min(done, 32)]))
        self._at += done
        return int(done)

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from anywhere, while HDF5 may be reading in another thread."""
        with self._lock:
            self._file.seek(self._start + offset)
            return self._file.read(length)


class Container:
    """An open HDF5 file, read-only.

    Attributes:
        label: what messages call it.
        path: the file that its bytes lie in. None if they were unpacked into memory.
        base: where in that file they begin.
        size: the bytes of the file on disk, which justify how much may be allocated.
        length: the bytes of the HDF5 file.
        has_checksum: whether an archive had a checksum for all of it, which was compared.
    """

    has_checksum = False

    def __init__(
        self,
        label: str,
        path: Path | None,
        base: int,
        size: int,
        file: BinaryIO,
        length: int,
        max_inflation: float,
    ) -> None:
        import h5py

        self.label = label
        self.path = path
        self.base = base
        self.size = size
        self.length = length
        self._raw = file
        self._claimed = 0
        self._max_inflation = max_inflation
        try:
            with h5_errors(label):
                signature = _superblock(file, base, length, label)
                self._window = Window(file, base, length, signature)
                self.file: h5py.File = h5py.File(self._window, "r")
        except BaseException:
            file.close()
            raise

    @classmethod
    def of_file(cls, source: Source, options: OpenOptions) -> Self:
        """The file itself. Raises DamagedFile, UnreadableFile."""
        assert source.path is not None
        what = source.label
        if signature_at(source.head) is None:
            hint = source.looks_like()
            raise DamagedFile(f"{what}: not an HDF5 file{': ' + hint if hint else ''}")
        file = source.open()
        try:
            _check_unlocked(file, what)
        except BaseException:
            file.close()
            raise
        return cls(what, source.path, 0, source.size, file, source.size, options.max_inflation)

    def claim_memory(self, nbytes: int, what: str) -> None:
        """Add ``nbytes`` for an array that HDF5 unpacks or fills, and check the sum.

        Raises DamagedFile if the file cannot hold as much, RefusedFile if it is packed better than
        the user allows.
        """
        self._claimed += nbytes
        self.check_memory(self._claimed, f"{what}, with all before it,")

    def check_memory(self, nbytes: int, what: str) -> None:
        """Raise DamagedFile if the file cannot hold ``nbytes``, however well packed they are;
        RefusedFile if it is packed better than the user allows."""
        # No filter that is read packs better than deflate.
        DamagedFile.check_deflate(
            what,
            self.size,
            nbytes,
            spare=_SLACK,
            remedy="If the file is right nevertheless, read it with h5py, and pass the arrays as a "
            "dict",
        )
        RefusedFile.check_inflation(what, self.size, nbytes, self._max_inflation)

    @property
    def user_block(self) -> int:
        """The bytes before the signature. Addresses in the file count from there."""
        return int(self.file.userblock_size)

    def read(self, offset: int, length: int, what: str) -> bytes:
        """``length`` bytes of the HDF5 file. Raises DamagedFile if they are not all in it."""
        if offset < 0 or length < 0 or offset + length > self.length:
            raise DamagedFile(f"{what} lies outside of the file. Download or copy it again")
        return self._window.read_at(offset, length)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a damaged file may not even close
            self.file.close()
        self._raw.close()


def _superblock(file: BinaryIO, base: int, length: int, what: str) -> int:
    """Where the superblock lies in the HDF5 file at ``base``.

    Raises DamagedFile if there is none. Raises RefusedFile if addresses and sizes do not have 8
    bytes, which no writer of weights makes: the checks before HDF5 reads the file rely on 8.
    """
    file.seek(base)
    head = file.read(min(length, _HEAD))
    at = signature_at(head)
    if at is None:
        raise DamagedFile(
            f"{what}: what should be HDF5 has no HDF5 signature. Download or copy the file again"
        )
    sizes = head[at + 13 : at + 15] if head[at + 8 : at + 9] < b"\2" else head[at + 9 : at + 11]
    if sizes != b"\x08\x08":
        raise RefusedFile(
            f"{what}: its addresses and sizes have {' and '.join(map(str, sizes))} bytes, and "
            "initreg reads only files with 8. Read it with h5py, and pass the arrays as a dict"
        )
    return at


def _check_unlocked(file: BinaryIO, what: str) -> None:
    """Raise UnreadableFile if a program has the file open for writing.

    HDF5 holds an exclusive lock then, and the file on disk is incomplete. The lock that finds this
    out is released at once.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError as error:
        raise UnreadableFile(
            f"{what}: another program has it open for writing. Try again when it is done"
        ) from error
    except OSError:  # a file system without locks
        return
