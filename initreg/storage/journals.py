"""Cleaning up after a save that was killed while it renamed its files.

A checkpoint, or an array file in shards, consists of data files and of an index that is renamed
last. If the save is killed before that, the new data files belong to nothing. If it is killed
after that, data files of the previous save are left over. A journal in the same folder lists both
kinds, and the next save removes the ones that are not needed. A journal is deleted when its save
ends. It identifies each file by name, inode, time and size, so that no other file is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from initreg.storage.small_files import plain_name

_NAME = re.compile(r"\.initreg-[0-9a-f]{8}-journal")
_LARGEST = 16 << 20  # bytes


@contextlib.contextmanager
def journal(
    folder: Path, index: str, parts: Iterable[tuple[str, Path]], obsolete: Iterable[str]
) -> Iterator[None]:
    """Keep a journal while the block runs, if one is needed.

    Args:
        folder: where the files are.
        index: the hidden name that the index has until it is renamed, as the last file.
        parts: for each data file, the name that it gets, and the path that it has until then.
        obsolete: the names of files of the previous save, which are removed last.

    Raises:
        OSError: the journal cannot be written.
    """
    old = [each for each in map(_identity, map(folder.joinpath, obsolete)) if each]
    new = [(name, *found[1:]) for name, path in parts if (found := _identity(path))]
    if not old and not new:
        yield
        return
    path = folder / f".initreg-{secrets.token_hex(4)}-journal"
    content = {"initreg_journal": 1, "whole": index, "new": new, "old": old}
    with open(path, "x", encoding="utf-8") as file:
        try:
            _hold(file.fileno())
            json.dump(content, file)
            file.flush()
        except BaseException:  # a full disk: nothing was renamed
            _remove(path)
            raise
        try:
            yield
        except BaseException:  # Ctrl-C, too. If a second one comes, the next save does this
            _settle(folder, content)
            _remove(path)
            raise
        _remove(path)


def recover(folder: Path) -> None:
    """Remove the files that the journals of killed saves list as not needed.

    The caller holds the lock of the folder.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    _recover(folder, name)


def _recover(folder: Path, name: str) -> None:
    with open(folder / name, "r+b") as file:
        _hold(file.fileno())  # raises OSError if its writer is alive (in a folder without locks)
        try:
            content: dict[str, Any] = json.loads(
                file.read(min(os.fstat(file.fileno()).st_size, _LARGEST))
            )
            _settle(folder, content)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            pass  # it was killed before the journal was written, so no file was renamed
        os.unlink(folder / name)


def _settle(folder: Path, content: dict[str, Any]) -> None:
    """Remove what is not needed: new files if the index was not renamed, and old ones if it was."""
    failed = os.path.lexists(folder / plain_name(content["whole"]))
    for each in content["new" if failed else "old"]:
        if tuple(each) == _identity(folder / plain_name(each[0])):
            _remove(folder / each[0])


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _identity(path: Path) -> tuple[str, int, int, int] | None:
    """What tells a file from another one that gets its name later."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return path.name, found.st_ino, found.st_mtime_ns, found.st_size


def _hold(descriptor: int) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
