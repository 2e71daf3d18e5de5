"""Going on with ``fit``, for any Keras, from what :mod:`initreg.trainers.keras_saving` saved."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from initreg.api import chain, resuming
from initreg.api.smart_init import SmartInit
from initreg.api.states import taken
from initreg.errors import InitregError, MismatchError, NothingMatched, SourceNotFound, TargetError
from initreg.trainers import keras_states as states
from initreg.trainers.keras_saving import OF_THE_MODEL, OF_THE_SAVER, ModelSaver, Resumed

logger = logging.getLogger("initreg")


def resume(model: Any, callbacks: Sequence[Any], *, verify: bool = False) -> Resumed:
    """Go on from the newest whole checkpoint of the ModelSaver of ``callbacks``, if there is one.

    ``model``: built, and compiled as for ``fit``; it gets its weights, the optimizer's state and
    its seeds. The callbacks and objects get their states when training begins. Call it before
    ``fit`` in any case: it is by this that the saver knows the other callbacks. ``verify``: check
    all bytes of the checkpoint first.

    Raises InitregError if the last of the callbacks is no ModelSaver; TargetError, MismatchError
    if the model does not fit. Newer checkpoints that are not whole are passed over with a
    ResumeWarning.

    >>> callbacks = [EarlyStopping(patience=3), ModelSaver("run")]  # doctest: +SKIP
    >>> start = resume(model, callbacks)  # doctest: +SKIP
    >>> model.fit(  # doctest: +SKIP
    ...     x, y, epochs=20, callbacks=callbacks, initial_epoch=start.initial_epoch)
    """
    listed = states.flat(callbacks)
    saver = listed[-1] if listed else None
    if not isinstance(saver, ModelSaver):
        raise InitregError(
            "resume(model, callbacks): the last of the callbacks has to be a ModelSaver, which "
            "saves the states of those before it"
        )
    saver.bind(listed)
    resumed = Resumed()
    try:
        point = resuming.resume(saver.directory, verify=verify)
    except SourceNotFound:
        point = None
    if point is not None:
        _check_names(point, saver)
        load(model, point.path)
        state = point.states.get(OF_THE_MODEL)
        stopped = False
        if state is not None:
            with taken(OF_THE_MODEL, str(point.path)):
                stopped = bool(state["stopped"])
                states.ModelState(model).load_state_dict(state)
        resumed = Resumed(point.epoch or 0, point, stopped)
        for name, each in saver.callbacks.items():
            if name in point.states:
                with taken(name, str(point.path)):
                    states.prepare(each, point.states[name])
        resumed.give_states(saver.objects)
    saver.go_on(resumed)
    return resumed


def _check_names(point: resuming.ResumePoint, saver: ModelSaver) -> None:
    wanted = {**saver.callbacks, **saver.objects}
    for name in sorted(wanted.keys() - point.states.keys()):
        logger.warning("%s has no state of %r, which begins anew", point.path, name)
    for name in sorted(point.states.keys() - wanted.keys() - {OF_THE_MODEL, OF_THE_SAVER}):
        logger.warning("%s has a state of %r, which is not there to take it", point.path, name)


def load(model: Any, path: Path) -> None:
    """The weights and the optimizer's state into the model, or nothing.

    Raises TargetError if the model is not built, MismatchError if the file does not fit it.
    """
    if not model.built:
        raise TargetError(
            f"Keras model {model.name!r}: it is not built, so it has no variables yet: give it an "
            "Input, call it on some data, or build(input_shape), before resume()"
        )
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "build"):
        # Keras restores nothing into an optimizer that is not built, and says so in a log.
        if not getattr(optimizer, "built", getattr(optimizer, "_built", False)):
            optimizer.build(model.trainable_variables)
        _check_optimizer(optimizer, path)
    with contextlib.suppress(NothingMatched):  # all layers have their own ways of saving
        SmartInit(path, on_missing="ignore", on_unused="ignore").plan(model)
    try:
        model.load_weights(str(path))
    except ValueError as error:
        raise MismatchError(
            f"{path}: Keras does not load it into {model.name!r}, of which a part may have been "
            f"loaded by now: {error}"
        ) from error


def _check_optimizer(optimizer: Any, path: Path) -> None:
    variables = optimizer.variables
    count = len(list(variables() if callable(variables) else variables))
    with chain.open(path) as arrays:
        saved = sum(name.startswith("optimizer/vars/") for name in arrays)
    if saved != count:
        raise MismatchError(
            f"{path}: holds {saved} variables of an optimizer, and {type(optimizer).__name__} has "
            f"{count}: compile the model with the optimizer that it was trained with"
        )
