"""Writes checkpoints of a TF1 session, with sidecars, atomically: for tensorpack and for hooks.

``tf.compat.v1.train.Saver`` writes them under a hidden name. It saves partitioned variables and
tables, and holds no copy of the model. Then they are flushed to disk and renamed, the sidecar first
and the index last. An older checkpoint of the same name stays complete until then. If they go to a
store, TensorFlow writes them into a temporary folder, and they are uploaded in that order.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
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
    remove_if_old,
    replaced,
    sidecar_of,
    sidecar_text,
)
from initreg.errors import InitregError, UnwritableFile
from initreg.storage.paths import listed, status, which_are_there
from initreg.storage.uploading import removed, written_to
from initreg.store_paths import FilePath, StorePath
from initreg.trainers.shared.keeping import OF_THE_SAVER, Keeping, KeptCheckpoints
from initreg.trainers.shared.run_folder import NOT_SAVED, anywhere, log_not_saved, make, now
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
        directory: where to save: a folder, which is made if it is missing, or a URL.
        storage_options: for a URL: what fsspec's file system is made with.
        max_to_keep: how many of the newest are kept. None or 0 keeps all.
        every_n_hours: how often one of the older ones is kept for good, see
            :class:`initreg.trainers.shared.keeping.Keeping`.
        name: how checkpoints are called.
        var_list: as in ``tf.compat.v1.train.Saver``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | StorePath,
        *,
        storage_options: Mapping[str, Any] | None = None,
        max_to_keep: int | None = 10,
        every_n_hours: float | None = 0.5,
        name: str = "model",
        var_list: Any = None,
    ) -> None:
        self.directory = anywhere(directory, storage_options)
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

    def restore(self, session: Any, path: FilePath, *, is_last: bool = True) -> Restoration:
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
    ) -> FilePath | None:
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
        with contextlib.suppress(*NOT_SAVED):
            self._write_state()
            self._remove_leftovers()
        return self.directory / name

    def save_as(self, session: Any, name: str) -> FilePath | None:
        """Save under a name of its own, to be kept. There is no sidecar: it is not for resuming.

        Returns:
            The prefix of the checkpoint. None if the disk refused it: then the log says so, and an
            older checkpoint of this name is as it was.
        """
        return self.directory / name if self._write(session, name) else None

    def _write(self, session: Any, name: str, **about: Any) -> bool:
        hidden = f"{_HIDDEN}{secrets.token_hex(4)}-{name}"
        path = now(self.directory) / name
        try:
            make(self.directory)
            if _is_there(path.with_name(f"{name}.index")):
                self._replace(session, hidden, path, about)
            else:
                self._add(session, hidden, path, about)
        except (*NOT_SAVED, *_OF_THE_DISK) as error:
            log_not_saved(path, reason_of(error))
            return False
        finally:
            if isinstance(self.directory, Path):
                _clear(self.directory, hidden)
        return True

    def _save_in(self, folder: Path, hidden: str, session: Any) -> Path:
        """Let TensorFlow write the checkpoint. Returns its prefix."""
        prefix = folder / hidden
        self.saver.save(session, str(prefix), write_meta_graph=False, write_state=False)
        if not os.path.lexists(f"{prefix}.index"):
            raise UnwritableFile(
                f"TensorFlow wrote no checkpoint into {folder}. If its session is one of a server "
                "on another machine, save into a folder that both machines share, or set TMPDIR to "
                "one if you save to a URL"
            )
        return prefix

    def _add(self, session: Any, hidden: str, path: FilePath, about: Mapping[str, Any]) -> None:
        name = path.name
        with written_to(path) as output:
            prefix = self._save_in(output.folder, hidden, session)
            if about:
                text = sidecar_text(name, **about)
                output.file(sidecar_of(output.path).name).write_text(text, "utf-8")
            parts = sorted(each.name for each in output.folder.glob(f"{hidden}.data-*"))
            for part in [*parts, f"{hidden}.index"]:
                output.take(prefix.with_name(part), name + part.removeprefix(hidden))

    def _replace(self, session: Any, hidden: str, path: FilePath, about: Mapping[str, Any]) -> None:
        """Take the place of an older checkpoint, which stays complete until the index is renamed.

        The data files get unused names. The sidecar holds the older one as well until then.
        """
        name = path.name
        with written_to(path.with_name(f"{name}.index")) as output:
            prefix = self._save_in(output.folder, hidden, session)
            sidecar = output.file(sidecar_of(path).name) if about else None
            move(prefix, output)
            if sidecar is not None:
                index = f"{name}.index"
                older = Replaced(replaced(path), {index: output.files[index]})
                sidecar.write_text(sidecar_text(name, **about, replaces=older), "utf-8")
        if about:
            with contextlib.suppress(*NOT_SAVED):
                forget_replaced(now(self.directory) / name)

    def _remove(self, name: str) -> None:
        """The index goes first: without it, the rest is not taken for a checkpoint."""
        self._present = [each for each in self._present if each != name]
        folder = now(self.directory)
        parts = [each for each in listed(folder) if each.startswith(f"{name}.data-")]
        if not removed(folder / f"{name}.index"):
            logger.warning("%s cannot be removed, and stays", folder / name)
            return
        for part in (sidecar_of(name).name, *parts):
            removed(folder / part)

    def _remove_leftovers(self) -> None:
        """Remove from a store the data files of uploads that were killed before that of the index.
        On the disk, a journal lists such files, and the next save removes them."""
        if isinstance(self.directory, Path):
            return
        folder = now(self.directory)
        names = listed(folder)
        pattern = re.compile(rf"({re.escape(self._name)}-\d+)\.data-\d{{5,}}-of-\d{{5,}}")
        for name in names:
            data = pattern.fullmatch(name)
            if data is not None and f"{data[1]}.index" not in names:
                remove_if_old(folder / name)

    def _write_state(self) -> None:
        """Write the file ``checkpoint``, in which ``tf.train.latest_checkpoint`` looks."""
        lines = [f'model_checkpoint_path: "{self._present[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in self._present]
        with written_to(now(self.directory) / "checkpoint", alone=True) as output:
            output.file().write_text("\n".join(lines) + "\n", "utf-8")

    def export_meta_graph(
        self, name: str | None = None, collections: Sequence[str] | None = None
    ) -> FilePath | None:
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
            make(self.directory)
            with written_to(now(self.directory) / name, alone=True) as output:
                output.file().write_bytes(meta.SerializeToString())
        except NOT_SAVED as error:
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
        there = which_are_there(now(self.directory), [f"{name}.index" for name in recent])
        self._present = [name for name in recent if f"{name}.index" in there]


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


def _is_there(path: FilePath) -> bool:
    """Whether something is at a path. Raises UnreadableFile if a store does not say."""
    return os.path.lexists(path) if isinstance(path, Path) else status(path) is not None


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
