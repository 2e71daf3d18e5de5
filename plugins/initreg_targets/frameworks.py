"""Which framework an object belongs to, without importing any framework.

An object can belong to TensorFlow or Keras only if that library is in ``sys.modules`` already. If
it is not, asking costs nothing.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterable
from typing import Any

# Keras 3 (or Keras 2, before TensorFlow 2.16), and Keras 2 under its present name.
KERAS = ("keras", "tf_keras")

# The classes that were found, and the modules they came from. Kept because they are needed several
# times for each of 10,000 variables.
_found: dict[tuple[str, str], tuple[Any, type]] = {}


def find(module: str, path: str) -> type | None:
    """The class at the public ``path`` of ``module``; None if there is none, or if the module is
    not imported."""
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
    """Whether ``obj`` is an instance of the class at ``path`` of ``module``."""
    kind = find(module, path)
    own: Any = obj.__class__
    return kind is not None and _is_subclass(own, kind)


def classes(modules: Iterable[str], paths: Iterable[str]) -> tuple[type, ...]:
    """The classes at the public ``paths`` of ``modules``, for :func:`is_one_of`."""
    pairs = itertools.product(modules, paths)
    return tuple(kind for module, path in pairs if (kind := find(module, path)) is not None)


def is_one_of(obj: object, kinds: tuple[type, ...]) -> bool:
    """Whether ``obj`` is an instance of one of several classes."""
    own: Any = obj.__class__
    return _is_subclass(own, kinds)


@functools.lru_cache(1024)
def _is_subclass(kind: Any, of: type | tuple[type, ...]) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)


def is_keras_layer(obj: object) -> bool:
    """Whether it is a layer of Keras 2 or 3. A model is a layer, too."""
    return any(is_a(obj, keras, "layers.Layer") for keras in KERAS)


def is_keras_variable(obj: object) -> bool:
    """Whether it is a ``keras.Variable`` of Keras 3. Those of Keras 2 are ``tf.Variable``s."""
    return is_a(obj, "keras", "Variable")


def is_module(obj: object) -> bool:
    """Whether it is a ``tf.Module``. Layers of Keras 2 are, too."""
    return is_a(obj, "tensorflow", "Module")


def is_variable(obj: object) -> bool:
    """Whether it holds one variable: of TensorFlow, of Keras 3, or sharded over servers."""
    return is_a(obj, "tensorflow", "Variable") or is_keras_variable(obj) or is_sharded(obj)


def is_sharded(obj: object) -> bool:
    """Whether it is a variable in shards, as a ParameterServerStrategy makes it. TensorFlow does
    not export its class."""
    kind: Any = type(obj)
    return _is_sharded_kind(kind)


@functools.lru_cache(1024)
def _is_sharded_kind(kind: Any) -> bool:
    return any(base.__name__ == "ShardedVariableMixin" for base in kind.__mro__)


def is_structure(obj: object) -> bool:
    """Whether it is a list, tuple or dict as an object tracks it. TensorFlow exports no class."""
    return any(base.__name__ == "TrackableDataStructure" for base in type(obj).__mro__)
