"""The folder of a run: its path, its newest checkpoint, and what the log says of a failed save."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from initreg.api.resuming import ResumePoint, find, passed_over, run_folder
from initreg.errors import InitregError, ResumeWarning, SourceNotFound, warn
from initreg.storage.locating import is_remote
from initreg.storage.stores import without_secrets
from initreg.store_paths import FilePath, StorePath

logger = logging.getLogger("initreg")


def absolute(directory: str | os.PathLike[str]) -> Path:
    """The folder as the user meant it when the saver was made, wherever the program goes then.

    Raises:
        InitregError: it is in a store. TensorFlow's Saver, which writes there, needs a folder.
    """
    if is_remote(directory):
        raise InitregError(
            f"{without_secrets(str(directory))}: this saver needs a folder on the disk, because "
            "TensorFlow itself writes the checkpoint. Save there, and copy the files afterwards. "
            "The ModelSavers of Keras and tf_keras take URLs"
        )
    return Path(os.path.abspath(os.path.expanduser(directory)))


def anywhere(
    directory: str | os.PathLike[str] | StorePath, storage_options: Mapping[str, Any] | None
) -> FilePath:
    """What :func:`absolute` returns, or a folder in a store."""
    if is_remote(directory) or storage_options:
        return run_folder(directory, storage_options)
    return absolute(directory)


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
