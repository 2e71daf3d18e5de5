"""Writes checkpoints of a TF1 session, with sidecars, atomically: for tensorpack and for hooks.

``tf.compat.v1.train.Saver`` writes them under a hidden name. It saves partitioned variables and
tables, and holds no copy of the model. Then they are flushed to disk and renamed, the sidecar first
and the index last. An older checkpoint of the same name stays complete until then.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import tensorflow as tf

from initreg.api.resuming import ResumePoint
from initreg.api.saving import move
from initreg.api.sidecars import (
    Replaced,
    forget_replaced,
    replaced,
    sidecar_of,
    sidecar_text,
)
from initreg.errors import InitregError
from initreg.storage.output import written
from initreg.trainers.shared.keeping import OF_THE_SAVER, Keeping, KeptCheckpoints
from initreg.trainers.shared.run_folder import absolute, log_not_saved
from initreg.trainers.shared.states import give_states
from initreg.trainers.tf1.restoring import Restoration, reason_of
from initreg.trainers.tf1.saved import Taker, takers

logger = logging.getLogger("initreg")
v1 = tf.compat.v1

_HIDDEN = ".initreg-"
# What TensorFlow raises for errors of the file system. A full disk is RESOURCE_EXHAUSTED, a file
# that grew too large OUT_OF_RANGE or UNKNOWN, a missing folder NOT_FOUND.
_OF_THE_DISK = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.AlreadyExistsError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.UnknownError,
    tf.errors.DataLossError,
)


class CheckpointWriter:
    """Saves the variables of a session as ``directory/NAME-STEP``, and removes old checkpoints.

    It adds ops to the default graph, so make it before the graph is finalized.

    Args:
        directory: where to save. It is made if it is missing.
        max_to_keep: how many of the newest are kept. None or 0 keeps all.
        every_n_hours: how often one of the older ones is kept for good, see
            :class:`initreg.trainers.shared.keeping.Keeping`.
        name: how checkpoints are called.
        var_list: as in ``tf.compat.v1.train.Saver``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_to_keep: int | None = 10,
        every_n_hours: float | None = 0.5,
        name: str = "model",
        var_list: Any = None,
    ) -> None:
        self.directory = absolute(directory)
        self.saver = v1.train.Saver(var_list=var_list, max_to_keep=0, save_relative_paths=True)
        self._apart = _apart(var_list)
        self._is_default = var_list is None
        self._takers: list[Taker] | None = None
        self._name = name
        keeping = Keeping(max_to_keep, every_n_hours)
        self._kept = KeptCheckpoints(self.directory, keeping, self._remove)
        self._present: list[str] = []  # what this run saved and did not remove

    def use(self, saver: Any) -> None:
        """Save and restore as a Saver does that the user has made, of a Scaffold for instance.

        A ``var_list`` counts more. Adds nothing to the graph, which may be finalized.

        Raises:
            InitregError: the Saver writes the format of 2015.
        """
        saver_def = getattr(saver, "saver_def", None)
        if not self._is_default or saver_def is None:
            return
        graph = v1.get_default_graph()
        self._takers = takers(graph, self.saver.as_saver_def())
        found = takers(graph, saver_def)
        if _described(found) == _described(self._takers):
            return
        if saver_def.version != saver_def.V2:
            raise InitregError(
                "the Saver of the Scaffold writes V1 checkpoints, which a ModelSaver does not: "
                "make it with write_version=tf.compat.v1.train.SaverDef.V2"
            )
        own = type(saver_def)()
        own.CopyFrom(saver_def)
        own.max_to_keep = 0
        self.saver = v1.train.Saver(saver_def=own, save_relative_paths=True)
        self._apart, self._takers = None, found

    def restore(self, session: Any, path: Path, *, is_last: bool = True) -> Restoration:
        """Restore a checkpoint: all that the Saver saves, or nothing.

        Args:
            session: a plain session.
            path: the checkpoint.
            is_last: False if the caller repeats what is returned, with ``again()``, once everything
                is initialised.

        Raises:
            InitregError: what :meth:`initreg.SmartInit.init` raises.
        """
        apart = None if self._apart is None else self._apart.as_saver_def()
        found, self._takers = self._takers, None
        restoration = Restoration(session, self.saver.as_saver_def(), apart, found)
        restoration.run(path, is_last=is_last)
        return restoration

    def save(
        self, session: Any, step: int, *, epoch: int | None, states: Mapping[str, Any]
    ) -> Path | None:
        """Save the session and the states.

        Returns:
            The prefix of the checkpoint. None if the disk refused it: then the log says so, and
            the files are as they were.
        """
        name = f"{self._name}-{step}"
        own = self._kept.state_for(name)
        states = {**states, OF_THE_SAVER: own}
        if not self._write(session, name, epoch=epoch, step=step, states=states):
            return None
        self._present = [*(each for each in self._present if each != name), name]
        self._kept.saved(own)
        with contextlib.suppress(OSError):
            self._write_state()
        return self.directory / name

    def save_as(self, session: Any, name: str) -> Path | None:
        """Save under a name of its own, to be kept. There is no sidecar: it is not for resuming.

        Returns:
            The prefix of the checkpoint. None if the disk refused it: then the log says so, and an
            older checkpoint of this name is as it was.
        """
        return self.directory / name if self._write(session, name) else None

    def _write(self, session: Any, name: str, **about: Any) -> bool:
        hidden = self.directory / f"{_HIDDEN}{secrets.token_hex(4)}-{name}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.saver.save(session, str(hidden), write_meta_graph=False, write_state=False)
            if os.path.lexists(self.directory / f"{name}.index"):
                self._replace(hidden, name, about)
            else:
                self._rename(hidden, name, about)
        except (OSError, *_OF_THE_DISK) as error:
            log_not_saved(self.directory / name, reason_of(error))
            return False
        finally:
            _clear(self.directory, hidden.name)
        return True

    def _rename(self, hidden: Path, name: str, about: Mapping[str, Any]) -> None:
        with written(self.directory / name) as output:
            if about:
                text = sidecar_text(name, **about)
                output.file(sidecar_of(output.path).name).write_text(text, "utf-8")
            parts = sorted(path.name for path in self.directory.glob(f"{hidden.name}.data-*"))
            for part in [*parts, f"{hidden.name}.index"]:
                output.take(self.directory / part, name + part.removeprefix(hidden.name))

    def _replace(self, hidden: Path, name: str, about: Mapping[str, Any]) -> None:
        """Take the place of an older checkpoint, which stays complete until the index is renamed.

        The data files get unused names. The sidecar holds the older one as well until then.
        """
        path = self.directory / name
        with written(f"{path}.index") as output:
            sidecar = output.file(sidecar_of(path).name) if about else None
            move(hidden, output)
            if sidecar is not None:
                index = f"{name}.index"
                older = Replaced(replaced(path), {index: output.files[index]})
                sidecar.write_text(sidecar_text(name, **about, replaces=older), "utf-8")
        if about:
            with contextlib.suppress(OSError):
                forget_replaced(path)

    def _remove(self, name: str) -> None:
        """The index goes first: without it, the rest is not taken for a checkpoint."""
        self._present = [each for each in self._present if each != name]
        parts = [path.name for path in self.directory.glob(f"{glob.escape(name)}.data-*")]
        for part in (f"{name}.index", sidecar_of(name).name, *parts):
            with contextlib.suppress(OSError):
                (self.directory / part).unlink()

    def _write_state(self) -> None:
        """Write the file ``checkpoint``, in which ``tf.train.latest_checkpoint`` looks."""
        lines = [f'model_checkpoint_path: "{self._present[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in self._present]
        with written(self.directory / "checkpoint") as output:
            output.file().write_text("\n".join(lines) + "\n", "utf-8")

    def export_meta_graph(
        self, name: str | None = None, collections: Sequence[str] | None = None
    ) -> Path | None:
        """Write the default graph.

        Args:
            name: of the file, by default ``graph-DATE-TIME.meta``.
            collections: which collections of the graph to write, by default all.

        Returns:
            The path. None if the disk refused it: then the log says so.
        """
        name = name or f"graph-{datetime.now():%m%d-%H%M%S}.meta"
        graph = v1.get_default_graph()
        meta = v1.train.export_meta_graph(
            graph=graph,
            saver_def=self.saver.as_saver_def(),
            collection_list=collections or graph.get_all_collection_keys(),
        )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with written(self.directory / name) as output:
                output.file().write_bytes(meta.SerializeToString())
        except OSError as error:
            logger.warning("%s was not written: %s", self.directory / name, error)
            return None
        return self.directory / name

    def go_on(self, point: ResumePoint, objects: Mapping[str, Any]) -> None:
        """Resume from a checkpoint that was restored: give the objects their states, by name, and
        take over the list of kept checkpoints.

        Raises:
            DamagedFile: a state does not fit.
        """
        give_states(objects, point.states, point.path)
        self._kept.go_on(point.states, str(point.path))
        recent = self._kept.recent
        self._present = [name for name in recent if (self.directory / f"{name}.index").exists()]


def _apart(var_list: Any) -> Any:
    """A Saver of the objects whose states are not arrays, such as iterators. None without any."""
    listed = v1.get_collection(v1.GraphKeys.SAVEABLE_OBJECTS) if var_list is None else var_list
    listed = list(listed.values()) if isinstance(listed, Mapping) else list(listed)
    found = [
        each
        for each in tf.nest.flatten(listed)
        if any(spec.dtype in (tf.variant, tf.resource) for spec in getattr(each, "specs", ()))
    ]
    return v1.train.Saver(found, max_to_keep=0) if found else None


def _described(found: Sequence[Taker]) -> set[tuple[str, str, str]]:
    """What a Saver restores: the key of each array, its slice, and where it goes."""
    return {(read.key, read.region, taker.destination) for taker in found for read in taker.reads}


def _clear(directory: Path, hidden: str) -> None:
    """Remove the files of a save that failed, and old ones of processes that were killed."""
    now = time.time()
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            is_old = entry.name.startswith(_HIDDEN) and now - entry.stat().st_mtime > 3600
            if not entry.name.startswith(hidden) and not is_old:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name.startswith(hidden):
                os.unlink(entry.path)
