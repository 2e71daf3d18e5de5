"""What a ``.weights.h5`` or ``.keras`` file calls each variable of a model: the file's layout.

Keras walks a model when it saves it. The same walk, with a store that notes variables instead of
writing them, gives the names for nested, shared, listed and custom layers alike.

Source: ``keras/src/saving/saving_lib.py`` and ``tf_keras/src/saving/saving_lib.py``. A variable of
the object at ``path`` is the dataset ``path/vars/key``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from initreg_targets.frameworks import is_a, is_module, is_variable
from initreg_targets.keras_paths import all_paths
from initreg_targets.keras_walk import Walk, attributes_in_keras_2, skipped_once, walk_of
from initreg_targets.variables import unique

# The list of all metrics of a model, in the path of one of them.
_IN_METRICS = re.compile(r"(?:^|/)metrics/[^/]*$")


def layout(
    model: Any, without: Collection[int] = (), metrics: Collection[int] = ()
) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """``("layers/dense/vars/0", variable)`` for every variable that the file would hold.

    Other paths to the same layer follow, by which other code may have come to it. The state of
    metrics is not included, but for those that are asked for. Empty, with a warning in the log, if
    this version of Keras saves in an unknown way.

    Args:
        model: the model.
        without: the ids of objects that are left out, such as optimizers.
        metrics: the ids of metrics of Keras 2 whose state is included, unless the file has it in a
            list of all metrics. What number it has there depends on whether the model is compiled.

    Returns:
        The places with their variables, and the names of the layers by their paths:
        ``{"layers/dense": "head"}``.
    """
    names: dict[str, str] = {}
    try:
        if is_module(model):
            found = list(_keras2(model, names, set(without), metrics))
            paths = all_paths(model, without)
        else:
            with skipped_once():
                walk = walk_of(model)
                walk.without(without)
                found = list(_keras3(model, names, walk))
                paths = all_paths(model, without, walk)
        for place, variable in list(found):
            path, vars_, key = place.rpartition("/vars/")
            found += [
                (other + vars_ + key, variable) for other in paths.get(path, ()) if other != path
            ]
    except Exception as error:  # the walk is private to Keras, and runs the code of layers
        import logging

        logging.getLogger("initreg").warning(
            "cannot find out what Keras calls the variables of %r in its files (%s: %s). Variables "
            "are matched by path only",
            getattr(model, "name", model),
            type(error).__name__,
            error,
        )
        found = []
    return [(name, variable) for name, variable in found if is_variable(variable)], names


def _key(path: str, key: str) -> str:
    return f"{path}/vars/{key}" if path else f"vars/{key}"


# --- Keras 3 ----------------------------------------------------------------------------------


def _keras3(model: Any, names: dict[str, str], walk: Walk) -> Iterator[tuple[str, Any]]:
    noted: dict[str, dict[str, Any]] = {}
    for path, each in walk.objects(model, ""):
        if not hasattr(each, "save_own_variables"):
            continue
        name = getattr(each, "name", None)
        if path and isinstance(name, str):
            names[path] = name
        each.save_own_variables(noted.setdefault(path, {}))
    for path, entries in noted.items():
        for key, variable in entries.items():
            yield _key(path, key), variable


# --- Keras 2 ----------------------------------------------------------------------------------


def _keras2(
    model: Any, names: dict[str, str], visited: set[int], metrics: Collection[int]
) -> Iterator[tuple[str, Any]]:
    """The walk of Keras 2. Its layers save copies, in which no variable can be recognised."""
    yield from _walk(model, "", visited, names, metrics)


def _walk(
    trackable: Any,
    path: str,
    visited: set[int],
    names: dict[str, str],
    metrics: Collection[int],
) -> Iterator[tuple[str, Any]]:
    from tf_keras.src.saving import saving_lib
    from tf_keras.src.utils import generic_utils

    if id(trackable) in visited:
        return
    visited.add(id(trackable))
    if path and isinstance(getattr(trackable, "name", None), str):
        names[path] = trackable.name
    own = getattr(trackable, "_trainable_weights", None)
    is_metric = id(trackable) in metrics and not _IN_METRICS.search(path)
    if own is not None and (is_metric or _saves_as_usual(trackable)):
        for index, variable in enumerate(unique([*own, *trackable._non_trainable_weights])):
            yield _key(path, str(index)), variable
    for attribute, child in attributes_in_keras_2(trackable):
        below = f"{path}/{attribute}" if path else attribute
        if saving_lib._is_keras_trackable(child):
            yield from _walk(child, below, visited, names, metrics)
        elif isinstance(child, (list, dict, tuple, set)):
            used: dict[str, int] = {}
            for each in child.values() if isinstance(child, dict) else child:
                if not saving_lib._is_keras_trackable(each) or id(each) in visited:
                    continue
                name = generic_utils.to_snake_case(type(each).__name__)
                count = used[name] = used.get(name, -1) + 1
                inner = f"{below}/{name}_{count}" if count else f"{below}/{name}"
                yield from _walk(each, inner, visited, names, metrics)


def _saves_as_usual(trackable: Any) -> bool:
    """Whether ``save_own_variables`` is the usual one of layers. False for metrics."""
    from tf_keras.src.engine import base_layer

    if is_a(trackable, "tf_keras", "metrics.Metric"):
        return False
    usual = base_layer.Layer.save_own_variables
    return getattr(type(trackable), "save_own_variables", None) is usual
