"""Writes checkpoints of a TF1 session, with sidecars, atomically: for tensorpack and for hooks.

``tf.compat.v1.train.Saver`` writes them under a hidden name. It saves partitioned variables and
tables, and holds no copy of the model. Then they are flushed to disk and renamed, the sidecar first
and the index last.
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
from initreg.api.saving import convert
from initreg.api.sidecars import sidecar_of, sidecar_text
from initreg.storage.output import written
from initreg.trainers.shared.folder import absolute, log_not_saved
from initreg.trainers.shared.keeping import OF_THE_SAVER, Keeping, KeptCheckpoints
from initreg.trainers.shared.states import give_states

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
        self._name = name
        keeping = Keeping(max_to_keep, every_n_hours)
        self._kept = KeptCheckpoints(self.directory, keeping, self._remove)
        self._present: list[str] = []  # what this run saved and did not remove

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
            if not about and (self.directory / f"{name}.index").exists():
                # Saver would overwrite the data files of this name. initreg takes an unused name.
                convert(hidden, self.directory / f"{name}.index", verify=False)
            else:
                self._rename(hidden, name, about)
        except (OSError, *_OF_THE_DISK) as error:
            log_not_saved(self.directory / name, _reason(error))
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
            output.flush()
            # An older checkpoint of this name ends here: its data files are about to be replaced.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.directory / f"{name}.index")

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


def _reason(error: Exception) -> str:
    """The line of TensorFlow's message that gives the reason. Others say where the op was made."""
    if not isinstance(error, tf.errors.OpError):
        return str(error)
    lines = [each for each in error.message.splitlines() if each.strip() and "[[" not in each]
    return lines[-1] if lines else type(error).__name__


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
