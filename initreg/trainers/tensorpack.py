"""tensorpack: what its users know, by the names that they know, to import in its place.

``session_init=`` of ``TrainConfig`` and ``PredictConfig`` takes what is made here; the callbacks
are callbacks of tensorpack. Source of what each means: tensorpack 0.11, ``tfutils/sessinit.py``,
``callbacks/saver.py``, ``train/config.py``.

>>> from initreg.trainers.tensorpack import ModelSaver, SmartInit  # doctest: +SKIP
>>> TrainConfig(session_init=SmartInit("base.npz"), callbacks=[ModelSaver()])  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorpack.callbacks import Callback, JSONWriter
from tensorpack.tfutils.sessinit import JustCurrentSession, SessionInit
from tensorpack.train import TrainConfig
from tensorpack.utils import logger

from initreg.api import smart_init
from initreg.api.resuming import ResumePoint, find, passed_over, states_of
from initreg.errors import InitregError, SourceNotFound
from initreg.storage.output import written
from initreg.trainers import tensorpack_states
from initreg.trainers.tf1_saving import CheckpointWriter, give_states

__all__ = [
    "AutoResumeTrainConfig",
    "ChainInit",
    "DictRestore",
    "JustCurrentSession",
    "MaxSaver",
    "MinSaver",
    "ModelSaver",
    "SaverRestore",
    "SaverRestoreRelaxed",
    "SmartInit",
    "get_model_loader",
]

v1 = tf.compat.v1


# --- starting from weights ----------------------------------------------------------------------


class _Init(SessionInit):  # type: ignore[misc]
    """An :class:`initreg.SmartInit` where tensorpack wants a ``SessionInit``."""

    def __init__(self, source: Any, **options: Any) -> None:
        self.source = smart_init.SmartInit(source, **options)

    def _run_init(self, sess: Any) -> None:
        self.source.init(sess)


def SmartInit(obj: Any, *, ignore_mismatch: bool = False, **options: Any) -> Any:
    """What :class:`initreg.SmartInit` takes, with all of its options, as a ``SessionInit``.

    None, "" and an empty list or dict initialise nothing. A pickled ``.npy`` needs
    ``allow_pickle=True``, which tensorpack's took for granted.
    """
    if obj is None or (isinstance(obj, (str, dict, list, tuple)) and not obj):
        return JustCurrentSession()
    return _Init(obj, ignore_mismatch=ignore_mismatch, **options)


get_model_loader = SmartInit


class SaverRestore(_Init):
    """A checkpoint, or any other file.

    ``prefix``: ``prefix/`` goes before the name of every variable in it. ``ignore``: of those, the
    names, without the prefix, that are not restored. ``options``: as of :class:`initreg.SmartInit`.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        prefix: str | None = None,
        ignore: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.path = os.fspath(model_path)
        ignored = [each.removesuffix(":0") for each in ignore]
        if prefix is not None:
            options["prefix"] = f"{prefix}/"
            ignored = [f"{prefix}/{each}" for each in ignored]
        super().__init__(self.path, ignore=ignored, **options)


class SaverRestoreRelaxed(SaverRestore):
    """As :class:`SaverRestore`, passing over arrays that do not fit."""

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        prefix: str | None = None,
        ignore: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(model_path, prefix, ignore, **{"ignore_mismatch": True, **options})


class DictRestore(_Init):
    """A dict of arrays by name, with or without ``:0``."""

    def __init__(
        self, variable_dict: Mapping[str, Any], ignore_mismatch: bool = False, **options: Any
    ) -> None:
        super().__init__(variable_dict, ignore_mismatch=ignore_mismatch, **options)


class ChainInit(SessionInit):  # type: ignore[misc]
    """Several in order, planned as one if all of them are made here: the last that has a name
    supplies it, and nothing is written if one of them does not fit. Others run one by one."""

    def __init__(self, sess_inits: Sequence[Any]) -> None:
        self.inits = list(sess_inits)
        self._chain: Any = None
        if all(isinstance(each, (_Init, JustCurrentSession)) for each in self.inits):
            self._chain = SmartInit([e.source for e in self.inits if isinstance(e, _Init)])

    def _setup_graph(self) -> None:
        for each in [self._chain] if self._chain else self.inits:
            each._setup_graph()

    def _run_init(self, sess: Any) -> None:
        for each in [self._chain] if self._chain else self.inits:
            each._run_init(sess)


# --- saving -------------------------------------------------------------------------------------


