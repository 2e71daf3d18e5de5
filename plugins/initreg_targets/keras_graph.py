"""In which order the layers of a Keras model compute, as far as the model records it.

Functional and Sequential models record which layer gets the output of which. Subclassed ones do
not: for them only the order is known in which they hold their layers.

Source: ``Node`` in ``keras/src/ops/node.py`` and ``tf_keras/src/engine/node.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from initreg_targets.frameworks import is_keras_layer
from initreg_targets.keras_flattening import (
    UNKNOWN,
    Flattening,
    Layout,
    Shape,
    Unflattening,
    is_one_of,
    shape_of,
)
from initreg_targets.keras_names import is_automatic

# What code calls that makes several axes one: of Keras, TensorFlow, numpy and einops.
_RESHAPING = frozenset(("reshape", "Reshape", "flatten", "Flatten", "ravel", "rearrange"))
_MAKING_AXES = frozenset(("reshape", "Reshape", "rearrange"))


class Graph:
    """The order of the layers of one model, and what comes right before each."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: set[int] = set()  # the operations of functional models
        self._before: dict[int, list[Any]] = {}
        self._calls: dict[int, list[list[Any]]] = {}  # what each call of an operation gets
        users: dict[int, list[tuple[Any, Shape, Shape]]] = {}
        inner: dict[int, list[Any]] = {}
        given: dict[int, list[Any]] = {}
        models = [each for each in [model, *_all_below(model)] if _operations(each) is not None]
        for each in models:
            for operation, tensors, made in _nodes(each):
                self._calls.setdefault(id(operation), []).append(tensors)
                for tensor in tensors:
                    users.setdefault(id(_maker(tensor)), []).extend(
                        (operation, shape_of(tensor), shape_of(result)) for result in made
                    )
            for operation in _operations(each) or ():
                self._known.add(id(operation))
        for each in models:
            for operation in _operations(each) or ():
                tensors = [t for call in self._calls.get(id(operation), ()) for t in call]
                self._before[id(operation)] = [op for t in tensors if (op := _maker(t)) is not None]
        inside: dict[int, list[Any]] = {}
        around: dict[int, Any] = {}
        for each in models:
            outputs = list(_flat(getattr(each, "outputs", ())))
            if id(each) in self._known:
                inside[id(each)] = [_maker(t) for t in _flat(getattr(each, "inputs", ()))]
                around |= {id(_maker(tensor)): each for tensor in outputs}
            else:
                for tensor in outputs:
                    users.setdefault(id(_maker(tensor)), []).append((None, shape_of(tensor), ()))
        for each in models:
            if id(each) in self._known:
                inner[id(each)] = list(_flat(getattr(each, "outputs", ())))
                into = [t for call in self._calls.get(id(each), ()) for t in call]
                for tensor in _flat(getattr(each, "inputs", ())):
                    given[id(_maker(tensor))] = into
        self._flattening = Flattening(self._calls, _maker, inner, given, _may_return_flattened)
        self._unflattening = Unflattening(users, inside, around)
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
                own = _attribute(layer, child) if is_automatic(child) else None
                path = own or str(child.name)
                path = f"{above}/{path}" if above else path
                name, count = path, 1
                while name in used:
                    count += 1
                    name = f"{path}#{count}"
                used.add(name)
                found[id(child)] = name
                if id(layer) in unnamed and is_automatic(child) and own is None:
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

    def flattened(self, layer: Any, size: int) -> Layout:
        """The shape, without the batch, of what was flattened before it came into a layer.

        () if nothing was that PyTorch has in another order. None if that is not known.

        Args:
            layer: the layer.
            size: how many features come into it.
        """
        if id(layer) in self._calls:
            found = self._flattening.into(layer)
            return found if not found or math.prod(found) == size else UNKNOWN
        owner = self.owner(layer) or self._model
        into = self._flattening.into(owner)
        if into and math.prod(into) != size:
            into = ()
        if into is UNKNOWN and not self._comes_into(owner, size):
            into = ()
        return UNKNOWN if into is UNKNOWN or into or _may_flatten(owner, layer, size) else ()

    def unflattened(self, layer: Any, size: int) -> Layout:
        """The shape, without the batch, of the image that is made of what a layer returns.

        () if none is. None if it is not known in which order PyTorch has it.

        Args:
            layer: the layer.
            size: how many features it returns.
        """
        if id(layer) in self._calls:
            found = self._unflattening.out_of(layer)
            return found if not found or math.prod(found) == size else UNKNOWN
        return UNKNOWN if _may_unflatten(self.owner(layer) or self._model, layer, size) else ()

    def is_along_flattened(self, layer: Any, shape: tuple[int | None, ...]) -> bool:
        """Whether a weight of a layer may have an element for each value of what comes flattened
        into it. A graph records that, if the layer is in one.

        Args:
            layer: the layer.
            shape: the shape of the weight.
        """
        if id(layer) not in self._calls or not shape:
            return False
        layout = self._flattening.into(layer)
        if layout is None:
            return any(self._comes_into(layer, size) for size in shape)
        return layout != () and math.prod(layout) in shape

    def _comes_into(self, layer: Any, size: int | None) -> bool:
        """Whether an axis of what comes into a layer may be as long as this."""
        tensors = [t for call in self._calls.get(id(layer), ()) for t in call]
        axes = {axis for tensor in tensors for axis in shape_of(tensor)}
        return size is None or not tensors or size in axes or -1 in axes


