"""In which order the layers of a Keras model compute, as far as the model records it.

Functional and Sequential models record which layer gets the output of which. Subclassed ones do
not: for them only the order is known in which they hold their layers.

Source: ``Node`` in ``keras/src/ops/node.py`` and ``tf_keras/src/engine/node.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from initreg_targets.frameworks import KERAS, is_a
from initreg_targets.keras_names import is_automatic

# What leaves each value where it is, so that a Flatten before it still counts.
_ELEMENTWISE = (
    *("Dropout", "Activation", "ReLU", "LeakyReLU", "ELU", "Identity", "GaussianNoise"),
    *("GaussianDropout", "AlphaDropout", "ActivityRegularization", "Softmax"),
)


class Graph:
    """The order of the layers of one model, and what comes right before each."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._inputs: dict[int, list[Any]] = {}  # the tensors that an operation gets, by its id
        self._known: set[int] = set()  # the operations of functional models
        self._before: dict[int, list[Any]] = {}
        for each in [model, *_all_below(model)]:
            operations = _operations(each)
            for operation in operations or ():
                self._known.add(id(operation))
                tensors = list(_input_tensors(operation))
                self._inputs[id(operation)] = tensors
                self._before[id(operation)] = [op for t in tensors if (op := _maker(t)) is not None]
        self._owners: dict[int, Any] = {}
        for each in [model, *_all_below(model)]:
            if id(each) in self._known and _operations(each) is None:
                for inner in _all_below(each):
                    if id(inner) not in self._known:
                        self._owners.setdefault(id(inner), each)

    def order(self, layers: list[Any]) -> dict[int, int]:
        """The position of each layer, by its id."""
        wanted = {id(layer) for layer in layers}
        found: dict[int, int] = {}
        for layer in [*_in_order(self._model, set()), *layers]:
            if id(layer) in wanted:
                found.setdefault(id(layer), len(found))
        return found

    def paths(self) -> tuple[dict[int, str], set[int]]:
        """The names of the layers on the way to each, and its own, by its id: ``encoder/conv``.

        They are unique. The ids follow of those layers whose names are all automatic.
        """
        found = {id(self._model): ""}
        unnamed = {id(self._model)}
        used: set[str] = set()
        for layer in _in_order(self._model, set()):
            above = found[id(layer)]
            for child in _children(layer):
                if id(child) in found:
                    continue
                path = f"{above}/{child.name}" if above else str(child.name)
                name, count = path, 1
                while name in used:
                    count += 1
                    name = f"{path}#{count}"
                used.add(name)
                found[id(child)] = name
                if id(layer) in unnamed and is_automatic(child):
                    unnamed.add(id(child))
        return found, unnamed

    def owner(self, layer: Any) -> Any:
        """The layer whose place in a graph is recorded: itself, or the one that it is a part of.
        None if there is none."""
        return layer if id(layer) in self._known else self._owners.get(id(layer))

    def before(self, layer: Any) -> set[int] | None:
        """The ids of the nearest layers with weights whose output comes into a layer, or into the
        one that it is a part of, and of those in them. None if the model does not record it."""
        layer = self.owner(layer)
        if layer is None:
            return None
        found: set[int] = set()
        seen: set[int] = set()
        rest = list(self._before[id(layer)])
        while rest:
            each = rest.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            if getattr(each, "weights", None):
                found |= {id(each), *(id(inner) for inner in _all_below(each))}
            else:
                rest += self._before.get(id(each), [])
        return found

    def flattened(self, layer: Any) -> tuple[int, ...]:
        """The shape of what was flattened before it came into a layer, without the batch.

        () if nothing was, or if it has no more than one element on all axes but the last one.
        """
        seen = 0
        tensors = self._inputs.get(id(layer), [])
        while len(tensors) == 1 and seen < 1000:
            seen += 1
            operation = _maker(tensors[0])
            if operation is None:
                return ()
            tensors = self._inputs.get(id(operation), [])
            if _is_one_of(operation, ("Flatten", "Reshape")) and len(tensors) == 1:
                shape = tuple(tensors[0].shape)[1:]
                if len(shape) < 2 or None in shape:
                    return ()
                return tuple(map(int, shape)) if any(axis != 1 for axis in shape[:-1]) else ()
            if not _is_one_of(operation, _ELEMENTWISE):
                return ()
        return ()


def _is_one_of(operation: Any, kinds: tuple[str, ...]) -> bool:
    return any(is_a(operation, keras, f"layers.{kind}") for keras in KERAS for kind in kinds)


def _children(layer: Any) -> list[Any]:
    """The layers that a layer holds, in the order in which they compute if that is recorded."""
    operations = _operations(layer)
    if operations is not None:
        return operations
    flatten = getattr(layer, "_flatten_layers", None)
    return list(flatten(recursive=False, include_self=False)) if callable(flatten) else []


def _operations(layer: Any) -> list[Any] | None:
    """The operations of a functional or sequential model in their order, None for other layers."""
    inner = getattr(layer, "_functional", None) or layer  # what a Sequential of Keras 3 holds
    found = getattr(inner, "_operations", None)
    if found is None and getattr(layer, "_is_graph_network", False):  # Keras 2
        found = layer.layers
    return None if found is None else list(found)


def _in_order(layer: Any, seen: set[int]) -> Iterator[Any]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield layer
    for child in _children(layer):
        yield from _in_order(child, seen)


def _all_below(layer: Any) -> list[Any]:
    return list(_in_order(layer, set()))[1:]


def _input_tensors(operation: Any) -> Iterator[Any]:
    for node in getattr(operation, "_inbound_nodes", ()):
        found = getattr(node, "input_tensors", ())
        yield from found if isinstance(found, (list, tuple)) else [found]


def _maker(tensor: Any) -> Any:
    """The operation or layer that made a tensor."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    return getattr(history, "operation", None) or getattr(history, "layer", None)
