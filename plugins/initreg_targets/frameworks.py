"""Which framework an object is of, without importing any.

An object can only be a TensorFlow or Keras one if that library is in ``sys.modules`` already, so
asking costs nothing where it is not.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

# Keras 3 (or, before TensorFlow 2.16, Keras 2) and Keras 2 under its present name.
KERAS = ("keras", "tf_keras")


# What was found, and in which module: asked several times for each of 10,000 variables.
_found: dict[tuple[str, str], tuple[Any, type]] = {}


def find(module: str, path: str) -> type | None:
    """The class at the public ``path`` of ``module``, None if it is not there or not imported."""
    home = sys.modules.get(module)
    known = _found.get((module, path))
    if known is not None and known[0] is home:
        return known[1]
    found: Any = home
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        return None
    _found[module, path] = home, found
    return found


def is_a(obj: object, module: str, path: str) -> bool:
    kind = find(module, path)
    own: Any = obj.__class__
    return kind is not None and _is_subclass(own, kind)


@functools.lru_cache(1024)
def _is_subclass(kind: Any, of: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)


def is_keras_layer(obj: object) -> bool:
    """A layer or a model, which is a layer, of any Keras."""
    return any(is_a(obj, keras, "layers.Layer") for keras in KERAS)


def is_keras_variable(obj: object) -> bool:
    """A ``keras.Variable`` of Keras 3; those of Keras 2 are ``tf.Variable``s."""
    return is_a(obj, "keras", "Variable")


def is_module(obj: object) -> bool:
    """A ``tf.Module``, layers of Keras 2 included."""
    return is_a(obj, "tensorflow", "Module")


def is_variable(obj: object) -> bool:
    """Anything that holds one variable: of TensorFlow, of Keras 3, sharded over servers."""
    return is_a(obj, "tensorflow", "Variable") or is_keras_variable(obj) or is_sharded(obj)


def is_sharded(obj: object) -> bool:
    """A variable in shards, as a ParameterServerStrategy makes it: TensorFlow exports no class."""
    return any(base.__name__ == "ShardedVariableMixin" for base in type(obj).__mro__)
