"""What a ``.weights.h5`` or ``.keras`` file calls each variable of a model: the file's layout.

Keras walks a model when it saves it. The same walk, with a store that notes variables instead of
writing them, gives the names for nested, shared, listed and custom layers alike.

Source: ``keras/src/saving/saving_lib.py`` and ``tf_keras/src/saving/saving_lib.py``. A variable of
the object at ``path`` is the dataset ``path/vars/key``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

from initreg_targets.frameworks import is_a, is_module, is_variable

logger = logging.getLogger("initreg")


def layout(model: Any) -> list[tuple[str, Any]]:
    """``("layers/dense/vars/0", variable)`` for every variable that the file would hold.

    The state of a built optimizer is included; that of metrics is not. Empty, with a warning in the
    log, if this version of Keras saves in an unknown way.
    """
    try:
        found = list(_keras2(model) if is_module(model) else _keras3(model))
    except Exception as error:  # the walk is private to Keras, and runs the code of layers
        logger.warning(
            "cannot find out what Keras calls the variables of %r in its files (%s: %s). Variables "
            "are matched by path only",
            getattr(model, "name", model),
            type(error).__name__,
            error,
        )
        found = []
    found += _optimizer(getattr(model, "optimizer", None), "optimizer")
    return [(name, variable) for name, variable in found if is_variable(variable)]


def _key(path: str, key: str) -> str:
    return f"{path}/vars/{key}" if path else f"vars/{key}"


def _optimizer(optimizer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The optimizer's variables, in the order of its ``save_own_variables``.

    That is a list without names. A place in it means the same only if the lists have the same
    length, so the length is part of the name: ``optimizer/vars/3 of 8``. The h5 format does the
    same. So the state of Adam never goes into SGD.

    ``save_own_variables`` itself is not called, because it would copy all of the state. An
    optimizer that is not built has no state yet, and Keras restores nothing into it either.
    """
    if optimizer is None or not _is_built(optimizer):
        return
    variables = _variables(optimizer)
    for index, variable in enumerate(variables):
        yield _key(path, f"{index} of {len(variables)}"), variable
    # A LossScaleOptimizer saves the optimizer in it twice: as its own state, and here.
    yield from _optimizer(getattr(optimizer, "inner_optimizer", None), f"{path}/inner_optimizer")


def _is_built(optimizer: Any) -> bool:
    built = getattr(optimizer, "built", None)
    return bool(getattr(optimizer, "_built", False) if built is None else built)


def _variables(optimizer: Any) -> list[Any]:
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)


# --- Keras 3 ----------------------------------------------------------------------------------


def _keras3(model: Any) -> Iterator[tuple[str, Any]]:
    from keras.src.saving import saving_lib

    class Notes(saving_lib.NpzIOStore):  # type: ignore[misc]  # the walk insists on its own stores
        def __init__(self) -> None:
            self.noted: dict[str, dict[str, Any]] = {}

        def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
            return self.noted.setdefault(path, {})

    optimizer = getattr(model, "optimizer", None)
    inner = getattr(optimizer, "inner_optimizer", None)
    notes = Notes()
    saving_lib._save_state(
        model,
        weights_store=notes,
        assets_store=None,
        inner_path="",
        visited_saveables={id(optimizer), id(inner)},
    )
    for path, entries in notes.noted.items():
        for key, variable in entries.items():
            yield _key(path, key), variable


# --- Keras 2 ----------------------------------------------------------------------------------


def _keras2(model: Any) -> Iterator[tuple[str, Any]]:
    """The walk of Keras 2. Its layers save copies, in which no variable can be recognised."""
    visited = {id(getattr(model, "optimizer", None))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the walk reads attributes that are deprecated
        yield from _walk(model, "", visited)


def _walk(trackable: Any, path: str, visited: set[int]) -> Iterator[tuple[str, Any]]:
    from tf_keras.src.saving import saving_lib
    from tf_keras.src.utils import generic_utils

    if id(trackable) in visited:
        return
    visited.add(id(trackable))
    own = getattr(trackable, "_trainable_weights", None)
    if own is not None and _saves_as_usual(trackable):
        for index, variable in enumerate([*own, *trackable._non_trainable_weights]):
            yield _key(path, str(index)), variable
    for attribute, child in saving_lib._walk_trackable(trackable):
        below = f"{path}/{attribute}" if path else attribute
        if saving_lib._is_keras_trackable(child):
            yield from _walk(child, below, visited)
        elif isinstance(child, (list, dict, tuple, set)):
            used: dict[str, int] = {}
            for each in child.values() if isinstance(child, dict) else child:
                if not saving_lib._is_keras_trackable(each) or id(each) in visited:
                    continue
                name = generic_utils.to_snake_case(type(each).__name__)
                count = used[name] = used.get(name, -1) + 1
                yield from _walk(
                    each, f"{below}/{name}_{count}" if count else f"{below}/{name}", visited
                )


def _saves_as_usual(trackable: Any) -> bool:
    """Whether ``save_own_variables`` is the usual one of layers. False for metrics."""
    from tf_keras.src.engine import base_layer

    if is_a(trackable, "tf_keras", "metrics.Metric"):
        return False
    usual = base_layer.Layer.save_own_variables
    return getattr(type(trackable), "save_own_variables", None) is usual