class ModelSaver(Callback):  # type: ignore[misc]
    """Saves the model, once triggered; by default after each epoch.

    ``max_to_keep``, ``keep_checkpoint_every_n_hours``: the newest so many stay, and one in so many
    hours for good. ``checkpoint_dir``: by default the logger's. ``var_collections``: of the
    variables to save, by default GLOBAL_VARIABLES. ``objects``: by name, what else has
    ``state_dict()`` and ``load_state_dict(state)``.

    Beside each checkpoint lie the epoch and the states of ``objects``, of the callbacks that have
    ``state_dict()`` or are known (StatMonitorParamSetter), and of the statistics. They are saved
    when all callbacks were triggered, wherever it stands among them. A save that the disk refuses
    is logged, and training goes on.
    """

    def __init__(
        self,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        var_collections: str | Sequence[str] | None = None,
        *,
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        if var_collections is None:
            var_collections = [v1.GraphKeys.GLOBAL_VARIABLES]
        keys = [var_collections] if isinstance(var_collections, str) else list(var_collections)
        self.var_collections = keys
        self.checkpoint_dir = _directory(checkpoint_dir)
        self.objects = dict(objects or {})
        states_of(self.objects)  # raises now, rather than at the first save
        self._options = max_to_keep, keep_checkpoint_every_n_hours
        self._point: ResumePoint | None = None
        self._is_due = False

    def go_on(self, point: ResumePoint) -> None:
        """Give the callbacks and objects their states once training begins."""
        self._point = point

    def _setup_graph(self) -> None:
        if self.checkpoint_dir is None:
            raise InitregError(
                "ModelSaver needs a folder: pass checkpoint_dir, or call logger.set_logger_dir()"
            )
        most, hours = self._options
        variables = {
            id(each): each for key in self.var_collections for each in v1.get_collection(key)
        }
        self._writer = CheckpointWriter(
            self.checkpoint_dir,
            max_to_keep=most,
            every_n_hours=hours,
            var_list=list(variables.values()),
        )
        self.saver = self._writer.saver
        v1.add_to_collection(v1.GraphKeys.SAVERS, self.saver)
        self._with_states()  # raises now for a name that is taken
        # Behind all others, the monitors too.
        self.trainer._callbacks.cbs.append(_Last(self))

    def _before_train(self) -> None:
        with self.graph.as_default():
            self._writer.export_meta_graph(f"graph-{datetime.now():%m%d-%H%M%S}.meta")

    def _trigger(self) -> None:
        self._is_due = True

    # Called by _Last.

    def _begin(self) -> None:
        point, self._point = self._point, None
        if point is not None:
            give_states(point.states, self._with_states(), str(point.path))
            self._writer.go_on(point.states)

    def _save_if_due(self, epoch: int) -> None:
        if not self._is_due:
            return
        self._is_due = False
        step = v1.train.global_step(self.trainer.sess, v1.train.get_global_step(self.graph))
        states = states_of(self._with_states())
        path = self._writer.save(self.trainer.sess, int(step), epoch=epoch, states=states)
        if path is not None:
            logger.info(f"Model saved to {path}.")

    def _with_states(self) -> dict[str, Any]:
        own = tensorpack_states.of_trainer(self.trainer)
        for name in self.objects:
            if name in own:
                raise InitregError(f"objects={{{name!r}: ...}}: the name is taken; choose another")
        return {**own, **self.objects}


class _Last(Callback):  # type: ignore[misc]
    """Comes behind all callbacks, when each has its state of after the epoch."""

    def __init__(self, saver: ModelSaver) -> None:
        self._saver = saver

    def _before_train(self) -> None:
        self._saver._begin()
        self._saver._save_if_due(self.trainer.epoch_num)  # PeriodicTrigger(before_train=True)

    def _trigger_step(self) -> None:
        is_last = self.trainer.local_step + 1 >= self.trainer.steps_per_epoch
        if not is_last:  # the epoch, which is not done, will begin anew
            self._saver._save_if_due(self.trainer.epoch_num - 1)

    def _trigger_epoch(self) -> None:
        self._saver._save_if_due(self.trainer.epoch_num)


class MinSaver(Callback):  # type: ignore[misc]
    """Saves the model whenever a statistic is smaller than it ever was, as ``min-STATISTIC``.

    ``reverse``: larger, as ``max-STATISTIC``. ``filename``: another name. ``checkpoint_dir``: by
    default the logger's. Put it behind what makes the statistic. It needs no ModelSaver.
    """

    def __init__(
        self,
        monitor_stat: str,
        reverse: bool = False,
        filename: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.monitor_stat = monitor_stat
        self.reverse = reverse
        self.filename = filename or f"{'max' if reverse else 'min'}-{monitor_stat}"
        self.best: tuple[int, float] | None = None
        self.checkpoint_dir = _directory(checkpoint_dir)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]

    def _setup_graph(self) -> None:
        if self.checkpoint_dir is None:
            raise InitregError(
                f"{type(self).__name__} needs a folder: pass checkpoint_dir, or call "
                "logger.set_logger_dir()"
            )
        variables = v1.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
        self._writer = CheckpointWriter(self.checkpoint_dir, var_list=variables)

    def _trigger(self) -> None:
        try:
            step, value = self.trainer.monitors.get_history(self.monitor_stat)[-1]
        except (KeyError, IndexError):
            return
        if self.best is not None and not self._is_better(value):
            return
        name = self.filename.replace("/", "-")
        if value == value and self._writer.save_as(self.trainer.sess, name) is not None:
            self.best = int(step), float(value)
            logger.info(
                f"Model at global_step={step} with {'maximum' if self.reverse else 'minimum'} "
                f"{self.monitor_stat}={value:.5g} saved."
            )

    def _is_better(self, value: float) -> bool:
        assert self.best is not None
        return value > self.best[1] if self.reverse else value < self.best[1]


class MaxSaver(MinSaver):
    """As :class:`MinSaver`, for the largest value."""

    def __init__(
        self,
        monitor_stat: str,
        filename: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(monitor_stat, True, filename, checkpoint_dir)


def _directory(given: str | os.PathLike[str] | None) -> str | None:
    found = given if given is not None else logger.get_logger_dir()
    return None if found is None else os.path.abspath(os.path.expanduser(found))


# --- resuming -----------------------------------------------------------------------------------


class AutoResumeTrainConfig(TrainConfig):  # type: ignore[misc]
    """A TrainConfig that goes on from the newest whole checkpoint, if there is one.

    It is looked for where the ModelSaver among ``callbacks`` saves, or else in the logger's folder.
    If it is found, it takes the place of the user's ``session_init`` and ``starting_epoch``, unless
    ``always_resume=False`` and they are given; if not, they are what the user says. Callbacks and
    objects get their states back, and ``stats.json`` loses the epochs that are to be done again.
    """

    def __init__(self, always_resume: bool = True, **kwargs: Any) -> None:
        saver = next(
            (
                e
                for e in tensorpack_states.flat(kwargs.get("callbacks") or [])
                if isinstance(e, ModelSaver)
            ),
            None,
        )
        directory = saver.checkpoint_dir if saver is not None else _directory(None)
        point = None if directory is None else _point(directory)
        is_free = kwargs.get("session_init") is None
        if point is not None and (always_resume or is_free):
            logger.info(
                f"Found checkpoint at {point.path}."
                + ("" if is_free else " session_init arguments will be overwritten.")
            )
            kwargs["session_init"] = SaverRestore(point.path)
            epoch = point.epoch if point.epoch is not None else _epoch_of_statistics()
            if epoch is not None and (always_resume or "starting_epoch" not in kwargs):
                kwargs["starting_epoch"] = epoch + 1
                _forget_statistics(epoch)
            if saver is not None:
                saver.go_on(point)
        super().__init__(**kwargs)


def _point(directory: str) -> ResumePoint | None:
    try:
        point, skipped = find(directory)
    except SourceNotFound:
        return None
    if skipped:
        logger.warn(passed_over(directory, point, skipped))
    return point


def _epoch_of_statistics() -> int | None:
    """As tensorpack finds it, of a run that another saver saved."""
    found: int | None = JSONWriter.load_existing_epoch_number()
    return found


def _forget_statistics(epoch: int) -> None:
    """Of epochs that ended after the checkpoint was saved: they are going to be done again."""
    folder = logger.get_logger_dir()
    path = None if folder is None else Path(folder, JSONWriter.FILENAME)
    if path is None or not path.is_file():
        return
    try:
        rows = json.loads(path.read_text("utf-8"))
    except ValueError:  # tensorpack says what is wrong with it
        return
    kept = [row for row in rows if row.get("epoch_num", 0) <= epoch]
    if len(kept) < len(rows):
        with written(path) as output:
            output.file().write_text(json.dumps(kept), "utf-8")
