"""Resume ``fit``, for any Keras, from what :mod:`initreg.trainers.any_keras.savers` saved."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from initreg.api import opening
from initreg.api.resuming import ResumePoint
from initreg.api.smart_init import SmartInit
from initreg.api.states import taken
from initreg.errors import InitregError, MismatchError, NothingMatched, TargetError
from initreg.trainers.any_keras import callback_states
from initreg.trainers.any_keras.model_state import ModelState
from initreg.trainers.any_keras.models import optimizer_variables
from initreg.trainers.any_keras.resumed import Resumed
from initreg.trainers.any_keras.savers import OF_THE_MODEL, ModelSaver
from initreg.trainers.shared.folder import newest
from initreg.trainers.shared.keeping import OF_THE_SAVER
from initreg.trainers.shared.states import log_missing

logger = logging.getLogger("initreg")


def resume(model: Any, callbacks: Sequence[Any], *, verify: bool = False) -> Resumed:
    """Resume from the newest complete checkpoint of the ModelSaver in ``callbacks``, if any.

    Call it before ``fit`` on a first start, too, because the saver learns here which other
    callbacks there are. Newer checkpoints that are incomplete are skipped with a ResumeWarning.

    Args:
        model: built, and compiled as for ``fit``. It gets its weights, the optimizer's state and
            the seeds of its layers.
        callbacks: those that ``fit`` will get. The last is the ModelSaver. They and its ``objects``
            get their states when training begins.
        verify: whether to check all bytes of the checkpoint first.

    Returns:
        Where ``fit`` goes on, with ``initial_epoch``.

    Raises:
        InitregError: the last of the callbacks is not a ModelSaver, or a state does not fit.
        TargetError: the model is not built.
        MismatchError: the checkpoint does not fit the model or its optimizer.

    >>> callbacks = [EarlyStopping(patience=3), ModelSaver("run")]  # doctest: +SKIP
    >>> start = resume(model, callbacks)  # doctest: +SKIP
    >>> model.fit(  # doctest: +SKIP
    ...     x, y, epochs=20, callbacks=callbacks, initial_epoch=start.initial_epoch)
    """
    listed = callback_states.flat(callbacks)
    saver = listed[-1] if listed else None
    if not isinstance(saver, ModelSaver):
        raise InitregError(
            "resume(model, callbacks): the last of the callbacks has to be a ModelSaver, which "
            "saves the states of those before it"
        )
    saver.bind(listed)
    resumed = Resumed()
    point = newest(saver.directory, verify=verify)
    if point is not None:
        _log_names(point, saver)
        load(model, point.path)
        state = point.states.get(OF_THE_MODEL)
        stopped = False
        if state is not None:
            with taken(OF_THE_MODEL, str(point.path)):
                stopped = bool(state["stopped"])
                ModelState(model).load_state_dict(state)
        resumed = Resumed(point.epoch or 0, point, stopped)
        for name, each in saver.callbacks.items():
            if name in point.states:
                with taken(name, str(point.path)):
                    callback_states.prepare(each, point.states[name])
        resumed.give_states(saver.objects)
    saver.go_on(resumed)
    return resumed


def _log_names(point: ResumePoint, saver: ModelSaver) -> None:
    wanted = {**saver.callbacks, **saver.objects}
    log_missing(sorted(wanted), point.states, point.path)
    for name in sorted(point.states.keys() - wanted.keys() - {OF_THE_MODEL, OF_THE_SAVER}):
        logger.warning("%s has a state of %r, but there is no such callback", point.path, name)


def load(model: Any, path: Path) -> None:
    """Restore the weights and the optimizer's state, or change nothing.

    Raises:
        TargetError: the model is not built.
        MismatchError: the file does not fit the model.
    """
    if not model.built:
        raise TargetError(
            f"Keras model {model.name!r}: it is not built, so it has no variables yet: give it an "
            "Input, call it on some data, or build(input_shape), before resume()"
        )
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "build"):
        # Keras restores nothing into an optimizer that is not built, and only logs it. Those of
        # tf_keras have no public ``built``, and ignore a second build().
        if not getattr(optimizer, "built", False):
            optimizer.build(model.trainable_variables)
        _check_optimizer(optimizer, path)
    with contextlib.suppress(NothingMatched):  # all layers have their own ways of saving
        SmartInit(path, on_missing="ignore", on_unused="ignore").plan(model)
    try:
        model.load_weights(str(path))
    except ValueError as error:
        raise MismatchError(
            f"{path}: Keras does not load it into {model.name!r}. A part of the model may have "
            f"been loaded by now: {error}"
        ) from error


def _check_optimizer(optimizer: Any, path: Path) -> None:
    count = len(optimizer_variables(optimizer))
    with opening.open(path) as arrays:
        saved = sum(name.startswith("optimizer/vars/") for name in arrays)
    if saved != count:
        raise MismatchError(
            f"{path}: has {saved} optimizer variables, and {type(optimizer).__name__} has "
            f"{count}: compile the model with the optimizer that it was trained with"
        )