def _may_flatten(owner: Any, layer: Any, size: int) -> bool:
    """Whether a layer of one's own might flatten what one of its convolutions made, before it comes
    into a layer in it."""
    below = _all_below(owner)
    at = next((i for i, each in enumerate(below) if each is layer), 0)
    channels = _channels(below)
    before = [sizes for each in below[:at] if (sizes := _sizes(each))]
    if before and before[-1].returned == size:
        if before[-1].is_convolution:
            return False
        # It comes from the layer before it, if another one gets what was flattened, and nothing
        # else is.
        into = {each.into for each in before if not each.is_convolution} - {size}
        if _flattens_once(owner, below) and any(_are_of_channels(n, channels) for n in into):
            return False
    after = next((sizes for each in below[at + 1 :] if (sizes := _sizes(each))), None)
    if after and after.is_convolution and after.into == size and not _sizes(layer):
        return False  # a norm of the channels that come into a convolution
    return _flattens(owner, below) and _are_of_channels(size, channels)


def _are_of_channels(size: int, channels: Iterable[int]) -> bool:
    """Whether so many features may be several for each of the channels of a convolution."""
    return any(1 < count < size and size % count == 0 for count in channels)


def _may_return_flattened(owner: Any, size: int) -> bool:
    """Whether what a layer of one's own returns may be what one of its convolutions made, flattened
    into so many features."""
    below = _all_below(owner)
    last = next((sizes for each in reversed(below) if (sizes := _sizes(each))), None)
    if last is not None and not last.is_convolution and last.returned == size:
        return False
    return _flattens(owner, below) and _are_of_channels(size, _channels(below))


def _channels(layers: Iterable[Any]) -> list[int]:
    """How many channels each convolution makes."""
    kinds = tuple(f"Conv{n}D" for n in (1, 2, 3))
    return [getattr(each, "filters", None) or 0 for each in layers if is_one_of(each, kinds)]


def _flattens(owner: Any, below: Sequence[Any]) -> bool:
    """Whether a layer of one's own, or one in it, makes one axis of several."""
    if any(is_one_of(each, ("Flatten", "Reshape")) for each in below):
        return True
    return any(_reshapes(each) for each in [owner, *below])


def _flattens_once(owner: Any, below: Sequence[Any]) -> bool:
    """Whether there is one layer that makes one axis of several, and no code does."""
    made_by = [each for each in below if is_one_of(each, ("Flatten", "Reshape"))]
    return len(made_by) == 1 and not any(_reshapes(each) for each in [owner, *below])


class _Sizes(NamedTuple):
    """How many features or channels come into a layer, and how many it returns."""

    into: int
    returned: int
    is_convolution: bool


def _sizes(layer: Any) -> _Sizes | None:
    """What the kernel of a Dense layer, of a cell or of a convolution says, None for others."""
    kernel = getattr(layer, "kernel", None)
    if kernel is not None and is_one_of(layer, ("LSTMCell", "GRUCell", "SimpleRNNCell")):
        return _Sizes(int(kernel.shape[0]), int(layer.units), False)
    if kernel is None or not is_one_of(layer, ("Dense", *_CONVOLUTIONS)):
        return None
    *_, into, made = kernel.shape
    is_turned = is_one_of(layer, tuple(each for each in _CONVOLUTIONS if "Transpose" in each))
    into, made = (made, into) if is_turned else (into, made)
    return _Sizes(int(into), int(made), not is_one_of(layer, ("Dense",)))


