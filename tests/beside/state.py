"""All state of a model: its variables, its optimizer's, and what its layers derive from them."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

# Attributes that TensorFlow and Keras keep for themselves: counters of restores, what was compiled.
_UNRELATED = re.compile(r"_self_.*|_jit_compile|_called|_saved_model_inputs_spec")


class State:
    """The state of a model or a layer, which can be read, scrambled and put back.

    Args:
        model: a model or a layer of Keras 3 or tf_keras that is built.
    """

    def __init__(self, model: Any) -> None:
        optimizer = getattr(model, "optimizer", None)
        found = [*model.variables, *_variables_of(optimizer)]
        self.variables = list({id(inner(v)): v for v in found}.values())
        flatten = getattr(model, "_flatten_layers", None)
        layers = flatten() if flatten is not None else [model]
        self.objects = list({id(each): each for each in [model, *layers]}.values())

    def read(self) -> dict[str, Any]:
        """The values of all variables and derived attributes, to be compared."""
        found: dict[str, Any] = {}
        for number, variable in enumerate(self.variables):
            found[f"{number} {name_of(variable)}"] = np.array(value_of(variable))
        for number, each in enumerate(self.objects):
            for key, value in vars(each).items():
                if not _UNRELATED.fullmatch(key):
                    plain = _plain(value)
                    if plain is not _NOT_COMPARED:
                        found[f"{number} {each.name}.{key}"] = plain
            vocabulary = getattr(each, "get_vocabulary", None)
            if vocabulary is not None:
                found[f"{number} {each.name}.get_vocabulary()"] = _vocabulary(vocabulary)
        return found

    def snapshot(self) -> Any:
        """What :meth:`put` takes."""
        return (
            [np.array(value_of(v)) for v in self.variables],
            [dict(vars(each)) for each in self.objects],
        )

    def put(self, snapshot: Any) -> None:
        """Set all state to what it was."""
        values, attributes = snapshot
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        for each, known in zip(self.objects, attributes, strict=True):
            mine = vars(each)
            for key, value in known.items():
                if mine.get(key) is not value:
                    mine[key] = value
            for key in [key for key in mine if key not in known]:
                del mine[key]

    def scramble(self, seed: int = 0) -> None:
        """Give every variable other values."""
        rng = np.random.default_rng(seed)
        for variable in self.variables:
            variable.assign(_other(np.array(value_of(variable)), rng))


def differences(expected: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """The names of what is not equal, bit for bit.

    An attribute that is not there is the same as one that is False. Keras sets some while loading.
    """
    return [key for key, value in expected.items() if not _same(value, got.get(key, False))]


def inner(variable: Any) -> Any:
    """The TensorFlow variable in a variable of Keras 3."""
    value = getattr(variable, "_value", None)
    return value if isinstance(value, tf.Variable) else variable


def name_of(variable: Any) -> str:
    """Its path in Keras 3, its name in Keras 2."""
    return str(getattr(variable, "path", None) or variable.name)


def value_of(variable: Any) -> Any:
    """Its value as an array."""
    return inner(variable).numpy()


def _variables_of(optimizer: Any) -> Iterable[Any]:
    if optimizer is None:
        return ()
    found = getattr(optimizer, "variables", ())
    found = list(found() if callable(found) else found)
    inside = getattr(optimizer, "inner_optimizer", None)
    return [*found, *_variables_of(inside)]


_NOT_COMPARED = object()
_DEEPEST = 3  # lists may contain themselves
_LONGEST = 1000
_PLAIN = (bool, int, float, str, bytes, type(None))


def _plain(value: Any, depth: int = 0) -> Any:
    """A value that can be compared, or _NOT_COMPARED."""
    if isinstance(value, (tf.__internal__.EagerTensor, np.ndarray)):
        return np.array(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple, collections.UserList)):
        if depth == _DEEPEST or len(value) > _LONGEST:
            return _NOT_COMPARED
        parts = [_plain(each, depth + 1) for each in value]
        if all(part is not _NOT_COMPARED for part in parts):
            return parts
    return _NOT_COMPARED


def _vocabulary(get: Any) -> Any:
    try:
        return [str(word) for word in get()]
    except Exception as error:  # there is none yet
        return type(error).__name__


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
            return False
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return (
            one.tolist() == other.tolist()
            if one.dtype == object
            else (one.tobytes() == other.tobytes())
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def _other(value: Any, rng: np.random.Generator) -> Any:
    """An array of the same shape and dtype with other values."""
    if value.dtype == bool:
        return ~value
    if value.dtype == object:
        return np.array([each + b"?" for each in value.ravel()], object).reshape(value.shape)
    if value.dtype.kind in "iu":
        return value ^ rng.integers(1, 100, value.shape).astype(value.dtype)
    noise = rng.uniform(0.5, 1, value.shape)
    return (
        (value.astype("f8") + noise).astype(value.dtype)
        if value.dtype.kind != "c"
        else (value + noise)
    )
