"""Checkpoints of a TF1 session with their sidecars, whole or absent: for tensorpack, and for hooks.

They are written by ``tf.compat.v1.train.Saver``, which saves partitioned variables and tables and
holds no copy of the model, under a hidden name; then flushed to the disk and renamed, the sidecar
first and the index last.
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
from pathlib import Path
from typing import Any

import tensorflow as tf

from initreg.api.resuming import remove_orphans, sidecar_of, sidecar_text
from initreg.api.saving import convert
from initreg.api.states import give, taken
from initreg.storage.output import written
from initreg.trainers.keeping import Keeping

logger = logging.getLogger("initreg")
v1 = tf.compat.v1

_OF_THE_SAVER = "ModelSaver"  # its name among the states
_HIDDEN = ".initreg-"
# What TensorFlow makes of an error of the file system. A full disk is RESOURCE_EXHAUSTED, a file
# that grew too large OUT_OF_RANGE or UNKNOWN, a folder that is gone NOT_FOUND.
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
    """Saves the variables of a session as ``directory/NAME-STEP``, and removes old ones.

    ``var_list`` as of ``tf.compat.v1.train.Saver``, whose ops it adds: make it before the graph is
    finalized. ``max_to_keep``, ``every_n_hours``: see :class:`initreg.trainers.keeping.Keeping`.
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
        self.directory = Path(os.path.abspath(os.path.expanduser(directory)))
        self.saver = v1.train.Saver(var_list=var_list, max_to_keep=0, save_relative_paths=True)
        self._name = name
        self._keeping = Keeping(max_to_keep, every_n_hours)
        self._stand: list[str] = []  # what this run saved, for the state file

    def save(
        self, session: Any, step: int, *, epoch: int | None, states: Mapping[str, Any]
    ) -> Path | None:
        """Save; the prefix of the checkpoint. If the disk does not let it, the log says so, what
        stood before stands, and it is None."""
        name = f"{self._name}-{step}"
        saved_at = time.time()
        own = {"name": name, "saved_at": saved_at, "keeping": self._keeping.state_dict()}
        states = {**states, _OF_THE_SAVER: own}
        if not self._write(session, name, epoch=epoch, step=step, states=states):
            return None
        self._stand = [*(each for each in self._stand if each != name), name]
        for old in self._keeping.add(name, saved_at):
            self._remove(old)
        with contextlib.suppress(OSError):
            self._write_state()
            remove_orphans(self.directory)
        return self.directory / name

    def save_as(self, session: Any, name: str) -> Path | None:
        """Save under a name of its own, to be kept, with no sidecar: it is none to go on from.
        What stands under that name does so until the new stands."""
        return self.directory / name if self._write(session, name) else None

    def _write(self, session: Any, name: str, **about: Any) -> bool:
        hidden = self.directory / f"{_HIDDEN}{secrets.token_hex(4)}-{name}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.saver.save(session, str(hidden), write_meta_graph=False, write_state=False)
            if not about and (self.directory / f"{name}.index").exists():
                # Saver calls the data as they are called that stand; initreg finds a free name.
                convert(hidden, self.directory / f"{name}.index", verify=False)
            else:
                self._rename(hidden, name, about)
        except (OSError, *_OF_THE_DISK) as error:
            path = self.directory / name
            logger.warning("%s was not saved, and training goes on: %s", path, _reason(error))
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
            # Of a checkpoint of this name, whose data are about to be replaced.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.directory / f"{name}.index")

    def _remove(self, name: str) -> None:
        """The index first: without it the rest is no checkpoint."""
        self._stand = [each for each in self._stand if each != name]
        parts = [path.name for path in self.directory.glob(f"{glob.escape(name)}.data-*")]
        for part in (f"{name}.index", sidecar_of(name).name, *parts):
            with contextlib.suppress(OSError):
                (self.directory / part).unlink()

    def _write_state(self) -> None:
        """The file ``checkpoint``, by which ``tf.train.latest_checkpoint`` finds the latest."""
        lines = [f'model_checkpoint_path: "{self._stand[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in self._stand]
        with written(self.directory / "checkpoint") as output:
            output.file().write_text("\n".join(lines) + "\n", "utf-8")

    def export_meta_graph(self, name: str, collections: Sequence[str] | None = None) -> Path | None:
        """The graph as ``directory/NAME``; None, and a line in the log, if the disk refuses it."""
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

    def go_on(self, states: Mapping[str, Any]) -> None:
        """Take up the book of what is kept, from the states of the checkpoint that was restored."""
        state = states.get(_OF_THE_SAVER)
        if state is None:
            return
        with taken(_OF_THE_SAVER, str(self.directory)):
            self._keeping.load_state_dict(state["keeping"])
            gone = self._keeping.add(state["name"], state["saved_at"])
        recent = [name for name, _ in self._keeping.state_dict()["recent"]]
        self._stand = [name for name in recent if (self.directory / f"{name}.index").exists()]
        for old in gone:
            self._remove(old)


def _reason(error: Exception) -> str:
    """TensorFlow says where the op was made and which it was, and the reason between the two."""
    if not isinstance(error, tf.errors.OpError):
        return str(error)
    lines = [each for each in error.message.splitlines() if each.strip() and "[[" not in each]
    return lines[-1] if lines else type(error).__name__


def _clear(directory: Path, hidden: str) -> None:
    """What is left of a save that failed; and of processes that were killed in one."""
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


def give_states(states: Mapping[str, Any], objects: Mapping[str, Any], label: str) -> None:
    """To each object its own; the log names those that have none."""
    for name, each in objects.items():
        if name in states:
            give(each, states[name], name, label)
        else:
            logger.warning("%s has no state of %r, which begins anew", label, name)
