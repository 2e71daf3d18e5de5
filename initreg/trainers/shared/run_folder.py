"""The folder of a run: its path, its newest checkpoint, and what the log says of a failed save."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from initreg.api.resuming import ResumePoint, find, passed_over, run_folder
from initreg.errors import DamagedFile, ResumeWarning, SourceNotFound, warn
from initreg.storage.locating import is_remote
from initreg.storage.store_files import fresh
from initreg.storage.uploading import refuse_read_only
from initreg.store_paths import FilePath, StorePath

logger = logging.getLogger("initreg")


# What a save raises if the disk or the store refuses it. It never ends a training.
NOT_SAVED = (OSError, DamagedFile)


def anywhere(
    directory: str | os.PathLike[str] | StorePath,
    storage_options: Mapping[str, Any] | None = None,
) -> FilePath:
    """The folder as the user meant it when the saver was made, wherever the program goes then.

    Args:
        directory: a folder on the disk, or in a store.
        storage_options: for a URL: what fsspec's file system is made with.

    Raises:
        InitregError: there are options for a folder that is not in a store, or its store can only
            be read.
    """
    if not (is_remote(directory) or storage_options):
        assert not isinstance(directory, StorePath)
        return Path(os.path.abspath(os.path.expanduser(directory)))
    found = run_folder(directory, storage_options)
    if isinstance(found, StorePath):
        refuse_read_only(found)
    return found


def now(folder: FilePath) -> FilePath:
    """The folder, in a store with a look of its own at what is there now."""
    return fresh(folder) if isinstance(folder, StorePath) else folder


def make(folder: FilePath) -> None:
    """Make the folder if it is missing. A store needs none."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def _warn(text: str) -> None:
    warn(text, ResumeWarning)


def newest(
    directory: str | os.PathLike[str] | StorePath,
    *,
    verify: bool = False,
    report: Callable[[str], None] = _warn,
) -> ResumePoint | None:
    """The newest complete checkpoint of a run.

    Args:
        directory: the folder. It may be missing, as before a first start.
        verify: whether to compare the checksums of all bytes.
        report: is called with a text if newer checkpoints are incomplete. By default a
            ResumeWarning.

    Returns:
        None if there is no complete checkpoint.
    """
    try:
        point, skipped = find(directory, verify=verify)
    except SourceNotFound:
        return None
    if skipped:
        report(passed_over(directory, point, skipped))
    return point


def log_not_saved(what: object, reason: object) -> None:
    """A save has failed, which never ends a training."""
    logger.warning("%s was not saved, and training goes on: %s", what, reason)
