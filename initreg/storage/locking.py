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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. The same thread may take it again.

    Raises:
        UnwritableFile: another save holds the lock for longer than :data:`PATIENCE`.
    """
    key = os.path.realpath(folder)
    found = _folders.setdefault(key, _Folder())  # one step, whatever other threads do
    until = time.monotonic() + PATIENCE
    if not found.lock.acquire(timeout=PATIENCE):
        raise _busy(folder)
    depth = 0
    try:  # Ctrl-C may come between any two of these lines
        depth = found.depth
        if not depth:
            _lock(found, folder, until)
        found.depth = depth + 1
        yield
    finally:
        try:
            _leave(found, depth)
        except BaseException:  # Ctrl-C came in the midst of it, and it can be done again
            _leave(found, depth)
            raise
        finally:
            found.lock.release()


def _lock(found: _Folder, folder: Path, until: float) -> None:
    """Lock the folder, if it can be locked."""
    if found.descriptor < 0:  # else it is locked still, because Ctrl-C came before it was unlocked
        try:
            found.descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # writing there will fail, and the error will say why
            return
    while True:
        try:
            fcntl.flock(found.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise _busy(folder) from error
            time.sleep(_POLL)
        except OSError:
            return


def _leave(found: _Folder, depth: int) -> None:
    """Set the depth back, and unlock the folder if nothing holds its lock any more."""
    found.depth = depth
    if depth or found.descriptor < 0:
        return
    # A descriptor is forgotten after its lock is gone: one that is forgotten before could never
    # be unlocked. Closing alone is not enough: a forked child has a copy.
    with contextlib.suppress(OSError):
        fcntl.flock(found.descriptor, fcntl.LOCK_UN)
    descriptor, found.descriptor = found.descriptor, -1
    os.close(descriptor)


def _busy(folder: Path) -> UnwritableFile:
    return UnwritableFile(
        f"{folder}: another save into this folder has held its lock for {PATIENCE:g} s. Nothing "
        "was changed. If no save is running, a process that was forked during one holds the lock"
    )


def _forget() -> None:
    """In a forked child, forget the locks of the parent."""
    for found in _folders.values():
        if found.descriptor >= 0:
            os.close(found.descriptor)
    _folders.clear()


os.register_at_fork(after_in_child=_forget)
