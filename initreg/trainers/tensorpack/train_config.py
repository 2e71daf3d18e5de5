"""Resume a training: ``AutoResumeTrainConfig``, by the name of tensorpack.

Source: tensorpack 0.11, ``train/config.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tensorpack.callbacks import JSONWriter
from tensorpack.train import TrainConfig
from tensorpack.utils import logger

from initreg.api.resuming import ResumePoint
from initreg.storage.output import written
from initreg.trainers.shared.run_folder import newest
from initreg.trainers.tensorpack import states
from initreg.trainers.tensorpack.savers import ModelSaver, directory_of
from initreg.trainers.tensorpack.session_init import SaverRestore


class AutoResumeTrainConfig(TrainConfig):  # type: ignore[misc]
    """A TrainConfig that resumes from the newest complete checkpoint, if there is one.

    It looks in the folder of the ModelSaver in ``callbacks``, which may be a URL, or else in the
    logger's folder. A checkpoint that it finds replaces ``session_init`` and ``starting_epoch``.
    The callbacks and objects get their states back, and ``stats.json`` loses the epochs that are
    trained again. Without a checkpoint, both are what the user passes.

    Args:
        always_resume: False keeps ``session_init`` and ``starting_epoch`` if they are given.
        kwargs: those of TrainConfig.

    Raises:
        InitregError: when training begins, if the checkpoint or a state does not fit.

    >>> config = AutoResumeTrainConfig(  # doctest: +SKIP
    ...     model=Model(), data=data, session_init=SmartInit("base.npz"), callbacks=[ModelSaver()])
    """

    def __init__(self, always_resume: bool = True, **kwargs: Any) -> None:
        callbacks = states.flat(kwargs.get("callbacks") or [])
        saver = next((each for each in callbacks if isinstance(each, ModelSaver)), None)
        directory = saver.directory if saver is not None else directory_of(None)
        point = None if directory is None else newest(directory, report=logger.warn)
        is_free = kwargs.get("session_init") is None
        if point is not None and (always_resume or is_free):
            logger.info(
                f"Found checkpoint at {point.path}."
                + ("" if is_free else " session_init arguments will be overwritten.")
            )
            kwargs["session_init"] = (
                SaverRestore(point.path) if saver is None else _Resume(saver, point)
            )
            epoch = point.epoch if point.epoch is not None else _epoch_of_statistics()
            if epoch is not None and (always_resume or "starting_epoch" not in kwargs):
                kwargs["starting_epoch"] = epoch + 1
                _forget_statistics(epoch)
            if saver is not None:
                saver.go_on(point)
        super().__init__(**kwargs)


class _Resume(SaverRestore):
    """Restores what a ModelSaver saves."""

    def __init__(self, saver: ModelSaver, point: ResumePoint) -> None:
        super().__init__(point.path)
        self._saver, self._point = saver, point

    def _run_init(self, sess: Any) -> None:
        self._saver.restore(sess, self._point)


def _epoch_of_statistics() -> int | None:
    """The last epoch in ``stats.json``, for a run that another saver saved."""
    found: int | None = JSONWriter.load_existing_epoch_number()
    return found


def _forget_statistics(epoch: int) -> None:
    """Remove the epochs that ended after the checkpoint was saved: they are trained again."""
    folder = logger.get_logger_dir()
    path = None if folder is None else Path(folder, JSONWriter.FILENAME)
    if path is None or not path.is_file():
        return
    try:
        rows = json.loads(path.read_text("utf-8"))
    except ValueError:  # tensorpack reports it
        return
    kept = [row for row in rows if row.get("epoch_num", 0) <= epoch]
    if len(kept) < len(rows):
        with written(path) as output:
            output.file().write_text(json.dumps(kept), "utf-8")
