"""The folder of a run: its path, its newest checkpoint, and what the log says of a failed save."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from initreg.api.resuming import ResumePoint, find, passed_over
from initreg.errors import ResumeWarning, SourceNotFound, warn

logger = logging.getLogger("initreg")


def absolute(directory: str | os.PathLike[str]) -> Path:
    """The folder as the user meant it when the saver was made, wherever the program goes then."""
    return Path(os.path.abspath(os.path.expanduser(directory)))


def _warn(text: str) -> None:
    warn(text, ResumeWarning)


def newest(
    directory: str | os.PathLike[str],
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
