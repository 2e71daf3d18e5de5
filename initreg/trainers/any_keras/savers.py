"""Callbacks that save, for any Keras.

``initreg.trainers.keras`` and ``.tf_keras`` add the base class of their own callbacks.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from initreg.api import sidecars
from initreg.api.resuming import ResumePoint
from initreg.storage.uploading import written_to
from initreg.store_paths import FilePath
from initreg.trainers.any_keras import callback_states, files
from initreg.trainers.any_keras.files import ENDING
from initreg.trainers.any_keras.model_state import ModelState
from initreg.trainers.any_keras.models import step_of
from initreg.trainers.any_keras.resumed import Resumed
from initreg.trainers.any_keras.workers import is_one_of_several, is_writer
from initreg.trainers.shared import best
from initreg.trainers.shared.keeping import OF_THE_SAVER, Keeping, KeptCheckpoints
from initreg.trainers.shared.run_folder import NOT_SAVED, anywhere, log_not_saved, make, now
from initreg.trainers.shared.states import check_names

logger = logging.getLogger("initreg")

OF_THE_MODEL = "model"  # the name of the model's own state in a sidecar


class Saver:
    """The base of the callbacks that save. A save that fails is logged, and training goes on.

    In several workers of one training, all of them read the variables, and one writes.
    """

    model: Any
    params: Any

    def __init__(
        self,
        directory: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.directory = anywhere(directory, storage_options)

    def _try(self, what: str, save: Callable[[], None]) -> bool:
        try:
            save()
        except NOT_SAVED as error:
            log_not_saved(what, error)
            return False
        return True


class ModelSaver(Saver):
    """Saves the run at the end of epochs, so that ``resume`` can go on with it.

    It has to be the last of the callbacks, because it saves their states as they are after the
    epoch. A save that fails, as on a full disk, is logged, and training goes on.

    Args:
        directory: where to save: a folder, which is made if it is missing, or a URL.
        max_to_keep: how many of the newest checkpoints to keep. None keeps all.
        keep_checkpoint_every_n_hours: of the older checkpoints, one in so many hours is kept for
            good. None keeps none of them.
        every_n_epochs: how often to save. The last epoch is saved in any case.
        objects: by name, what else has ``state_dict()`` and ``load_state_dict(state)``, such as a
            :class:`initreg.RandomStates` or a data set.
        storage_options: for a URL: what fsspec's file system is made with.

    Raises:
        ValueError: a number is out of range.

    >>> callbacks = [EarlyStopping(patience=3), ModelSaver("run", max_to_keep=5)]  # doctest: +SKIP
    >>> start = resume(model, callbacks)  # doctest: +SKIP
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        every_n_epochs: int = 1,
        objects: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, storage_options)
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs} is less than 1")
        self.every_n_epochs = every_n_epochs
        self.objects = dict(objects or {})
        keeping = Keeping(max_to_keep, keep_checkpoint_every_n_hours)
        self._kept = KeptCheckpoints(self.directory, keeping, self._remove)
        self._callbacks: dict[str, Any] | None = None
        self._resumed: Resumed | None = None

    @property
    def callbacks(self) -> dict[str, Any]:
        """The other callbacks whose states it saves, by name."""
        return self._callbacks or {}

    # Called by resume().

    def bind(self, callbacks: Sequence[Any]) -> None:
        """Learn which other callbacks there are, to save their states.

        Raises:
            InitregError: an object has the name of a callback.
        """
        self._callbacks = callback_states.named([each for each in callbacks if each is not self])
        check_names(self.objects, (OF_THE_MODEL, OF_THE_SAVER, *self._callbacks))

    def go_on(self, resumed: Resumed, model: Any) -> None:
        """Take over the list of kept checkpoints. The states are given once training begins."""
        self._resumed = resumed
        if resumed.point is not None and is_writer(model):
            self._kept.go_on(resumed.point.states, str(resumed.point.path))

    def check(self, point: ResumePoint) -> None:
        """Raise DamagedFile if :meth:`go_on` would, without a change."""
        self._kept.check(point.states, str(point.path))

    # Called by fit.

    def on_train_begin(self, logs: Any = None) -> None:
        # By now the other callbacks have reset themselves.
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
        if name in self._kept.recent:  # an epoch without a step: all gradients were infinite
            name += f"-epoch-{epoch}"
        named = {**self.callbacks, **self.objects, OF_THE_MODEL: ModelState(self.model)}
        states = {key: callback_states.state_of(each) for key, each in named.items()}
        weights = {key: callback_states.weights_of(each) for key, each in self.callbacks.items()}
        content = files.weights_of(self.model)
        if not is_writer(self.model):
            return
        make(self.directory)
        states[OF_THE_SAVER] = self._kept.state_for(name)
        # A run that was started anew in this folder may have left a checkpoint of this name. It
        # stays until the new one is complete.
        older = self._at(f"{name}{ENDING}")
        with written_to(older) as output:
            # The sidecar becomes visible first, the weights last. It is written last, because it
            # has the checksums of the others.
            sidecar = output.file(sidecars.sidecar_of(output.path).name)
            parts = files.write_best(output, weights)
            parts[output.path.name] = files.write_weights(self.model, content, output)
            is_new = output.is_free(output.path.name)
            replaces = None if is_new else sidecars.Replaced(sidecars.replaced(older), parts)
            text = sidecars.sidecar_text(
                output.path.name,
                epoch=epoch,
                step=step,
                states=states,
                files=parts,
                replaces=replaces,
            )
            sidecar.write_text(text, "utf-8")
        if replaces is not None:
            with contextlib.suppress(OSError):
                sidecars.forget_replaced(self._at(older.name))
        self._kept.saved(states[OF_THE_SAVER])

    def _at(self, name: str) -> FilePath:
        return now(self.directory) / name

    def _remove(self, name: str) -> None:
        files.remove(now(self.directory), name)


