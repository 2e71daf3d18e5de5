"""What has to be done to the layers of a Keras model, besides writing their variables.

After a restore each layer is as Keras's own loading leaves it, whatever the source is. Most layers
only hold their variables. The others are :class:`Part` objects here.
"""

from __future__ import annotations

import functools
from typing import Any

from initreg_targets import keras_parts as parts
from initreg_targets.frameworks import KERAS, is_a, is_module
from initreg_targets.keras_own import Own, is_usual
from initreg_targets.keras_part import Part
from initreg_targets.keras_walk import saved_objects

_FUNCTIONS = ("train_function", "test_function", "predict_function")


def special_parts(model: Any) -> list[Part]:
    """The layers of the model that do more than hold their variables."""
    layers = _layers(model)
    kinds = [(layer, kind) for layer in layers if (kind := _kind(layer)) is not None]
    if not kinds:
        return []
    try:
        paths = {id(each): path for path, each in saved_objects(model)}
    except Exception as error:  # the walk is private to Keras, and runs the code of layers
        _warn(model, error)
        paths = {}
    models = _models(layers)
    texts = {id(each._lookup_layer): each for each in layers if _is(each, "TextVectorization")}
    found = []
    for layer, kind in kinds:
        owner = texts.get(id(layer))
        try:
            path = paths.get(id(layer), layer.name)  # Keras may not save the layer
            part = kind(layer, path, paths.get(id(owner)))
            part.called = getattr(owner, "name", layer.name)
            part.models = [m for m, inside in models if id(layer) in inside]
            found.append(part)
        except Exception as error:  # save_own_variables of a layer that is not ready for it
            _warn(layer, error)
    return found


def forget_traces(model: Any) -> None:
    """Let Keras trace the functions of the model again, which hold the constants of layers."""
    for layer in _layers(model):
        for name in _FUNCTIONS:
            if getattr(layer, name, None) is not None:
                setattr(layer, name, None)


def _layers(model: Any) -> list[Any]:
    """The model and all layers in it. In Keras 2 metrics are layers, too, and are left out."""
    found = {id(each): each for each in model._flatten_layers()}
    return [e for e in found.values() if not any(is_a(e, k, "metrics.Metric") for k in KERAS)]


def _models(layers: list[Any]) -> list[tuple[Any, set[int]]]:
    """The models among some layers, with the ids of all layers in each. Inner ones come first."""
    found = [
        (each, set(map(id, each._flatten_layers())))
        for each in layers
        if any(is_a(each, keras, "Model") for keras in KERAS)
    ]
    return sorted(found, key=lambda each: len(each[1]))


def _warn(what: Any, error: Exception) -> None:
    import logging

    logging.getLogger("initreg").warning(
        "cannot find out how Keras loads %r (%s: %s). Its variables are written, and nothing else",
        getattr(what, "name", what),
        type(error).__name__,
        error,
    )


def _kind(layer: Any) -> type[Part] | None:
    """The kind of part that a layer is, None if the layer only holds its variables."""
    if not is_usual(layer, "save_own_variables") or not is_usual(layer, "load_own_variables"):
        return Own
    if _is(layer, "StringLookup") or _is(layer, "IntegerLookup"):
        return parts.Lookup
    if _is(layer, "TextVectorization"):
        return None
    if _is(layer, "Discretization") and not is_module(layer):
        return parts.Boundaries if layer.num_bins is not None else None
    if hasattr(layer, "lora_enabled") and (layer.lora_enabled or layer.quantization_mode):
        return parts.Adapted
    return parts.Derived if _has_finalize(layer.__class__) else None


def _is(layer: Any, name: str) -> bool:
    return any(is_a(layer, keras, f"layers.{name}") for keras in KERAS)


@functools.lru_cache(1024)
def _has_finalize(kind: Any) -> bool:
    """Whether a class has a ``finalize_state`` that does something."""
    method = getattr(kind, "finalize_state", None)
    return method is not None and method.__qualname__ != "Layer.finalize_state"
