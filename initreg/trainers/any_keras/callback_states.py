"""The states of callbacks, which a ``.weights.h5`` file of Keras does not hold."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from initreg.api.training_states import by_class, offers_state

# What Keras's own callbacks count with, and set in ``on_train_begin``, in Keras 3.15
# (``keras/src/callbacks/``) and tf_keras 2.21 (``tf_keras/src/callbacks.py``). Two are private, and
# there is no public way to them. An attribute that a version does not have is not saved.
_KNOWN = {
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": (
        "best",
        "epochs_since_last_save",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    "History": ("epoch", "history"),
    "CSVLogger": (),
}


def flat(callbacks: Iterable[Any]) -> list[Any]:
    """The callbacks in one list. Keras takes lists that hold lists."""
    found: list[Any] = []
    for each in callbacks:
        found += flat(each) if isinstance(each, (list, tuple)) else [each]
    return found


def named(callbacks: Sequence[Any]) -> dict[str, Any]:
    """The callbacks that have a state, by class: ``EarlyStopping``, ``EarlyStopping_1``, ..."""
    return by_class(each for each in callbacks if offers_state(each) or _kind(each))


def that_restore(callbacks: Sequence[Any]) -> list[str]:
    """Those of Keras's own callbacks that load other weights when ``fit`` begins, by class."""
    found = [each for each in callbacks if _kind(each, ("BackupAndRestore",)) is not None]
    found += [each for each in callbacks if getattr(each, "load_weights_on_restart", False) is True]
    return sorted({type(each).__name__ for each in found})


def _kind(callback: Any, names: Container[str] = _KNOWN) -> str | None:
    """The name of the class of Keras whose state is known here, None if it is not one of these."""
    for base in type(callback).__mro__:
        if base.__name__ in names and base.__module__.split(".")[0] in ("keras", "tf_keras"):
            return base.__name__
    return None


def state_of(callback: Any) -> Any:
    """The callback's ``state_dict()``, or the attributes that are its state."""
    if offers_state(callback):
        return callback.state_dict()
    kind = _kind(callback)
    assert kind is not None
    state = {name: getattr(callback, name) for name in _KNOWN[kind] if hasattr(callback, name)}
    if kind == "CSVLogger":
        state["size"] = _size(callback.filename)
    if kind == "EarlyStopping":
        state["best_weights"] = callback.best_weights is not None
    return state


def weights_of(callback: Any) -> list[Any]:
    """The weights that the callback holds besides the model's: the best of an EarlyStopping."""
    if _kind(callback) == "EarlyStopping" and not offers_state(callback):
        return list(callback.best_weights or ())
    return []


def holds_weights(callback: Any, state: Any) -> bool:
    """Whether a state of the callback says that it held weights."""
    is_known = _kind(callback) == "EarlyStopping" and not offers_state(callback)
    return is_known and isinstance(state, Mapping) and state.get("best_weights") is True


def give_state(callback: Any, state: Any, weights: Sequence[Any]) -> None:
    """Give the callback what :func:`state_of` and :func:`weights_of` returned.

    Raises:
        Exception: of any kind, if the state is not one of this callback.
    """
    if offers_state(callback):
        callback.load_state_dict(state)
        return
    kind = _kind(callback)
    assert kind is not None
    known = [name for name in _KNOWN[kind] if name in state]
    for name in known:
        _check(name, state[name])
    for name in known:
        setattr(callback, name, state[name])
    if kind == "EarlyStopping":
        callback.best_weights = list(weights) if state["best_weights"] else None


def _check(name: str, value: Any) -> None:
    """Raises ValueError for a value that the attribute never has."""
    if name == "epoch":
        fits = isinstance(value, list) and all(type(each) is int for each in value)
    elif name == "history":
        fits = isinstance(value, dict) and all(isinstance(each, list) for each in value.values())
    else:
        fits = value is None or isinstance(value, (int, float)) or getattr(value, "shape", 0) == ()
    if not fits:
        raise ValueError(f"{name} has an invalid value: {str(value)[:80]!r}")


def check(callback: Any, state: Any) -> None:
    """Check a state of a callback of Keras without a change. Others check theirs themselves.

    Raises:
        Exception: of any kind, if the state is not one of this callback.
    """
    kind = _kind(callback)
    if kind is None or offers_state(callback):
        return
    for name in _KNOWN[kind]:
        if name in state:
            _check(name, state[name])
    if kind == "EarlyStopping":
        bool(state["best_weights"])
    if kind == "CSVLogger":
        saved = state["size"]
        if saved is not None and (type(saved) is not int or saved < 0):
            raise ValueError(f"size is {saved!r}, which is not a file size")


def prepare(callback: Any, state: Any) -> None:
    """Prepare a callback before training begins: a CSVLogger goes on with its file.

    The rows of epochs that will be trained again are cut off. The state has passed :func:`check`.
    """
    if _kind(callback) == "CSVLogger" and not offers_state(callback):
        callback.append = True
        size, saved = _size(callback.filename), state["size"]
        if saved is not None and size is not None and size > saved:
            os.truncate(callback.filename, saved)


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None