def _may_unflatten(owner: Any, layer: Any, size: int) -> bool:
    """Whether a layer of one's own might make an image of what a layer in it returns."""
    below = _all_below(owner)
    shapes = [each.target_shape for each in below if is_one_of(each, ("Reshape",))]
    if any(_is_image_of(size, tuple(shape)) for shape in shapes):
        return True
    codes = [each for each in [owner, *below] if _reshapes(each, _MAKING_AXES)]
    if not codes:
        return False
    after = below[next(i for i, each in enumerate(below) if each is layer) + 1 :]
    following = next((sizes for each in after if (sizes := _sizes(each))), None)
    if following is None or not following.is_convolution:
        return False
    return _are_of_channels(size, [following.into])


def _is_image_of(size: int, shape: tuple[int, ...]) -> bool:
    """Whether a shape without the batch, with -1 for what is left, is that of an image of several
    channels and pixels that is made of some features."""
    count = math.prod(axis for axis in shape if axis > 0)
    fits = size % count == 0 if -1 in shape else size == count
    return fits and len(shape) > 2 and shape[-1] != 1 and sum(axis != 1 for axis in shape) > 1


_CONVOLUTIONS = tuple(f"Conv{n}D{kind}" for n in (1, 2, 3) for kind in ("", "Transpose"))


def _reshapes(layer: Any, words: Collection[str] = _RESHAPING) -> bool:
    """Whether the code of a layer that is not one of Keras itself reshapes something: that of
    ``call``, and of the methods and functions that it calls by name."""
    if _is_of_keras(layer):
        return False
    rest = [getattr(type(layer), "call", None)]
    seen: set[int] = set()
    while rest:
        code = getattr(rest.pop(), "__code__", None)
        if code is None or id(code) in seen:
            continue
        seen.add(id(code))
        # A layer in an attribute is looked at itself.
        names = {n for n in _names(code) if not is_keras_layer(vars(layer).get(n))}
        if names & set(words):
            return True
        known = getattr(sys.modules.get(type(layer).__module__), "__dict__", {})
        called = (getattr(type(layer), name, known.get(name)) for name in names)
        rest += [each for each in called if _is_own(each)]
    return False


def _names(code: Any) -> set[str]:
    """The names that code uses, and those of functions in it."""
    inner = (each for each in code.co_consts if hasattr(each, "co_names"))
    return set(code.co_names).union(*map(_names, inner))


def _is_own(function: Any) -> bool:
    """Whether a function is of somebody's own program."""
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] not in ("keras", "tf_keras", "keras_hub", "tensorflow", "numpy")


def _children(layer: Any) -> list[Any]:
    """The layers that a layer holds, in the order in which they compute if that is recorded."""
    operations = _operations(layer)
    if operations is not None:
        return operations
    flatten = getattr(layer, "_flatten_layers", None)
    return list(flatten(recursive=False, include_self=False)) if callable(flatten) else []


def _attribute(layer: Any, child: Any) -> str | None:
    """What the code of a layer calls a layer in it: ``shortcut``, ``blocks/0``. None if it is the
    graph of the model that holds it, or if no attribute does. None in Keras and keras-hub, which
    make their layers in the order in which they compute, so that automatic numbers say more."""
    if _operations(layer) is not None or _is_of_keras(layer):
        return None
    for name, held in vars(layer).items():
        if held is child and not name.startswith("__"):
            return name.strip("_") or None
    for name, held in vars(layer).items():
        if name.startswith("_"):
            continue
        items: Iterable[tuple[Any, Any]] = held.items() if isinstance(held, Mapping) else ()
        items = enumerate(held) if isinstance(held, (list, tuple)) else items
        for key, each in items:
            if each is child:
                return f"{name}/{key}"
    return None


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


def _is_of_keras(layer: Any) -> bool:
    """Whether the class of a layer is one of Keras or keras-hub."""
    return type(layer).__module__.partition(".")[0] in ("keras", "tf_keras", "keras_hub")


def _nodes(model: Any) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    """The calls of which a functional or sequential model consists: the operation, what it gets,
    and what it returns."""
    network = getattr(model, "_functional", None) or model
    for nodes in (getattr(network, "_nodes_by_depth", None) or {}).values():
        for node in nodes:
            operation = getattr(node, "operation", None) or getattr(node, "layer", None)
            if not getattr(node, "is_input", False):
                into, made = getattr(node, "input_tensors", ()), getattr(node, "output_tensors", ())
                yield operation, list(_flat(into)), list(_flat(made))


def _flat(found: Any) -> Iterator[Any]:
    """The tensors of a structure."""
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, (list, tuple)):
        for each in found:
            yield from _flat(each)
    elif found is not None:
        yield found


def _maker(tensor: Any) -> Any:
    """The operation or layer that made a tensor."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    return getattr(history, "operation", None) or getattr(history, "layer", None)