class MinSaver(Saver):
    """Saves the model with the smallest value of a logged quantity so far.

    The file is not for resuming. It is the model to publish. Beside it is a ``.json`` with the
    value, the epoch and the step. NaN is never the smallest. A save that fails is logged, and
    training goes on.

    Args:
        directory: where to save: a folder, which is made if it is missing, or a URL.
        monitor: the quantity, as ``fit`` logs it.
        filename: by default ``min-MONITOR.weights.h5``.
        storage_options: for a URL: what fsspec's file system is made with.

    Attributes:
        best: the smallest value so far, None before the first save.
        best_epoch: the epoch of that value, counted from 1.

    Raises:
        ValueError: ``filename`` has a folder in it, or does not end in ``.weights.h5``.

    >>> model.fit(x, y, callbacks=[MinSaver("run", "val_loss")])  # doctest: +SKIP
    """

    _largest = False

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        filename: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, storage_options)
        self.monitor = monitor
        default = best.default_name(monitor, largest=self._largest)
        self.filename = filename or f"{default}{ENDING}"
        if not self.filename.endswith(ENDING) or os.path.basename(self.filename) != self.filename:
            raise ValueError(
                f"filename={self.filename!r}: give a file name that ends in {ENDING!r}"
            )
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._warned = False
        self._content: bytes | None = None

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
        # Whether another worker's save failed is not known here, so all read the variables always.
        self._content = files.weights_of(self.model) if is_one_of_several(self.model) else None
        if best.is_better(value, self.best, largest=self._largest):
            what = f"{self.filename} of epoch {epoch + 1} in {self.directory}"
            if self._try(what, lambda: self._save(value, epoch + 1)):
                self.best, self.best_epoch = value, epoch + 1
        self._content = None

    def _save(self, value: float, epoch: int) -> None:
        about = {"monitor": self.monitor, "value": value, "epoch": epoch}
        about["step"] = step_of(self.model)
        if not is_writer(self.model):
            return
        content = self._content if self._content is not None else files.weights_of(self.model)
        make(self.directory)
        with written_to(self.directory / self.filename) as output:
            beside = output.file(f"{self.filename.removesuffix(ENDING)}.json")
            beside.write_text(json.dumps(about) + "\n", "utf-8")
            files.write_weights(self.model, content, output)


class MaxSaver(MinSaver):
    """Saves the model with the largest value of a logged quantity so far.

    It takes what :class:`MinSaver` takes. The file is ``max-MONITOR.weights.h5`` by default.

    >>> model.fit(x, y, callbacks=[MaxSaver("run", "val_accuracy")])  # doctest: +SKIP
    """

    _largest = True
