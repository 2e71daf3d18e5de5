"""One save at a time gives its files their names in a folder: of all threads, and all processes.

The folder itself is locked, as ``flock(2)`` does it: no file is left behind, and the lock of a
process that was killed is gone with it. Where a folder cannot be locked (NFS, Windows), threads
still wait for each other, and processes do not.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from initreg.errors import UnwritableFile

if os.name == "posix":
    import fcntl

PATIENCE = 600.0  # seconds; a save of 100 GB to a slow disk takes less
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
    """Keep other saves of this folder from naming their files; the same thread may do so again.

    Raises UnwritableFile if another has it for longer than :data:`PATIENCE`.
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
    """A descriptor that holds the lock, -1 if the folder cannot be locked."""
    if os.name != "posix":
        return -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # whoever writes there says why
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
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked has it, too
        os.close(descriptor)


def _busy(folder: Path) -> UnwritableFile:
    return UnwritableFile(
        f"{folder}: another save into this folder has not ended for {PATIENCE:g} s; nothing was "
        "changed. If none is going on, a process that one was forked from holds its lock"
    )


def _forget() -> None:
    """In a child that was forked: what its parent holds is not the child's."""
    global _guard
    for found in _folders.values():
        if found.descriptor >= 0:
            os.close(found.descriptor)
    _folders.clear()
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
