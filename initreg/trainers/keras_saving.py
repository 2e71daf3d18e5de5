"""Saving of ``fit``, for any Keras: ``initreg.trainers.keras`` and ``.tf_keras`` add the
base class of their callbacks.

A checkpoint is ``model-STEP.weights.h5``, as ``model.load_weights`` takes it, with its sidecar and,
if an EarlyStopping holds the best weights, ``model-STEP.best.npz``. The weights come last.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initreg.api import chain, resuming
from initreg.api.states import taken
from initreg.errors import InitregError, TargetError
from initreg.storage.output import written
from initreg.trainers import keras_states as states
from initreg.trainers.keeping import Keeping

logger = logging.getLogger("initreg")

ENDING = ".weights.h5"
_BEST = ".best.npz"
OF_THE_MODEL = "model"  # its name among the states
OF_THE_SAVER = "ModelSaver"


# --- files --------------------------------------------------------------------------------------


def weights_file(model: Any) -> bytes:
    """The bytes of what ``model.save_weights`` writes. In memory, because HDF5 ends the process
    (SIGSEGV) some time after it could not write to a full disk. Raises TargetError."""
    optimizer = getattr(model, "optimizer", None)
    if not model.built:
        raise TargetError(f"Keras model {model.name!r}: it is not built, so it has no weights yet")
    if optimizer is not None and ".legacy" in type(optimizer).__module__:
        raise TargetError(
            f"Keras does not save the state of {type(optimizer).__name__} of "
            "tf_keras.optimizers.legacy in a .weights.h5 file: compile the model with the "
            "optimizer of tf_keras.optimizers"
        )
    is_keras3 = any(base.__module__.startswith("keras.") for base in type(model).__mro__)
    found = _Member()
    if is_keras3:
        from keras.src.saving import saving_lib

        visited = "visited_saveables"
    else:
        from tf_keras.src.saving import saving_lib

        visited = "visited_trackables"
    # As save_weights_only does it; a store that belongs to an archive is held in memory.
    store = saving_lib.H5IOStore("model.weights.h5", archive=found, mode="w")
    saving_lib._save_state(
        model, weights_store=store, assets_store=None, inner_path="", **{visited: set()}
    )
    store.close()
    return found.content


class _Member:
    """The one member of an archive."""

    content = b""

    def writestr(self, _name: str, content: bytes) -> None:
        self.content = content


def step_of(model: Any) -> int | None:
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    return None if iterations is None else int(iterations.numpy())


def _remove(folder: Path, name: str) -> None:
    """A checkpoint of the name without ending: first of all its sidecar, so that it is none."""
    sidecar = resuming.sidecar_of(folder / f"{name}{ENDING}")
    for path in (sidecar, folder / f"{name}{ENDING}", folder / f"{name}{_BEST}"):
        with contextlib.suppress(OSError):
            path.unlink()


# --- callbacks ----------------------------------------------------------------------------------


class Saver:
    """What the callbacks that save have in common: a save that the disk refuses is logged, and
    training goes on."""

    model: Any
    params: Any

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        super().__init__()
        self.directory = Path(os.path.abspath(os.path.expanduser(directory)))

    def _try(self, what: str, save: Any) -> bool:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            save()
        except OSError as error:
            logger.warning("%s was not saved, and training goes on: %s", what, error)
            return False
        return True


class ModelSaver(Saver):
    """Saves the run at the end of epochs, so that :func:`resume` can go on with it.

    ``directory``: where, made if it is missing. ``max_to_keep``: how many of the newest stay, all
    if it is None; of those that would go, one in ``keep_checkpoint_every_n_hours`` stays for good.
    ``every_n_epochs``: the last epoch is saved in any case. ``objects``: by name, what else has
    ``state_dict()`` and ``load_state_dict(state)``: a :class:`initreg.RandomStates`, a data set.

    It is the last of the callbacks: it saves their states of after the epoch.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        every_n_epochs: int = 1,
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(directory)
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs} is no number of epochs")
        self.every_n_epochs = every_n_epochs
        self.objects = dict(objects or {})
        self._keeping = Keeping(max_to_keep, keep_checkpoint_every_n_hours)
        self._callbacks: dict[str, Any] | None = None
        self._resumed: Resumed | None = None

    @property
    def callbacks(self) -> dict[str, Any]:
        """The others whose states it saves, by name."""
        return self._callbacks or {}

    # Called by resume().

    def bind(self, callbacks: Sequence[Any]) -> None:
        """Tell it of the others, whose states it saves. Raises InitregError for a name of two."""
        self._callbacks = states.named([each for each in callbacks if each is not self])
        for name in (OF_THE_MODEL, OF_THE_SAVER, *self._callbacks):
            if name in self.objects:
                raise InitregError(f"objects={{{name!r}: ...}}: the name is taken; choose another")

    def go_on(self, resumed: Resumed) -> None:
        """Take up the book of what is kept, and have the states given once training begins."""
        self._resumed = resumed
        point = resumed.point
        if point is not None and OF_THE_SAVER in point.states:
            saved = point.states[OF_THE_SAVER]
            with taken(OF_THE_SAVER, str(point.path)):
                self._keeping.load_state_dict(saved["keeping"])
                gone = self._keeping.add(saved["name"], saved["saved_at"])
            self._forget(gone)

    # Called by fit.

    def on_train_begin(self, logs: Any = None) -> None:
        # The others have begun anew by now.
        if self._callbacks is None:
            logger.warning(
                "%s: the states of the other callbacks are not saved: call resume(model, "
                "callbacks) before fit, also on a first start",
                self.directory,
            )
            self._callbacks = {}
        resumed, self._resumed = self._resumed, None
        if resumed is not None and resumed.point is not None:
            resumed.give_states(self.callbacks)
            resumed.give_states(self.objects)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        is_last = done == (self.params or {}).get("epochs") or self.model.stop_training
        if done % self.every_n_epochs == 0 or is_last:
            self._try(f"epoch {done} in {self.directory}", lambda: self._save(done))

    def _save(self, epoch: int) -> None:
        step = step_of(self.model)
        name = f"model-{epoch if step is None else step}"
        if name in self._keeping:  # an epoch without a step, as all gradients were infinite
            name += f"-epoch-{epoch}"
        _remove(self.directory, name)  # of a run that was given up here
        named = {
            **self.callbacks,
            **self.objects,
            OF_THE_MODEL: states.ModelState(self.model),
        }
        found = {key: states.state_of(each) for key, each in named.items()}
        best = {key: states.weights_of(each) for key, each in self.callbacks.items()}
        saved_at = time.time()
        keeping = self._keeping.state_dict()
        found[OF_THE_SAVER] = {"name": name, "saved_at": saved_at, "keeping": keeping}
        content = weights_file(self.model)
        with written(self.directory / f"{name}{ENDING}") as output:
            output.need(len(content) + sum(a.nbytes for each in best.values() for a in each))
            sidecar = output.file(resuming.sidecar_of(output.path).name)
            files: dict[str, Path] = {}
            if any(best.values()):
                files[f"{name}{_BEST}"] = _write_best(output.file(f"{name}{_BEST}"), best)
            files[output.path.name] = output.file()
            files[output.path.name].write_bytes(content)
            sidecar.write_text(
                resuming.sidecar_text(
                    output.path.name, epoch=epoch, step=step, states=found, files=files
                ),
                "utf-8",
            )
        self._forget(self._keeping.add(name, saved_at))

    def _forget(self, names: Sequence[str]) -> None:
        for name in names:
            _remove(self.directory, name)
        with contextlib.suppress(OSError):
            resuming.remove_orphans(self.directory)


