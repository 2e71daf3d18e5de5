"""A store over fsspec: object stores, archives in them, and whatever else has a file system there.

fsspec is imported only when a URL is given. Its file systems know the credentials.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from initreg.storage.stores import Found, Replaced, StoreError, StoreStamp, in_this_process

_CONCURRENCY = 16
_MOST_OPEN = 16  # files
# What tells one version of an object from another, best first, in what a file system says about it.
# Sources: s3fs and adlfs (etag), gcsfs (generation), huggingface_hub (blob_id), and the others.
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_VERSIONS = (
    *("ETag", "etag", "generation", "version_id", "VersionId", "blob_id", "sha", "md5Hash"),
    *_TIMES,
)
_FOR_THREADS = {"hf", "memory"}  # without asyncio, and can be called from several threads
# Whose uploads become visible when they are complete.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "hf"}
_CONDITIONAL = {"s3", "s3a"}  # whose open files send If-Match with each request


class FsspecStore:
    """A file system of fsspec.

    Args:
        fs: the file system.
        prefix: what stands before a key in its URL: ``"s3://"``.
    """

    def __init__(self, fs: Any, prefix: str) -> None:
        self._fs = fs
        self._is_forked = False
        self._prefix = prefix
        is_for_threads = _is_async(fs) or _FOR_THREADS.intersection(_protocols(fs))
        self._lock = None if is_for_threads else threading.Lock()
        self.concurrency = 1 if self._lock else _CONCURRENCY
        self._opened: dict[tuple[str, StoreStamp], Any] = {}
        weakref.finalize(self, _close_all, self._opened)
        self._is_conditional = bool(_CONDITIONAL.intersection(_protocols(fs)))
        self._looks = _Looks()

    @property
    def fs(self) -> Any:
        if self._is_forked:
            self._fs, self._is_forked = in_this_process(self._fs), False
        return self._fs

    def after_fork(self) -> None:
        self._is_forked = True
        self._lock = self._lock and threading.Lock()
        self._looks = _Looks()
        self._opened.clear()

    def url(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def find(self, key: str) -> Found | None:
        # A listing of a bucket that is kept from an earlier look may be old.
        self.fs.invalidate_cache(key.rpartition("/")[0])
        try:
            info = self._info(key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if info.get("type") == "directory":
            return Found(None)
        size = info.get("size")
        if not isinstance(size, int):
            raise StoreError("its store does not say how large it is")
        return Found(StoreStamp(size, _version(info)), modified_at=_modified_at(info))

    def names(self, key: str) -> list[str]:
        try:
            found = self._call(self.fs.ls, key, detail=False)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError("there is no such folder") from error
        except NotImplementedError as error:
            raise StoreError("its store cannot list") from error
        names = {each.rstrip("/").rpartition("/")[2] for each in found}
        return [name for name in names if name and name != key.rstrip("/")]

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        try:
            if self._is_conditional:
                return self._read_conditionally(key, stamp, offset, length)
            data: bytes
            if self._lock is not None:
                data = self._call(self._read_opened, key, stamp, offset, length)
            else:
                data = self.fs.cat_file(key, start=offset, end=offset + length)
        except FileNotFoundError as error:
            raise Replaced("it was removed") from error
        # After the read: what was read is of the version that is there now, or of one before.
        found = self._looks.after_now(key, self.find)
        if found is None or found.stamp != stamp:
            raise Replaced()
        return data

    def _info(self, key: str) -> Mapping[str, Any]:
        """What the file system says about a key, by one request.

        A file that sends If-Match is opened for that, which asks what it says about itself.
        """
        if not self._is_conditional or "/" not in key.strip("/"):
            found: Mapping[str, Any] = self._call(self.fs.info, key)
            return found
        file = self.fs.open(key, "rb", cache_type="none")
        details: Mapping[str, Any] = file.details
        if details.get("type") != "directory":
            self._opened[key, StoreStamp(details.get("size", 0), _version(details))] = file
        return details

    def _read_opened(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        """Read from a file that stays open: a packed member of an archive has to be unpacked from
        its beginning, whenever it is opened."""
        file = self._opened.pop((key, stamp), None) or self.fs.open(key, "rb")
        try:
            file.seek(offset)
            data: bytes = file.read(length)
        except BaseException:
            file.close()
            raise
        self._opened[key, stamp] = file  # the last one used is the last one in the dict
        if len(self._opened) > _MOST_OPEN:
            self._opened.pop(next(iter(self._opened))).close()
        return data

    def _read_conditionally(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        if (key, stamp) not in self._opened:  # after a fork, or if another source found it
            self._info(key)
        file = self._opened.get((key, stamp))
        if file is None:
            raise Replaced()
        try:
            # The one way to a range with If-Match. It can be called from several threads.
            data: bytes = file._fetch_range(offset, offset + length)
        except OSError as error:
            if type(error).__name__ == "FileExpired" or "pre-conditions" in str(error):
                raise Replaced() from error
            raise
        return data

    def write(self, key: str, file: Path) -> None:
        if _WHOLE.intersection(_protocols(self.fs)):
            self._call(self.fs.put_file, str(file), key)
            return
        # Other stores show a file while it grows.
        folder, slash, name = key.rpartition("/")
        beside = f"{folder}{slash}.initreg-{secrets.token_hex(4)}-{name}"
        try:
            self._call(self.fs.put_file, str(file), beside)
            self._call(_renamed, self.fs, beside, key)
        except BaseException:
            with contextlib.suppress(Exception):
                self._call(self.fs.rm_file, beside)
            raise

    def remove(self, key: str) -> None:
        try:
            self._call(self.fs.rm_file, key)
        except FileNotFoundError:
            return

    def _call(self, method: Any, *arguments: Any, **options: Any) -> Any:
        if self._lock is None:
            return method(*arguments, **options)
        with self._lock:
            return method(*arguments, **options)


class _Looks:
    """What a store says about keys, for several threads that want to know it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looking: dict[str, threading.Lock] = {}
        self._last: dict[str, tuple[int, Found | None]] = {}  # when it began, and what it found
        self._count = 0

    def after_now(self, key: str, find: Callable[[str], Found | None]) -> Found | None:
        """What is found by a look that begins after this call: a new one, or that of a thread that
        waited for the same look to end."""
        with self._lock:
            self._count += 1
            now = self._count
            looking = self._looking.setdefault(key, threading.Lock())
        with looking:
            with self._lock:
                begun, found = self._last.get(key, (0, None))
                if begun > now:
                    return found
                self._count += 1
                begun = self._count
            found = find(key)
            with self._lock:
                self._last[key] = begun, found
            return found


