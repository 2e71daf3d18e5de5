"""The state of optimizers in an object-based checkpoint: which variables are such state.

The optimizers of Keras keep their state in a list, ``_variables``, and most of it in attributes
beside that. Those of ``tf_keras.optimizers.legacy`` have slots, each of which the graph records
with its variable, and their numbers in attributes. No class is recorded. The full names of the
variables say what the optimizer was called.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto,
``keras/src/optimizers/base_optimizer.py``, ``tf_keras/src/optimizers/optimizer.py``,
``tf_keras/src/optimizers/legacy/optimizer_v2.py`` and
``tf_keras/src/mixed_precision/loss_scale_optimizer.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import TYPE_CHECKING, NamedTuple

from initreg import OptimizerSpec, StateSpec

if TYPE_CHECKING:
    from initreg_formats.tf_checkpoint.nodes import Budget, Nodes, Paths

_LIST = b"_variables"
_COUNTERS = (b"_iterations", b"iter")  # of all but the legacy ones, and of those
_INNER = b"inner_optimizer"
_LOSS_SCALE = b"loss_scale"
_SUFFIX = b"/.ATTRIBUTES/VARIABLE_VALUE"
_DEEPEST = 4  # optimizers in each other
_TEXT_SIZE = 50  # bytes of a str, beside its characters
_TELLING = frozenset((*_COUNTERS, _LIST, b"decay", _LOSS_SCALE))


class _Optimizer(NamedTuple):
    """The number of the optimizer in it, -1 if there is none, and whether it has a loss scale."""

    inner: int
    has_scale: bool


def states(
    nodes: Nodes, paths: Paths, keys: Container[bytes], budget: Budget
) -> dict[bytes, StateSpec]:
    """What each variable is in the state of an optimizer, by its key.

    Args:
        nodes: the nodes of the graph.
        paths: paths to each of them that do not lead through optimizers.
        keys: the keys that the checkpoint has. Variables of other keys are left out.
        budget: bytes of text that may be made.
    """
    optimizers = {
        number: found
        for number in range(len(nodes))
        if nodes.count_children(number) and (found := _optimizer(number, nodes))
    }
    if not optimizers:
        return {}
    places = _places(nodes, paths, optimizers, budget)
    inner = {each.inner for number, each in optimizers.items() if each.inner != number}
    inner.discard(0)
    members = _Members(nodes, optimizers, keys, budget)
    for number in sorted(optimizers.keys() - inner):
        levels = _levels(number, optimizers)
        spec = OptimizerSpec(tuple(dict.fromkeys(places[number])), ("",) * levels)
        members.add(number, spec)
    return members.found


def _optimizer(number: int, nodes: Nodes) -> _Optimizer | None:
    names = set()
    inner = -1
    for name, child in nodes.children(number):
        if name in _TELLING:
            names.add(name)
        elif name == _INNER:
            inner = child
    if not (_COUNTERS[0] in names and _LIST in names) and not (
        _COUNTERS[1] in names and (nodes.has_slots(number) or b"decay" in names)
    ):
        return None
    return _Optimizer(inner, _LOSS_SCALE in names)


def _places(
    nodes: Nodes, paths: Paths, optimizers: Collection[int], budget: Budget
) -> dict[int, list[str]]:
    """The places of each optimizer that is not in another one."""
    places: dict[int, list[str]] = {number: [] for number in optimizers}
    if 0 in optimizers:
        places[0].append("")
    for number in range(len(nodes)):
        if number in optimizers:
            continue
        for name, child in nodes.children(number):
            if child not in optimizers or child == 0:
                continue
            if number == 0:
                places[child].append(name.decode(errors="replace"))
            for path in paths.of(number):
                if budget.takes(paths.size(path) + len(name) + _TEXT_SIZE):
                    place = paths.text(path) + b"/" + name
                    places[child].append(place.decode(errors="replace"))
    return places


def _levels(number: int, optimizers: Mapping[int, _Optimizer]) -> int:
    """How many optimizers in each other there are. A loss scale stands for one around the other."""
    levels = 1
    seen = {number}
    while levels < _DEEPEST:
        found = optimizers[number]
        number = found.inner
        if number not in optimizers or number in seen:
            return levels + found.has_scale
        seen.add(number)
        levels += 1
    return levels


class _Members:
    """The variables of optimizers, in ``found``. Each optimizer and each list is read once.

    A variable of two optimizers is not known to be of either, and counts for the first.
    """

    def __init__(
        self,
        nodes: Nodes,
        optimizers: Container[int],
        keys: Container[bytes],
        budget: Budget,
    ) -> None:
        self.found: dict[bytes, StateSpec] = {}
        self._nodes = nodes
        self._optimizers = optimizers
        self._keys = keys
        self._budget = budget
        self._read: set[int] = set()  # optimizers, lists and loss scales
        self._done: set[int] = set()  # variables

    def add(self, number: int, spec: OptimizerSpec, above: str = "", depth: int = 0) -> None:
        """Add the variables of an optimizer, and of those in it."""
        nodes = self._nodes
        self._read.add(number)
        listed: set[int] = set()
        for name, child in nodes.children(number):
            if name == _LIST and self._is_new(child):
                count = sum(1 for at, _ in nodes.children(child) if at.isdigit())
                for at, variable in nodes.children(child):
                    if at.isdigit():
                        listed.add(variable)
                        self._put(variable, spec, f"{above}{at.decode()} of {count}", False)
        for name, child in nodes.children(number):
            if child in listed or not 0 <= child < len(nodes):
                continue
            place = f"{above}{name.decode(errors='replace')}"
            if name == _INNER and child in self._optimizers and depth < _DEEPEST:
                if child not in self._read:
                    self.add(child, spec, f"{place}/", depth + 1)
            elif name == _LOSS_SCALE:
                if self._is_new(child):
                    for own, variable in nodes.children(child):
                        at_scale = f"{place}/{own.decode(errors='replace')}"
                        self._put(variable, spec, at_scale, False)
            else:
                self._put(child, spec, place, name != _COUNTERS[1])
        for original, slot, variable in nodes.slots(number):
            if variable in self._done or not nodes.is_variable(original):
                continue
            if self._budget.takes(nodes.key_size(original) + len(slot) + _TEXT_SIZE):
                key = nodes.variable(original)[1]
                of = key.removesuffix(_SUFFIX).decode(errors="replace")
                of_weight = f"{above}{slot.decode(errors='replace')} of {of}"
                self._put(variable, spec, of_weight, False)

    def _is_new(self, number: int) -> bool:
        """Whether a node was not read yet. It counts as read then."""
        if not 0 <= number < len(self._nodes) or number in self._read:
            return False
        self._read.add(number)
        return True

    def _put(self, number: int, spec: OptimizerSpec, place: str, optional: bool) -> None:
        if number in self._done or not self._nodes.is_variable(number):
            return
        self._done.add(number)
        key = self._nodes.variable(number)[1]
        if key in self._keys and key not in self.found:
            self.found[key] = StateSpec(spec, (place,), optional)
