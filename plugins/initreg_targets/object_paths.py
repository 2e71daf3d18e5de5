"""What an object-based checkpoint calls the variables of a module, layer or model.

An object may be reached by several paths, and each of them is a place of its variables. Keras 2 and
Keras 3 keep their layers under different attributes, so that the paths of the other one are
given, too.

Source: the docstring of TensorFlow's ``trackable_object_graph.proto``, and ``escape_local_name``.
For Keras 2, ``_layer_checkpoint_dependencies`` in ``tf_keras/src/engine/functional.py``.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from initreg_targets.frameworks import find, is_a, is_keras_variable
from initreg_targets.variables import spelt

# What objects call their lists of variables. A number in such a list says little about a variable.
_LISTS = re.compile(r"optimizer|\w*variables")
_MOST_PATHS = 16  # of one object; structures of many shared parts have millions
_LONGEST = 24  # parts of a path

_Children = Callable[[Any], Iterable[tuple[str, Any]]]


class Tracked:
    """What objects track, each of which is asked once. It is for one plan."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}  # keeps the objects, too

    def of(self, parent: Any) -> list[tuple[str, Any]]:
        """The children of an object, by the escaped names of its attributes."""
        known = self._known.get(id(parent))
        if known is None:
            known = self._known[id(parent)] = parent, _children(parent)
        return known[1]

    def attributes(self, parent: Any) -> list[tuple[str, Any]]:
        """The same, without its lists of variables."""
        return [(name, child) for name, child in self.of(parent) if not _LISTS.fullmatch(name)]


def keys_of(root: Any, tracked: Tracked | None = None) -> tuple[list[Any], dict[int, str]]:
    """The key of everything that ``root`` tracks, as ``tf.train.Checkpoint(root)`` writes it.

    Returns:
        All tracked objects, breadth first; keeping them keeps their ids. And their keys by ``id``,
        without ``/.ATTRIBUTES/VARIABLE_VALUE``.
    """
    tracked = tracked or Tracked()
    objects: list[Any] = [root]
    keys: dict[int, str] = {id(root): ""}
    queue = deque(objects)
    while queue:
        parent = queue.popleft()
        prefix = f"{keys[id(parent)]}/" if keys[id(parent)] else ""
        for name, child in tracked.of(parent):
            if id(child) not in keys:
                keys[id(child)] = prefix + name
                objects.append(child)
                queue.append(child)
    return objects, {key: spelt(path) for key, path in keys.items()}


def places_of(root: Any, tracked: Tracked | None = None) -> tuple[list[Any], dict[int, list[str]]]:
    """The paths to everything that ``root`` tracks, but not through lists of variables.

    Returns:
        As :func:`keys_of`, with all paths of an object, those of its own version of Keras first.
    """
    tracked = tracked or Tracked()
    objects: list[Any] = []
    places: dict[int, list[str]] = {}
    others = (partial(_as_in_keras_2, tracked), partial(_as_in_keras_3, tracked))
    for children in (tracked.attributes, *others):
        for each, paths in paths_by(root, children):
            known = places.setdefault(id(each), [])
            objects.append(each)
            known += [path for path in map(spelt, paths) if path not in known]
    for known in places.values():
        known += [path for path in map(without_underscores, known) if path not in known]
    return objects, places


def without_underscores(path: str) -> str:
    """A path as both versions of Keras have it: one calls ``_kernel`` what the other calls
    ``kernel``."""
    if not path.startswith("_") and "/_" not in path:
        return path
    return re.sub(r"(^|/)_+(?=[^/])", r"\1", path)


def paths_by(root: Any, children: _Children) -> Iterable[tuple[Any, list[str]]]:
    """Everything below ``root`` with its paths, the shortest first, and at most so many."""
    found: dict[int, tuple[Any, list[str]]] = {id(root): (root, [""])}
    known: dict[int, list[tuple[str, Any]]] = {}
    queue: deque[tuple[Any, str, int]] = deque([(root, "", 0)])
    while queue:
        parent, path, depth = queue.popleft()
        if depth == _LONGEST:
            continue
        if id(parent) not in known:
            known[id(parent)] = list(children(parent))
        for name, child in known[id(parent)]:
            if child is root:
                continue
            paths = found.setdefault(id(child), (child, []))[1]
            if len(paths) < _MOST_PATHS:
                below = f"{path}/{name}" if path else name
                paths.append(below)
                queue.append((child, below, depth + 1))
    return [(each, list(dict.fromkeys(paths))) for each, paths in found.values()]


def _children(parent: Any) -> list[tuple[str, Any]]:
    """What an object tracks, by the escaped names of its attributes."""
    view = find("tensorflow", "train.TrackableView")
    if view is None or not hasattr(parent, "_trackable_children"):
        return []
    try:
        children: Mapping[str | None, Any] = view.children(parent)  # type: ignore[attr-defined]
    except (ValueError, AttributeError):  # a list or dict that cannot be in a checkpoint
        return []
    # A weight that Keras 2 made without a name is tracked under None, too, as in no checkpoint.
    return [
        (name.replace(".", "..").replace("/", ".S"), child)
        for name, child in children.items()
        if name is not None
    ]


def _as_in_keras_2(tracked: Tracked, parent: Any) -> Iterable[tuple[str, Any]]:
    """The children of an object of Keras 3 as Keras 2 calls them."""
    if is_a(parent, "keras", "Model") and not is_a(parent, "tf_keras", "Model"):
        layers = layers_of(parent)
        if layers is not None:
            with_weights = [layer for layer in layers if layer.weights]
            for number, layer in enumerate(with_weights):
                yield f"layer_with_weights-{number}", layer
            for number, layer in enumerate(layers):
                yield f"layer-{number}", layer
            return
    depthwise = any(
        is_a(parent, "keras", f"layers.{name}") for name in ("DepthwiseConv1D", "DepthwiseConv2D")
    )
    for name, child in tracked.attributes(parent):
        if is_keras_variable(child):
            name = child.name.replace("/", ".S")
            yield ("depthwise_kernel" if depthwise and name == "kernel" else name), child
        else:
            yield without_underscores(name), child


def _as_in_keras_3(tracked: Tracked, parent: Any) -> Iterable[tuple[str, Any]]:
    """The children of an object of Keras 2 as Keras 3 calls them."""
    layers = layers_of(parent) if is_a(parent, "tf_keras", "Model") else None
    if layers is not None:
        is_sequential = is_a(parent, "tf_keras", "Sequential")
        for number, layer in enumerate(layers):
            yield (
                (
                    f"functional/operations/{number + 1}"
                    if is_sequential
                    else f"operations/{number}"
                ),
                layer,
            )
        return
    if is_a(parent, "keras", "layers.Layer"):
        return
    depthwise = is_a(parent, "tf_keras", "layers.DepthwiseConv2D")
    for name, child in tracked.attributes(parent):
        yield ("kernel" if depthwise and name == "depthwise_kernel" else name), child


def layers_of(model: Any) -> list[Any] | None:
    """The layers of a Functional or Sequential model, None for any other."""
    functional = getattr(model, "_operations", None) is not None or hasattr(
        model, "_layer_checkpoint_dependencies"
    )
    is_sequential = any(is_a(model, keras, "Sequential") for keras in ("keras", "tf_keras"))
    return list(model.layers) if functional or is_sequential else None