@functools.cache
def _async_class() -> type[Any]:
    from fsspec.asyn import AsyncFileSystem

    found: type[Any] = AsyncFileSystem
    return found


def _renamed(fs: Any, old: str, new: str) -> None:
    """Rename a file. ``mv`` of fsspec takes "?", "*" and "[" in a name for a pattern."""
    from fsspec import AbstractFileSystem

    if type(fs).mv is not AbstractFileSystem.mv and not _is_async(fs):
        fs.mv(old, new)
        return
    fs.cp_file(old, new)
    fs.rm_file(old)


def _close_all(files: dict[Any, Any]) -> None:
    for file in files.values():
        with contextlib.suppress(Exception):
            file.close()


def _is_async(fs: Any) -> bool:
    return isinstance(fs, _async_class())


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _modified_at(info: Mapping[str, Any]) -> float:
    """When a file was written, as whatever its file system says it with."""
    for name in _TIMES:
        found = info.get(name)
        with contextlib.suppress(ValueError, OverflowError):
            if isinstance(found, str):
                found = datetime.datetime.fromisoformat(found)
            if isinstance(found, datetime.datetime):
                return found.timestamp()
            if isinstance(found, (int, float)):
                return float(found)
    return 0.0


def _version(info: Mapping[str, Any]) -> str:
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
