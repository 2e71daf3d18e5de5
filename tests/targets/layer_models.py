"""Models of one layer for the tests of layers that do more than hold their weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from initreg import InitregWarning, SmartInit

DATA = np.float32([[1, 20, 300], [3, 40, 700]])
FILES = (".weights.h5", ".keras", ".h5", "checkpoint", "dict")


def saved(model: Any, suffix: str, folder: Path) -> Any:
    """The model as a source: a file of Keras, a checkpoint of TensorFlow, or a dict."""
    if suffix == "dict":
        is_keras3 = not isinstance(model, tf.Module)
        weights = [v for v in model.weights if hasattr(v, "name")]  # without a lookup's table
        return {v.path if is_keras3 else v.name: np.asarray(v) for v in weights}
    if suffix == "checkpoint":
        return tf.train.Checkpoint(model).write(str(folder / "model"))
    path = str(folder / f"model{suffix}")
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    return path


def restored(source: Any, target: Any, **options: Any) -> tuple[Any, list[str]]:
    """The plan, and the classes of the warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", InitregWarning)
        plan = SmartInit(source, **options).init(target)
    kinds = [each.category for each in found]
    return plan, [kind.__name__ for kind in kinds if issubclass(kind, InitregWarning)]


def built(K: Any, make: Callable[[Any], Any], *, adapt: bool = False, **given: Any) -> Any:
    """A model of one layer, whose names are the same every time."""
    K.backend.clear_session()
    inputs = K.Input(given.pop("shape", (3,)), **given)
    layer = make(K)
    model = K.Model(inputs, layer(inputs))
    if adapt:
        layer.adapt(DATA)
    return model
