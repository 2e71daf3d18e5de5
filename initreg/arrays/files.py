"""The open files of one source, which its arrays are read from."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from initreg.arrays.store_reads import Fetch, fetch_ahead, fetch_together
from initreg.errors import DamagedFile, InitregError, UnreadableFile
from initreg.storage.stamps import AnyStamp, Stamp
from initreg.storage.store_files import files_of
from initreg.store_paths import FilePath, StorePath

_MOST_OPEN = 64  # files of one source. A process may have 256 on macOS, and 1,024 on Linux
_forks = 0  # how many times this process was forked from another one since it was imported
_renewing = threading.Lock()


def _after_fork_in_child() -> None:
    """The threads of the parent do not exist in a child, so that nobody ends what they began."""
    global _forks, _renewing
    _forks += 1
    _renewing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


class OpenFiles:
    """Files that are opened when they are first read, and stay open until :meth:`close`.

    It can be used from several threads. A forked child can use those of its parent, whatever the
    threads of the parent did with them at that moment. If nobody closes it, the files are closed
    when it is garbage.

    Args:
        label: what to call the source in an error.
        stamps: the stamp of each file, from before the arrays were listed.
    """

    def __init__(self, label: str, stamps: Mapping[FilePath, AnyStamp]) -> None:
        self._label = label
        self._stamps = stamps
        self._files: dict[FilePath, BinaryIO] = {}  # the one that was used last is the last
        self._users: dict[FilePath, int] = {}
        self._maps: dict[FilePath, mmap.mmap] = {}
        self._condition = threading.Condition()
        self._reading = 0
        self._forks = _forks  # what the two above are for
        self._closed = False
        weakref.finalize(self, _close_all, self._files)

    def close(self) -> None:
        """Close the files, after the reads that are going on. Later reads are errors."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: not self._reading)
            self._maps.clear()  # arrays that are views keep their mapping
            _close_all(self._files)

    @property
    def _lock(self) -> threading.Condition:
        if self._forks != _forks:
            with _renewing:
                if self._forks != _forks:
                    self._condition = threading.Condition()
                    self._reading = 0
                    self._users = {}
                    self._forks = _forks
        return self._condition

    def check_open(self, name: str) -> None:
        """Raise InitregError if the files were closed. ``name`` is the array to be read."""
        if self._closed:
            raise InitregError(f"{self._label} is closed: read {name!r} inside its 'with'")

    def mapping(self, path: FilePath, name: str) -> mmap.mmap:
        """The file, mapped into memory. Raises UnreadableFile."""
        with self._using(path, name) as file, self._lock:
            found = self._maps.get(path)
            if found is None:
                try:
                    found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except (OSError, ValueError) as error:  # ValueError: the file has become empty
                    raise UnreadableFile(f"{path}: cannot be mapped: {error}") from error
                self._maps[path] = found
        return found

    @contextmanager
    def _using(self, path: FilePath, name: str) -> Iterator[BinaryIO]:
        """The open file. It is not closed while the block runs."""
        with self._lock:
            self.check_open(name)
            file = self._files.pop(path, None)
            if file is None:
                self._close_idle()
                try:
                    file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
                except OSError as error:
                    raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
                stamp = self._stamps.get(path)
                if stamp is not None and stamp != (now := Stamp.of(file.fileno())):
                    file.close()
                    raise DamagedFile(
                        f"{self._label}: {path} was replaced or written to after it was opened, "
                        f"when it had {stamp.size:,} bytes; it has {now.size:,}. Open it again"
                    )
            self._files[path] = file
            self._users[path] = self._users.get(path, 0) + 1
            self._reading += 1
        forks = _forks
        try:
            yield file
        finally:
            with self._lock:
                if forks == _forks:  # not if this is a child that was forked meanwhile
                    self._reading -= 1
                    self._users[path] -= 1
                self._lock.notify_all()

    def _close_idle(self) -> None:
        """Close the files that were not used for longest, if there are many. They can be opened
        again as long as they are the same files."""
        idle = [path for path in self._files if not self._users.get(path)]
        for path in idle[: max(0, len(self._files) - _MOST_OPEN + 1)]:
            self._files.pop(path).close()

    def fill(self, path: FilePath, name: str, offset: int, into: list[memoryview]) -> None:
        """Read bytes of a file until ``into`` is full. ``name`` is the array that they are for.

        Raises DamagedFile if the file ends before, UnreadableFile if it cannot be read.
        """
        wanted = sum(map(len, into))
        done = 0
        if isinstance(path, StorePath):
            self.check_open(name)
            done = files_of(path).fill(path.key, offset, into)
            if done < wanted:
                raise self.ended(path, name, done, wanted)
            return
        with self._using(path, name) as file:
            try:
                while done < wanted:
                    count = os.preadv(file.fileno(), into, offset + done)
                    if not count:
                        raise self.ended(path, name, done, wanted)
                    done += count
                    while into and count >= len(into[0]):
                        count -= len(into[0])
                        into = into[1:]
                    if into:
                        into = [into[0][count:], *into[1:]]
            except OSError as error:
                raise UnreadableFile(
                    f"{path}: reading array {name!r} failed: {error.strerror}"
                ) from error

    def fetcher(self, path: FilePath, name: str, ranges: Iterable[tuple[int, int]]) -> Fetch:
        """A function that reads a part of a file: ``fetch(offset, into)``.

        Args:
            path: the file.
            name: the array that it is for.
            ranges: the parts that are going to be read, each as its two ends. A store is asked for
                them at once.
        """
        if isinstance(path, StorePath):
            self.check_open(name)
            return fetch_together(path, ranges)
        return lambda offset, into: self.fill(path, name, offset, [into])

    def stream(self, path: FilePath, name: str, start: int, length: int) -> Fetch:
        """A function that reads a part of a file from the front to the back.

        ``fetch(at, into)`` counts from ``start``. A store is asked for large pieces.
        """
        if isinstance(path, StorePath):
            self.check_open(name)
            return fetch_ahead(path, start, length)
        return lambda at, into: self.fill(path, name, start + at, [into])

    def ended(self, path: FilePath, name: str, done: int, wanted: int) -> DamagedFile:
        """The error for a file that ended after ``done`` of ``wanted`` bytes."""
        return DamagedFile(
            f"{self._label}: array {name!r}: {path.name} ended after {done:,} of "
            f"{wanted:,} bytes. Did it shrink while it was read?"
        )


def _close_all(files: dict[FilePath, BinaryIO]) -> None:
    for file in files.values():
        file.close()
    files.clear()
