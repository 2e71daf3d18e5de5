"""A lock for each folder, so that only one save at a time renames its files there.

It holds between threads and between processes. The folder itself is locked, with ``flock(2)``, so
that no lock file is left behind and the lock of a killed process ends with it. If a folder cannot
be locked (as on some NFS servers), threads still wait for each other, but processes do not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from initreg.errors import UnwritableFile

PATIENCE = 600.0  # seconds to wait for a lock; a save of 100 GB to a slow disk takes less
_POLL = 0.01


@dataclass(slots=True, eq=False)
class _Folder:
    lock: threading.RLock = field(default_factory=threading.RLock)
    depth: int = 0
    descriptor: int = -1


_folders: dict[str, _Folder] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. The same thread may take it again.

    Raises:
        UnwritableFile: another save holds the lock for longer than :data:`PATIENCE`.
    """
    key = os.path.realpath(folder)
    with _guard:
        found = _folders.setdefault(key, _Folder())
    until = time.monotonic() + PATIENCE
    if not found.lock.acquire(timeout=PATIENCE):
        raise _busy(folder)
    try:
        if not found.depth:
            found.descriptor = _lock(folder, until)
        found.depth += 1
        try:
            yield
        finally:
            found.depth -= 1
            if not found.depth:
                _unlock(found.descriptor)
                found.descriptor = -1
    finally:
        found.lock.release()


def _lock(folder: Path, until: float) -> int:
    """A descriptor that holds the lock, or -1 if the folder cannot be locked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # writing there will fail, and the error will say why
        return -1
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise _busy(folder) from error
                time.sleep(_POLL)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, UnwritableFile):
            raise
        return -1
    except BaseException:  # Ctrl-C
        os.close(descriptor)
        raise


def _unlock(descriptor: int) -> None:
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked child has it
        os.close(descriptor)


def _busy(folder: Path) -> UnwritableFile:
    return UnwritableFile(
        f"{folder}: another save into this folder has held its lock for {PATIENCE:g} s. Nothing "
        "was changed. If no save is running, a process that was forked during one holds the lock"
    )


def _forget() -> None:
    """In a forked child, forget the locks of the parent."""
    global _guard
    for found in _folders.values():
        if found.descriptor >= 0:
            os.close(found.descriptor)
    _folders.clear()
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_forget)
