"""Callbacks that save, by the names of tensorpack.

Source: tensorpack 0.11, ``callbacks/saver.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorpack.callbacks import Callback
from tensorpack.utils import logger

from initreg.api.resuming import ResumePoint
from initreg.api.sidecars import states_of
from initreg.api.smart_init import SmartInit
from initreg.errors import InitregError
from initreg.store_paths import FilePath
from initreg.trainers.shared import best
from initreg.trainers.shared.run_folder import anywhere
from initreg.trainers.shared.states import check_names, with_states
from initreg.trainers.tensorpack import states
from initreg.trainers.tf1.checkpoints import CheckpointWriter

v1 = tf.compat.v1


def directory_of(
    given: str | os.PathLike[str] | None, storage_options: Mapping[str, Any] | None = None
) -> FilePath | None:
    """Where to save: what the user gave, or the logger's folder, if it has one."""
    found = given if given is not None else logger.get_logger_dir()
    return None if found is None else anywhere(found, storage_options)


def _existing(saver: Any, directory: FilePath | None) -> FilePath:
    if directory is None:
        raise InitregError(
            f"{type(saver).__name__} needs a folder: pass checkpoint_dir, or call "
            "logger.set_logger_dir()"
        )
    return directory


class ModelSaver(Callback):  # type: ignore[misc]
    """Saves the model when it is triggered, by default after each epoch.

    A sidecar beside each checkpoint has the epoch and the states of ``objects``, of the callbacks
    that have ``state_dict()`` or are known (StatMonitorParamSetter), and of the statistics. The
    save comes after all callbacks were triggered, wherever this one is in the list. A save that
    fails, as on a full disk, is logged, and training goes on.

    Args:
        max_to_keep: how many of the newest checkpoints to keep. None keeps all.
        keep_checkpoint_every_n_hours: of the older checkpoints, one in so many hours is kept for
            good. None keeps none of them.
        checkpoint_dir: where to save: a folder or a URL. By default it is the logger's folder.
        var_collections: the collections of variables to save, by default GLOBAL_VARIABLES. Tables
            are in SAVEABLE_OBJECTS.
        objects: by name, what else has ``state_dict()`` and ``load_state_dict(state)``.
        storage_options: for a URL: what fsspec's file system is made with.

    Attributes:
        checkpoint_dir: where it saves, as a text. None if there is no folder yet.
        directory: the same as a path.

    Raises:
        InitregError: an object has no ``state_dict()`` and ``load_state_dict(state)``. When
            training is set up: there is no folder, or an object has the name of a callback.

    >>> TrainConfig(callbacks=[ModelSaver(max_to_keep=5)])  # doctest: +SKIP
    """

    def __init__(
        self,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        var_collections: str | Sequence[str] | None = None,
        *,
        objects: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if var_collections is None:
            var_collections = [v1.GraphKeys.GLOBAL_VARIABLES]
        keys = [var_collections] if isinstance(var_collections, str) else list(var_collections)
        self.var_collections = keys
        self.directory = directory_of(checkpoint_dir, storage_options)
        self.checkpoint_dir = None if self.directory is None else str(self.directory)
        self.objects = with_states(objects)
        self._options = max_to_keep, keep_checkpoint_every_n_hours
        self._point: ResumePoint | None = None
        self._writer: CheckpointWriter | None = None
        self._is_due = False

    def go_on(self, point: ResumePoint) -> None:
        """Resume from a checkpoint that ``session_init`` restores: the callbacks and objects get
        their states once training begins."""
        self._point = point

    def restore(self, session: Any, point: ResumePoint) -> None:
        """Restore all that this saves, by the names under which it saves it: also the tables and
        other objects that ``var_collections`` may hold."""
        if self._writer is None:  # it is not one of the callbacks of this graph
            SmartInit(point.path).init(session)
        else:
            self._writer.restore(session, point.path)

    def _setup_graph(self) -> None:
        most, hours = self._options
        variables = {
            id(each): each for key in self.var_collections for each in v1.get_collection(key)
        }
        self._writer = CheckpointWriter(
            _existing(self, self.directory),
            max_to_keep=most,
            every_n_hours=hours,
            var_list=list(variables.values()),
        )
        self.saver = self._writer.saver
        v1.add_to_collection(v1.GraphKeys.SAVERS, self.saver)
        self._with_states()  # raises now for a name that is taken
        # After all others, the monitors too. register_callback() refuses by now.
        states.callbacks_of(self.trainer).append(_Last(self))

    def _before_train(self) -> None:
        assert self._writer is not None
        with self.graph.as_default():
            self._writer.export_meta_graph()

    def _trigger(self) -> None:
        self._is_due = True

    # Called by _Last.

    def _begin(self) -> None:
        point, self._point = self._point, None
        assert self._writer is not None
        if point is not None:
            self._writer.go_on(point, self._with_states())

    def _save_if_due(self, epoch: int) -> None:
        if not self._is_due:
            return
        self._is_due = False
        step = v1.train.global_step(self.trainer.sess, v1.train.get_global_step(self.graph))
        found = states_of(self._with_states())
        assert self._writer is not None
        path = self._writer.save(self.trainer.sess, int(step), epoch=epoch, states=found)
        if path is not None:
            logger.info(f"Model saved to {path}.")

    def _with_states(self) -> dict[str, Any]:
        own = states.of_trainer(self.trainer)
        check_names(self.objects, own)
        return {**own, **self.objects}


class _Last(Callback):  # type: ignore[misc]
    """Runs after all other callbacks, when each has the state that it has after the epoch."""

    def __init__(self, saver: ModelSaver) -> None:
        self._saver = saver

    def _before_train(self) -> None:
        self._saver._begin()
        self._saver._save_if_due(self.trainer.epoch_num)  # PeriodicTrigger(before_train=True)

    def _trigger_step(self) -> None:
        is_last = self.trainer.local_step + 1 >= self.trainer.steps_per_epoch
        if not is_last:  # the epoch is not done, and starts again when the run is resumed
            self._saver._save_if_due(self.trainer.epoch_num - 1)

    def _trigger_epoch(self) -> None:
        self._saver._save_if_due(self.trainer.epoch_num)


class MinSaver(Callback):  # type: ignore[misc]
    """Saves the model with the smallest value of a statistic so far.

    Put it after the callback that makes the statistic. It needs no ModelSaver. NaN is never the
    smallest. A save that fails is logged, and training goes on.

    Args:
        monitor_stat: the name of the statistic.
        reverse: whether the largest value is the best.
        filename: by default ``min-STATISTIC``, or ``max-STATISTIC``.
        checkpoint_dir: where to save: a folder or a URL. By default it is the logger's folder.
        storage_options: for a URL: what fsspec's file system is made with.

    Attributes:
        best: the step and the value of the best so far, None before the first save.

    Raises:
        InitregError: when training is set up, if there is no folder.

    >>> TrainConfig(callbacks=[MinSaver("cost"), ModelSaver()])  # doctest: +SKIP
    """

    def __init__(
        self,
        monitor_stat: str,
        reverse: bool = False,
        filename: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.monitor_stat = monitor_stat
        self.reverse = reverse
        self.filename = filename or best.default_name(monitor_stat, largest=reverse)
        self.best: tuple[int, float] | None = None
        self.directory = directory_of(checkpoint_dir, storage_options)
        self.checkpoint_dir = None if self.directory is None else str(self.directory)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]

    def _setup_graph(self) -> None:
        variables = v1.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
        directory = _existing(self, self.directory)
        self._writer = CheckpointWriter(directory, var_list=variables)

    def _trigger(self) -> None:
        try:
            step, value = self.trainer.monitors.get_history(self.monitor_stat)[-1]
        except (KeyError, IndexError):
            return
        so_far = None if self.best is None else self.best[1]
        if not best.is_better(value, so_far, largest=self.reverse):
            return
        name = self.filename.replace("/", "-")
        if self._writer.save_as(self.trainer.sess, name) is not None:
            self.best = int(step), float(value)
            logger.info(
                f"Model at global_step={step} with {'maximum' if self.reverse else 'minimum'} "
                f"{self.monitor_stat}={value:.5g} saved."
            )


class MaxSaver(MinSaver):
    """Saves the model with the largest value of a statistic so far, as :class:`MinSaver` does.

    >>> TrainConfig(callbacks=[MaxSaver("accuracy"), ModelSaver()])  # doctest: +SKIP
    """

    def __init__(
        self,
        monitor_stat: str,
        filename: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            monitor_stat, True, filename, checkpoint_dir, storage_options=storage_options
        )