def _write_best(path: Path, best: Mapping[str, Sequence[Any]]) -> Path:
    import numpy as np

    arrays = {f"{key}/{i}": array for key, each in best.items() for i, array in enumerate(each)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


class BestSaver(Saver):
    """Saves the model whenever a logged quantity is better than it ever was."""

    better = "min"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        filename: str | None = None,
    ) -> None:
        super().__init__(directory)
        self.monitor = monitor
        self.filename = filename or f"{self.better}-{monitor.replace('/', '-')}{ENDING}"
        if not self.filename.endswith(ENDING) or os.path.basename(self.filename) != self.filename:
            raise ValueError(f"filename={self.filename!r} is no name that ends in {ENDING!r}")
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._warned = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            if not self._warned:
                names = ", ".join(sorted(logs or {})) or "nothing"
                logger.warning("%s: there is no %r; logged: %s", self, self.monitor, names)
            self._warned = True
            return
        value = float(value)
        if self._is_better(value):
            what = f"{self.filename} of epoch {epoch + 1} in {self.directory}"
            if self._try(what, lambda: self._save(value, epoch + 1)):
                self.best, self.best_epoch = value, epoch + 1

    def _is_better(self, value: float) -> bool:
        if value != value:
            return False
        if self.best is None:
            return True
        return value < self.best if self.better == "min" else value > self.best

    def _save(self, value: float, epoch: int) -> None:
        content = weights_file(self.model)
        about = {"monitor": self.monitor, "value": value, "epoch": epoch}
        about["step"] = step_of(self.model)
        with written(self.directory / self.filename) as output:
            output.need(len(content))
            beside = output.file(f"{self.filename.removesuffix(ENDING)}.json")
            beside.write_text(json.dumps(about) + "\n", "utf-8")
            output.file().write_bytes(content)


class MinSaver(BestSaver):
    """Saves the model with the smallest value of ``monitor`` so far.

    ``directory/min-MONITOR.weights.h5``, or ``filename``; beside it a ``.json`` with the value, the
    epoch and the step. Nothing to resume from, but the model to publish. A value that is no number
    is never the smallest.
    """


class MaxSaver(BestSaver):
    """As :class:`MinSaver`, with the largest value: ``max-MONITOR.weights.h5``."""

    better = "max"


# --- what a run goes on with --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where ``fit`` goes on. ``epoch``: how many are done. ``point``: from which checkpoint, None
    on a first start. ``stopped``: whether a callback had ended the training."""

    epoch: int = 0
    point: resuming.ResumePoint | None = None
    stopped: bool = False

    @property
    def initial_epoch(self) -> int:
        """What ``fit`` takes: ``epoch``, or a number that no training reaches if it was stopped.
        To train on in spite of that, take ``epoch``."""
        return sys.maxsize if self.stopped else self.epoch

    def give_states(self, named: Mapping[str, Any]) -> None:
        """To callbacks and objects, by name."""
        assert self.point is not None
        best = None
        for name, each in named.items():
            if name not in self.point.states:
                continue
            state = self.point.states[name]
            weights = []
            if isinstance(state, Mapping) and state.get("best_weights") is True:
                best = _read_best(self.point.path) if best is None else best
                weights = best.get(name, [])
            with taken(name, str(self.point.path)):
                states.give_state(each, state, weights)


def _read_best(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    best = path.with_name(path.name.removesuffix(ENDING) + _BEST)
    for key, array in chain.load(best).items():
        found.setdefault(key.rpartition("/")[0], []).append(array)
    return found
