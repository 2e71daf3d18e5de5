"""What a ``.weights.h5`` file of Keras does not hold of a run: states of callbacks, of seeds.

The attributes are those of Keras 3.15 (``keras/src/callbacks/``) and tf_keras 2.21
(``tf_keras/src/callbacks.py``), which a callback sets in ``on_train_begin`` and counts with.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from initreg.api.states import by_class, offers_state
from initreg.errors import InitregError

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
    """As Keras takes them: lists may hold lists."""
    found: list[Any] = []
    for each in callbacks:
        found += flat(each) if isinstance(each, (list, tuple)) else [each]
    return found


def named(callbacks: Sequence[Any]) -> dict[str, Any]:
    """Those that have a state, by class: ``EarlyStopping``, ``EarlyStopping_1``, ..."""
    return by_class(each for each in callbacks if offers_state(each) or _kind(each))


def _kind(callback: Any) -> str | None:
    """The class of Keras's that it is of."""
    for base in type(callback).__mro__:
        if base.__name__ in _KNOWN and base.__module__.split(".")[0] in ("keras", "tf_keras"):
            return base.__name__
    return None


# --- callbacks ----------------------------------------------------------------------------------


def state_of(callback: Any) -> Any:
    """Its own ``state_dict()``, or what is known to be its state."""
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
    """The weights that it holds besides the model's: the best of an EarlyStopping."""
    if _kind(callback) == "EarlyStopping" and not offers_state(callback):
        return list(callback.best_weights or ())
    return []


def give_state(callback: Any, state: Any, weights: Sequence[Any]) -> None:
    """Undo :func:`state_of`. ``weights``: what :func:`weights_of` gave."""
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
    """Raises ValueError for what a callback does not count with."""
    if name == "epoch":
        fits = isinstance(value, list) and all(type(each) is int for each in value)
    elif name == "history":
        fits = isinstance(value, dict) and all(isinstance(each, list) for each in value.values())
    else:
        fits = value is None or isinstance(value, (int, float)) or getattr(value, "shape", 0) == ()
    if not fits:
        raise ValueError(f"{name} is {str(value)[:80]!r}")


def prepare(callback: Any, state: Any) -> None:
    """What has to be done before training begins: a log goes on where the checkpoint was saved.

    Rows of epochs that are going to be trained once more are cut off.
    """
    if _kind(callback) == "CSVLogger" and not offers_state(callback):
        callback.append = True
        size, saved = _size(callback.filename), state["size"]
        if saved is not None and (type(saved) is not int or saved < 0):
            raise ValueError(f"size is {saved!r}")
        if saved is not None and size is not None and size > saved:
            os.truncate(callback.filename, saved)


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


# --- the model ----------------------------------------------------------------------------------


class ModelState:
    """Of a model, what belongs to its training and Keras does not save with its weights: the seeds
    of dropout and the like, the learning rate (``tf_keras`` alone), and whether it was stopped."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        return {
            "seeds": [value_of(each) for each in _seeds(self._model)],
            "learning_rate": self._learning_rate(),
            "stopped": bool(getattr(self._model, "stop_training", False)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises InitregError if the model has another number of seeds, ValueError if they are no
        seeds; then nothing is changed."""
        seeds = _seeds(self._model)
        if len(seeds) != len(state["seeds"]):
            raise InitregError(
                f"{self._model.name!r}: has {len(seeds)} seeds (of layers such as Dropout), and "
                f"{len(state['seeds'])} were saved: it is another model than was trained"
            )
        rate = state["learning_rate"]
        if rate is not None and not isinstance(rate, (int, float)):
            raise ValueError(f"learning_rate is {str(rate)[:80]!r}")
        for each, value in zip(seeds, state["seeds"], strict=True):
            _check_value(each, value)
        for each, value in zip(seeds, state["seeds"], strict=True):
            set_value(each, value)
        if rate is not None and self._learning_rate() is not None:
            with contextlib.suppress(TypeError):  # a schedule, which goes by the step
                self._model.optimizer.learning_rate = rate

    def _learning_rate(self) -> float | None:
        optimizer = getattr(self._model, "optimizer", None)
        rate: Any = getattr(optimizer, "learning_rate", None)
        return float(rate.numpy()) if hasattr(rate, "numpy") else None


def _seeds(model: Any) -> list[Any]:
    """Keras 3: variables that are no weights. tf_keras: its generators, if it was told to use any
    (``keras.backend.experimental.enable_tf_random_generator()``)."""
    weights = {id(each) for each in model.weights}
    skipped = weights | {id(each) for each in getattr(model, "metrics_variables", ())}
    if any(base.__module__.startswith("keras.") for base in type(model).__mro__):
        found = [each for each in model.variables if id(each) not in skipped]
    else:
        layers = model._flatten_layers()
        generators = [getattr(each, "_random_generator", None) for each in layers]
        found = [getattr(each, "_generator", None) for each in generators]
    return list({id(each): each for each in found if each is not None}.values())


def value_of(generator: Any) -> Any:
    """Of a ``keras.random.SeedGenerator``, a ``tf.random.Generator`` or a variable, an array."""
    state = getattr(generator, "state", generator)
    return state.numpy()


def _check_value(generator: Any, value: Any) -> None:
    """Raises ValueError for what are not integers of the shape that its state has; of which kind
    they are is another thing in each version of Keras."""
    now = value_of(generator)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind not in ("i", "u") or value.shape != now.shape:
        raise ValueError(f"{str(value)[:80]} is no {now.dtype} of shape {now.shape}")


def set_value(generator: Any, value: Any) -> None:
    if hasattr(generator, "reset"):  # a tf.random.Generator
        generator.reset(value)
    else:
        getattr(generator, "state", generator).assign(value)


class GeneratorStates:
    """The states of ``tf.random.Generator``s and ``keras.random.SeedGenerator``s of one's own, by
    name, as an object that a saver saves. Those of a model's layers are saved with the model.

    >>> noise = tf.random.Generator.from_seed(1)  # doctest: +SKIP
    >>> ModelSaver("run", objects={"noise": GeneratorStates(noise=noise)})  # doctest: +SKIP
    """

    def __init__(self, **generators: Any) -> None:
        self._generators = generators

    def state_dict(self) -> dict[str, Any]:
        return {name: value_of(each) for name, each in self._generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises InitregError if a generator is missing on either side, ValueError for a state that
        is none; then nothing is changed."""
        if state.keys() != self._generators.keys():
            raise InitregError(
                f"the states of generators {sorted(state)} were saved, and there are "
                f"{sorted(self._generators)}: give GeneratorStates the same names"
            )
        for name, each in self._generators.items():
            _check_value(each, state[name])
        for name, each in self._generators.items():
            set_value(each, state[name])
