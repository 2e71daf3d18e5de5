"""Reading files of a store: what was read is kept, and what failed is tried again."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from initreg.errors import DamagedFile, UnreadableFile
from initreg.storage.segments import Segments, merged
from initreg.storage.stores import (
    DirectStore,
    Found,
    NoRanges,
    Replaced,
    Store,
    StoreError,
    StoreStamp,
    without_secrets,
)
from initreg.store_paths import StorePath

T = TypeVar("T")

TRIES = 5
_FIRST_PAUSE = 0.1  # seconds, and then twice as long each time
_PATIENCE = 300.0  # seconds after which nothing is tried again
_TAIL = 1 << 14  # bytes that are read at once if something near the end is asked for
# Bytes that a read takes at least. With 4,096 instead of 2,048, tests/storage/counting.py counts a
# tenth to a quarter fewer requests for HDF5, and a tenth more bytes at most.
_LEAST = 4096
_MOST_AHEAD = 1 << 18  # bytes that a read takes ahead, when it goes on where the last one ended
_SPARE = 1 << 18  # bytes between ranges that are read with them in all, or this many times more
_TIMES_SPARE = 4  # than the ranges themselves have
# What a small request costs, in bytes of a large one: what a link of 1 Gbit/s sends in the time
# that one of many takes, 64 at once, with a delay of 30 ms. Measured by small_requests.py of
# tests/benchmarks: 0.68 ms, which are 83 KiB. With a delay of 10 ms they are 50 KiB, and with one
# of 100 ms 211 KiB.
_REQUEST = 5 << 14
_GAP = _REQUEST  # bytes between two ranges that are read with them, rather than by two requests
_SMALL_AT_ONCE = 4  # times as many small requests at once as large ones
_PIECE = 4 << 20  # bytes of one request, if a whole file is read
_DIRECT = 1 << 19  # bytes from which on they are read into memory without a copy
_HUGE_PAGE = 1 << 21  # bytes
_LONGEST = 1 << 20  # bytes of ranges that were put together
_MOST_KEPT = 128 << 20  # bytes of one file
# What is the same when it is tried again: a missing folder, or a fault of a program, such as an
# option that does not exist.
_LASTING = (FileNotFoundError, NotADirectoryError, TypeError, AttributeError, ImportError)


_alive: weakref.WeakSet[StoreFiles] = weakref.WeakSet()


def _after_fork() -> None:
    for files in list(_alive):
        files._start()
        files.store.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class StoreFiles:
    """The files of one store, as one source uses them.

    What is at a key is looked up once, so that all looks are looks at one version of a file. Bytes
    that are read through :meth:`pread` and :meth:`prefetch` are kept, because several formats look
    at the same ones. Those of arrays, which :meth:`fill` reads, are not.

    It can be used from several threads.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._start()
        _alive.add(self)
        self._found: dict[str, Found | None] = {}
        self._names: dict[str, tuple[str, ...] | StoreError] = {}
        self._known: dict[str, Segments] = {}
        self._spent: dict[str, int] = {}  # what small requests have cost
        self._ended: dict[str, tuple[int, int]] = {}  # where the last read ended, and its length

    def _start(self) -> None:
        """Make locks and threads, which do not outlive a fork."""
        self._lock = threading.RLock()
        self._reading: dict[str, threading.Lock] = {}  # of those who read a whole file
        self._pool: Any = None

    def url(self, key: str) -> str:
        """What to call a key in a message."""
        return self.store.url(key)

    def find(self, key: str) -> Found | None:
        """What is at a key. None if nothing is there.

        Raises:
            UnreadableFile: the store does not say.
        """
        with self._lock:
            if key in self._found:
                return self._found[key]
        # Without the lock, so that several are looked up at once. Of two answers the first counts.
        found = self.tried(key, "cannot be looked at", lambda: self.store.find(key))
        with self._lock:
            if key not in self._found:
                self._found[key] = found
                if found is not None and found.stamp is not None:
                    known = self._known[key] = Segments()
                    known.add(0, found.head)
                    known.add(found.stamp.size - len(found.tail), found.tail)
            return self._found[key]

    def find_all(self, keys: Sequence[str]) -> None:
        """Look several keys up at once, so that :meth:`find` knows them."""
        with self._lock:
            keys = [key for key in keys if key not in self._found]
        if len(keys) > 1:
            list(self._threads().map(lambda key: _quietly(self.find, key), keys))

    def is_there(self, key: str) -> bool:
        """Whether something is at a key that may be read."""
        return bool(_quietly(self.find, key))

    def is_folder(self, key: str) -> bool:
        """Whether a key that exists is that of a folder."""
        found = self.find(key)
        return found is not None and found.stamp is None

    def names(self, key: str) -> tuple[str, ...] | None:
        """The names in a folder, sorted. None if the store cannot list.

        Raises:
            UnreadableFile: the store does not answer.
        """
        with self._lock:
            known = self._names.get(key)
        if known is None:
            try:
                found = self.tried(
                    key, "cannot be listed", lambda: self.store.names(key), own=(StoreError,)
                )
                known = tuple(sorted(found))
            except StoreError as error:
                known = error
            with self._lock:
                known = self._names.setdefault(key, known)
        return None if isinstance(known, StoreError) else known

    def stamp(self, key: str) -> StoreStamp:
        """The stamp of a file that exists."""
        found = self.find(key)
        if found is None or found.stamp is None:
            raise UnreadableFile(f"{self.store.url(key)}: is not a file")
        return found.stamp

    # --- structures ------------------------------------------------------------------------------

    def pread(self, key: str, size: int, offset: int) -> bytes:
        """At most ``size`` bytes of a file from ``offset``: fewer only at its end. They are kept.

        Raises:
            UnreadableFile: they cannot be read.
            DamagedFile: the file was replaced.
        """
        whole = self.stamp(key).size
        stop = min(offset + size, whole)
        if stop <= offset or offset < 0:
            return b""
        with self._lock:
            known = self._known.setdefault(key, Segments())
            found = known.get(offset, stop - offset)
            if found is not None:
                return found
            first, last = self._ahead(key, offset, stop, whole)
            ranges = known.missing(first, last)
        if self._spend(key, len(ranges), whole):
            self._read_whole(key, whole)
            ranges = []
        for start, end in ranges:
            data = self.read(key, start, end - start)
            with self._lock:
                if start <= offset and end >= stop and len(known) > _MOST_KEPT:
                    return data[offset - start : stop - start]
                known.add(start, data)
        found = known.get(offset, stop - offset)
        assert found is not None
        return found

    def _ahead(self, key: str, offset: int, stop: int, whole: int) -> tuple[int, int]:
        """Which bytes to read if those from ``offset`` to ``stop`` are asked for."""
        first, last = offset, stop
        if offset >= whole - _TAIL:
            first = max(0, whole - _TAIL)
            last = whole
        elif stop - offset < _MOST_AHEAD:
            end, length = self._ended.get(key, (-1, 0))
            goes_on = end == offset or (end > offset and end < stop)
            length = min(2 * length, _MOST_AHEAD) if goes_on else _LEAST
            last = min(whole, max(stop, offset + length))
            self._ended[key] = (last, last - offset)
        return first, last

    def _spend(self, key: str, requests: int, whole: int) -> bool:
        """Count small requests. Returns whether all of them together have cost as much as reading
        the whole file, so that it is time to do that."""
        with self._lock:
            spent = self._spent[key] = self._spent.get(key, 0) + requests * _REQUEST
        return whole <= min(spent, _MOST_KEPT)

    def _read_whole(self, key: str, whole: int) -> None:
        """Read what is not known yet of a file, and what is known if it is not worth a request."""
        with self._lock:
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            with self._lock:
                known = self._known.setdefault(key, Segments())
                gone = merged(known.missing(0, whole), _GAP, whole, whole)
            cuts = [(at, min(at + _PIECE, b)) for a, b in gone for at in range(a, b, _PIECE)]
            self._fetch(key, known, cuts)

    def _fetch(self, key: str, known: Segments, ranges: Sequence[tuple[int, int]]) -> None:
        """Read ranges, several at once, and keep them."""

        def fetch(each: tuple[int, int]) -> None:
            data = self.read(key, each[0], each[1] - each[0])
            with self._lock:
                known.add(each[0], data)

        if len(ranges) == 1:
            fetch(ranges[0])
        elif ranges:
            list(self._threads().map(fetch, ranges))

    def window(self, key: str, offset: int, length: int) -> Segments:
        """Read a part of a file by several requests at once. It is not kept.

        Returns:
            The bytes of the part, up to the end of the file.
        """
        found = Segments()
        stop = min(offset + length, self.stamp(key).size)
        self._fetch(
            key, found, [(at, min(at + _PIECE, stop)) for at in range(offset, stop, _PIECE)]
        )
        return found

    def prefetch(self, key: str, ranges: Iterable[tuple[int, int]]) -> None:
        """Read several parts of a file at once, so that :meth:`pread` knows them.

        Args:
            key: the file.
            ranges: the offset and the length of each part. What lies beyond the end of the file is
                left out.
        """
        whole = self.stamp(key).size
        with self._lock:
            known = self._known.setdefault(key, Segments())
            gone = [
                each
                for offset, length in ranges
                if 0 <= offset < whole
                for each in known.missing(offset, min(offset + length, whole))
            ]
        spare = max(_SPARE, _TIMES_SPARE * sum(stop - start for start, stop in gone))
        wanted = merged(gone, _GAP, spare, _LONGEST)
        if self._spend(key, len(wanted), whole):
            self._read_whole(key, whole)
        else:
            self._fetch(key, known, wanted)

    # --- arrays ----------------------------------------------------------------------------------

    def fill(self, key: str, offset: int, into: Sequence[memoryview]) -> int:
        """Read bytes of an array into memory.

        Returns:
            How many bytes the file had, which are fewer than ``into`` takes only at its end.

        Raises:
            UnreadableFile: they cannot be read.
            DamagedFile: the file was replaced.
        """
        wanted = sum(map(len, into))
        count = max(0, min(wanted, self.stamp(key).size - offset))
        is_direct = len(into) == 1 and count == wanted >= _DIRECT
        if is_direct and hasattr(self.store, "read_into") and not self._knows(key, offset, count):
            store, stamp = cast("DirectStore", self.store), self.stamp(key)
            # The system makes the pages here, and not in the one thread that takes all answers.
            into[0][::_HUGE_PAGE] = bytes(-(-count // _HUGE_PAGE))
            self.tried(
                key, _reading(offset, count), lambda: store.read_into(key, stamp, offset, into[0])
            )
            return count
        left = memoryview(self.read(key, offset, count))
        for each in into:
            part = left[: len(each)]
            each[: len(part)] = part
            left = left[len(part) :]
        return count

    def _knows(self, key: str, offset: int, length: int) -> bool:
        with self._lock:
            known = self._known.get(key)
            return known is not None and not known.missing(offset, offset + length)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Bytes that lie in the file. They are not kept, but may be known already."""
        if not length:
            return b""
        stamp = self.stamp(key)
        with self._lock:
            known = self._known.get(key)
            found = known.get(offset, length) if known is not None else None
        if found is not None:
            return found

        def once() -> bytes:
            found = self.store.read(key, stamp, offset, length)
            if len(found) != length:  # no store may do this, and wrong bytes would be a wrong model
                raise OSError(f"the store sent {len(found):,} bytes instead of {length:,}")
            return found

        return self.tried(key, _reading(offset, length), once)

    # --- what both need --------------------------------------------------------------------------

    def tried(
        self, key: str, what: str, call: Callable[[], T], own: tuple[type[Exception], ...] = ()
    ) -> T:
        """The result of a call, which is made again if it fails."""
        url = self.store.url(key)
        begin, pause = time.monotonic(), _FIRST_PAUSE
        tried = 0
        while True:
            tried += 1
            try:
                return call()
            except own:
                raise
            except Replaced as error:
                raise DamagedFile(
                    f"{url}: was replaced or written to after it was looked at first{_why(error)}. "
                    "Open it again"
                ) from error
            except NoRanges as error:
                raise UnreadableFile(
                    f"{url}: the server sends only whole files ({error}). Download it, or give "
                    f"'simplecache::{url}', which does that"
                ) from error
            except StoreError as error:
                raise UnreadableFile(f"{url}: {what}: {error}") from error
            except PermissionError as error:
                raise UnreadableFile(
                    f"{url}: {what}: {_said(error)}. Are the credentials right?"
                ) from error
            except _LASTING as error:
                raise UnreadableFile(f"{url}: {what}: {_said(error)}") from error
            except Exception as error:
                if tried == TRIES or time.monotonic() - begin > _PATIENCE:
                    times = f"{tried} times" if tried > 1 else "once"
                    raise UnreadableFile(
                        f"{url}: {what}, {times}: {_said(error)}. Check the connection and the "
                        "server, and try again"
                    ) from error
            import random  # only who waits pays for it

            time.sleep(pause * (0.5 + random.random()))
            pause *= 2

    def _threads(self) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._pool is None:
                at_once = self.store.concurrency
                count = _SMALL_AT_ONCE * at_once if at_once > 1 else 1
                self._pool = ThreadPoolExecutor(count, "initreg-store")
            return self._pool


def files_of(path: StorePath) -> StoreFiles:
    """The store that a path is in."""
    assert isinstance(path.files, StoreFiles)
    return path.files


def fresh(path: StorePath) -> StorePath:
    """The same path, for which nothing is known of earlier looks."""
    return StorePath(StoreFiles(files_of(path).store), path.key)


def _reading(offset: int, length: int) -> str:
    return f"reading bytes {offset:,} to {offset + length:,} failed"


def _why(error: Exception) -> str:
    return f" ({error})" if str(error) else ""


def _said(error: Exception) -> str:
    text = " ".join(without_secrets(str(error)).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _quietly(call: Callable[[str], T], key: str) -> T | None:
    """What a call returns. None if it cannot be read."""
    try:
        return call(key)
    except (UnreadableFile, DamagedFile):
        return None
