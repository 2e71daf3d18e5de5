"""What a save that is killed while it names its files leaves behind, and the next one takes away.

Of a checkpoint or of shards the last file names the others. Killed before it has its name, the
others are parts of nothing; killed after, parts of what stood before are still there. A journal
beside them, which is gone once the save has ended, says which they are: by name and by what tells a
file from another, so that nobody else's is taken for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from initreg.storage.small_files import plain_name

if os.name == "posix":
    import fcntl

_NAME = re.compile(r"\.initreg-[0-9a-f]{8}-journal")
_LARGEST = 16 << 20  # bytes


@contextlib.contextmanager
def journal(
    folder: Path, whole: str, parts: Iterable[tuple[str, Path]], obsolete: Iterable[str]
) -> Iterator[None]:
    """There is a journal in the block, if one is needed.

    ``whole``: the hidden name of the last file. ``parts``: names that the others get, and where
    they lie until then. ``obsolete``: names of what goes after them. Raises OSError.
    """
    old = [each for each in map(_identity, map(folder.joinpath, obsolete)) if each]
    new = [(name, *found[1:]) for name, path in parts if (found := _identity(path))]
    if not old and not new:
        yield
        return
    path = folder / f".initreg-{secrets.token_hex(4)}-journal"
    content = {"initreg_journal": 1, "whole": whole, "new": new, "old": old}
    with open(path, "x", encoding="utf-8") as file:
        _hold(file.fileno())
        json.dump(content, file)
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def recover(folder: Path) -> None:
    """Take away what the journals say that nobody is writing any more; the caller has the folder
    locked."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _recover(folder, name)


def _recover(folder: Path, name: str) -> None:
    with open(folder / name, "r+b") as file:
        _hold(file.fileno())  # raises OSError if its writer is alive, on a folder without locks
        try:
            content: dict[str, Any] = json.loads(
                file.read(min(os.fstat(file.fileno()).st_size, _LARGEST))
            )
            failed = os.path.lexists(folder / plain_name(content["whole"]))
            for each in content["new" if failed else "old"]:
                if tuple(each) == _identity(folder / plain_name(each[0])):
                    os.unlink(folder / each[0])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            pass  # killed before it was written, so nothing had its name
        os.unlink(folder / name)


def _identity(path: Path) -> tuple[str, int, int, int] | None:
    """What tells a file from any other that may come to have its name."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return path.name, found.st_ino, found.st_mtime_ns, found.st_size


def _hold(descriptor: int) -> None:
    if os.name == "posix":
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
