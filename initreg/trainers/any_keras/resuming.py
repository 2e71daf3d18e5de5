"""Resume ``fit``, for any Keras, from what :mod:`initreg.trainers.any_keras.savers` saved."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from initreg.api.resuming import ResumePoint
from initreg.api.training_states import taken
from initreg.errors import DamagedFile, InitregError, InitregWarning, MismatchError, warn
from initreg.storage.uploading import on_disk
from initreg.trainers.any_keras import callback_states, checking
from initreg.trainers.any_keras.model_state import ModelState, seeds_of, set_value, value_of
from initreg.trainers.any_keras.models import optimizer_variables, unlisted_numbers
from initreg.trainers.any_keras.resumed import Resumed
from initreg.trainers.any_keras.savers import OF_THE_MODEL, ModelSaver
from initreg.trainers.any_keras.workers import agreed, scope_of
from initreg.trainers.shared.keeping import OF_THE_SAVER
from initreg.trainers.shared.run_folder import newest
from initreg.trainers.shared.states import log_missing

logger = logging.getLogger("initreg")


def resume(model: Any, callbacks: Sequence[Any], *, verify: bool = False) -> Resumed:
    """Resume from the newest complete checkpoint of the ModelSaver in ``callbacks``, if any.

    Call it before ``fit`` on a first start, too, because the saver learns here which other
    callbacks there are. Newer checkpoints that are incomplete are skipped with a ResumeWarning.
    An InitregWarning names callbacks of Keras that load other weights when ``fit`` begins.
    The workers of a ``tf.distribute`` strategy all call it, inside or outside of its scope.

    Args:
        model: built, and compiled as for ``fit``. It gets its weights, the optimizer's state and
            the seeds of its layers.
        callbacks: those that ``fit`` will get. The last is the ModelSaver. They and its ``objects``
            get their states when training begins.
        verify: whether to check all bytes of the checkpoint first.

    Returns:
        Where ``fit`` goes on, with ``initial_epoch``.

    Raises:
        InitregError: the last of the callbacks is not a ModelSaver, a state does not fit, or the
            workers of a strategy would resume from different checkpoints.
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
    for name in callback_states.that_restore(listed):
        warn(
            f"resume(model, callbacks): when fit begins, {name} puts the weights of its own file "
            "over those that are restored here, and the states of the callbacks no longer belong "
            "to them. Leave it out: the ModelSaver does its work",
            InitregWarning,
        )
    resumed = Resumed()
    point = agreed(model, lambda: newest(saver.directory, verify=verify))
    if point is not None:
        resumed = _resumed(model, point, saver)
    saver.go_on(resumed, model)
    return resumed


def _resumed(model: Any, point: ResumePoint, saver: ModelSaver) -> Resumed:
    """Restore a checkpoint. All that can be checked is checked before the first change."""
    with on_disk(point.path) as path:
        return _checked(model, point, saver, path)


def _checked(model: Any, point: ResumePoint, saver: ModelSaver, path: Path) -> Resumed:
    """Restore a checkpoint whose weights are at ``path``, after all checks."""
    label = str(point.path)
    state = point.states.get(OF_THE_MODEL)
    checking.check(model, path)
    stopped = False
    if state is not None:
        with taken(OF_THE_MODEL, label):
            stopped = bool(state["stopped"])
            ModelState(model).check(state, label)
    resumed = Resumed(point.epoch or 0, point, stopped)
    present = {name: each for name, each in saver.callbacks.items() if name in point.states}
    for name, each in present.items():
        with taken(name, label):
            callback_states.check(each, point.states[name])
    resumed.check_best(present, model.get_weights())
    saver.check(point)
    with _unchanged_after_an_error(model, saver.objects):
        resumed.give_states(saver.objects)
        load(model, path)
        if state is not None:
            with taken(OF_THE_MODEL, label):
                ModelState(model).load_state_dict(state)
    _log_names(point, saver)
    for name, each in present.items():
        with taken(name, label):
            callback_states.prepare(each, point.states[name])
    return resumed


@contextlib.contextmanager
def _unchanged_after_an_error(model: Any, objects: Mapping[str, Any]) -> Iterator[None]:
    """Give the model and the objects back what they had, if the block raises.

    Objects and layers of the user's have code of their own, which may fail at any time.
    """
    optimizer = getattr(model, "optimizer", None)
    state = [*optimizer_variables(optimizer), *unlisted_numbers(optimizer).values()]
    held = list({id(v): v for v in (*model.weights, *state)}.values())
    values = [(each, value_of(each)) for each in (*held, *seeds_of(model))]
    states = {name: copy.deepcopy(each.state_dict()) for name, each in objects.items()}
    try:
        yield
    except BaseException:
        for each, value in values:
            set_value(each, value)
        for name, state in states.items():
            with contextlib.suppress(Exception):
                objects[name].load_state_dict(state)
        raise


def _log_names(point: ResumePoint, saver: ModelSaver) -> None:
    wanted = {**saver.callbacks, **saver.objects}
    log_missing(sorted(wanted), point.states, point.path)
    for name in sorted(point.states.keys() - wanted.keys() - {OF_THE_MODEL, OF_THE_SAVER}):
        logger.warning("%s has a state of %r, but there is no such callback", point.path, name)


def load(model: Any, path: Path) -> None:
    """Restore the weights and the optimizer's state from a checkpoint that was checked.

    Raises:
        MismatchError: the file does not fit the model.
        DamagedFile: Keras cannot read it.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "build"):
        # Keras restores nothing into an optimizer that is not built, and only logs it. Those of
        # tf_keras have no public ``built``, and ignore a second build().
        if not getattr(optimizer, "built", False):
            with scope_of(model):
                optimizer.build(model.trainable_variables)
        checking.check_built(optimizer, path)
    try:
        model.load_weights(str(path))
    except ValueError as error:
        raise MismatchError(
            f"{path}: Keras does not load it into {model.name!r}, which is as it was before: "
            f"{error}"
        ) from error
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise DamagedFile(
            f"{path}: Keras cannot load it into {model.name!r}, which is as it was before: "
            f"{type(error).__name__}: {error}"
        ) from error
