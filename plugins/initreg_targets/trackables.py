"""What TensorFlow can save as an object: a ``tf.train.Checkpoint``, a loaded SavedModel, a tracked
list or dict, an optimizer.

A variable is called by its path in the object, as in an object-based checkpoint of it. An object
may be reached by several paths, and a variable answers to all of them, up to some number.

Sources: the docstring of TensorFlow's ``trackable_object_graph.proto``, ``escape_local_name`` and
``slot_variable_key`` in python/checkpoint/.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from initreg_targets import optimizer_states
from initreg_targets import variables as eager
from initreg_targets.frameworks import find, is_a, is_structure, is_variable

# A number in such a list says little about a weight: it changes with what is trainable. It means
# the same for the state of an optimizer in lists of the same length, which therefore is part of the
# name. The tf_checkpoint format gives its arrays the same names.
_LISTS = re.compile(r"\w*variables")
_OF_OPTIMIZER = re.compile(r"(?:[ -~]*/)?\w*optimizer/\w+/\d+", re.ASCII)
_ALL = "_all_variables"  # of what model.export() of Keras 3 writes, made from a set
_UNORDERED = re.compile(rf"(?:.*/)?{_ALL}/\d+", re.DOTALL)
_MOST_PATHS = 16  # to one variable
_MOST_ARRIVALS = 4  # at an object that has others in it
_MOST_LETTERS = 1000  # of a path


def root_of(obj: Any) -> Any | None:
    """The object that TensorFlow tracks variables from, if ``obj`` is one or manages one."""
    if is_a(obj, "tensorflow", "train.CheckpointManager"):
        return obj.checkpoint
    if is_structure(obj):
        return obj if any(_is_trackable(each) for each in _values(obj)) else None
    return obj if is_optimizer(obj) or is_a(obj, *_AUTO) else None


_AUTO = ("tensorflow", "__internal__.tracking.AutoTrackable")
_TRACKABLE = ("tensorflow", "__internal__.tracking.Trackable")


def is_optimizer(obj: object) -> bool:
    """Whether it is an optimizer of Keras 2 or 3, or of TensorFlow 1."""
    return optimizer_states.is_optimizer(obj) or is_a(
        obj, "tensorflow", "compat.v1.train.Optimizer"
    )


def is_checkpoint(obj: object) -> bool:
    return is_a(obj, "tensorflow", "train.Checkpoint") or is_a(
        obj, "tensorflow", "compat.v1.train.Checkpoint"
    )


def _values(obj: Any) -> Iterable[Any]:
    return obj.values() if isinstance(obj, Mapping) else obj


def _is_trackable(obj: object) -> bool:
    return is_variable(obj) or is_a(obj, *_TRACKABLE)


class Paths:
    """The variables below a root, and their names.

    Args:
        root: what TensorFlow tracks. It is kept, so that no ``id`` is used again.
        name: what the root itself is called, in an object that has it.
    """

    def __init__(self, root: Any, name: str = "") -> None:
        self._places = _walk(root, name, _LISTS)
        self._keys = _walk(root, name)
        self.optimizers = self._optimizers()
        self._state = {_identity(v) for each in self.optimizers for v in each.variables}
        self._in_order = self._ordered(root)
        self._lengths = Counter(self.key(each).rpartition("/")[0] for each in self.variables())

    def _optimizers(self) -> list[optimizer_states.Optimizer]:
        """The optimizers of Keras, without those in another one."""
        found = list(filter(optimizer_states.is_optimizer, self._keys.objects))
        inner = {id(optimizer_states.inner_of(each)) for each in found}
        return [
            optimizer_states.optimizer_at(
                each,
                dict.fromkeys(
                    (*self._places.paths.get(id(each), ()), *self._keys.paths.get(id(each), ()))
                ),
            )
            for each in found
            if id(each) not in inner
        ]

    def variables(self) -> list[Any]:
        """The variables, each once, in the order in which they are found."""
        return [each for each in self._keys.objects if is_variable(each)]

    def of(self, variable: Any) -> list[str]:
        """What a checkpoint may call the variable: its paths, the shortest first.

        Its key is among them if it is a place in a list only for the state of an optimizer, and for
        what has no other path.
        """
        found = _of_variable(self._places, variable)
        key = self.key(variable)
        if key and not _UNORDERED.fullmatch(key):
            if not found or _identity(variable) in self._state:
                found.append(self._counted(key))
            found += self._in_order.get(_identity(variable), ())
        return list(dict.fromkeys(found))

    def _ordered(self, root: Any) -> dict[int, list[str]]:
        """Positions in the lists of all variables that ``model.export()`` of Keras 3 keeps."""
        found: dict[int, list[str]] = {}
        for name in ("variables", "trainable_variables", "non_trainable_variables"):
            members: Any = getattr(root, "__dict__", {}).get(name)
            if is_structure(members) and all(map(is_variable, members)):
                for number, each in enumerate(members):
                    place = f"#{name}/{number} of {len(members)}"
                    found.setdefault(_identity(each), []).append(place)
        return found

    def key(self, variable: Any) -> str:
        """What TensorFlow calls it in a checkpoint of the root."""
        return next(iter(_of_variable(self._keys, variable)), "")

    def _counted(self, key: str) -> str:
        if not _OF_OPTIMIZER.fullmatch(key):
            return key
        return f"{key} of {self._lengths[key.rpartition('/')[0]]}"


class _Walk(NamedTuple):
    """All objects below a root, breadth first, and the paths to each by its ``id``."""

    objects: list[Any]
    paths: dict[int, list[str]]


def _identity(variable: Any) -> int:
    return id(eager.unwrapped(variable))


def _of_variable(walk: _Walk, variable: Any) -> list[str]:
    """The paths to a variable. Keras 3 tracks its own, or the ``tf.Variable``s in them."""
    found = (*walk.paths.get(id(variable), ()), *walk.paths.get(_identity(variable), ()))
    return list(dict.fromkeys(map(eager.spelt, found)))  # a key of a dict may end in :0


def _walk(root: Any, name: str, without: re.Pattern[str] | None = None) -> _Walk:
    """Follow TensorFlow's references. Those whose names match ``without`` are left out."""
    view = find("tensorflow", "train.TrackableView")
    walk = _Walk([root], {id(root): [name]})
    children: dict[int, list[tuple[str, Any]]] = {}
    # Each arrival at an object is followed, so that all paths are found, but not around a circle.
    queue = deque([_Arrival(root, name, None)] if view is not None else ())
    while queue:
        arrival = queue.popleft()
        parent = arrival.obj
        if id(parent) not in children:
            is_saver = parent is root and is_checkpoint(root)
            found = _of_checkpoint(view, root) if is_saver else _children(view, parent)
            children[id(parent)] = [
                each for each in found if without is None or not without.fullmatch(each[0])
            ]
        for end, child in children[id(parent)]:
            if id(child) not in walk.paths:
                walk.objects.append(child)
            elif arrival.passed(child):
                continue
            path = f"{arrival.path}/{end}" if arrival.path else end
            is_end = is_variable(child)
            is_new = _add(walk.paths, child, path, _MOST_PATHS if is_end else _MOST_ARRIVALS)
            if is_new and not is_end:
                queue.append(_Arrival(child, path, arrival))
    _add_slots(walk)
    return walk


class _Arrival(NamedTuple):
    """One way to get to an object."""

    obj: Any
    path: str
    before: _Arrival | None

    def passed(self, obj: Any) -> bool:
        """Whether the way leads through the object."""
        step: _Arrival | None = self
        while step is not None and step.obj is not obj:
            step = step.before
        return step is not None


def _add(paths: dict[int, list[str]], child: Any, path: str, most: int) -> bool:
    """Note a path. Returns False if there are enough of them."""
    found = paths.setdefault(id(child), [])
    if len(found) >= most or len(path) > _MOST_LETTERS or path in found:
        return False
    found.append(path)
    return True


def _add_slots(walk: _Walk) -> None:
    """Add the slots that belong to a variable and an optimizer of TF1 or of the older Keras."""
    variables = [each for each in walk.objects if is_variable(each)]
    for optimizer in [each for each in walk.objects if is_optimizer(each)]:
        for name in getattr(optimizer, "get_slot_names", list)():
            for variable in variables:
                slot = _slot(optimizer, variable, name)
                if slot is None:
                    continue
                if id(slot) not in walk.paths:
                    walk.objects.append(slot)
                for of in walk.paths[id(variable)]:
                    for path in walk.paths[id(optimizer)]:
                        key = f"{of}/.OPTIMIZER_SLOT/{path}/{_escaped(name)}"
                        _add(walk.paths, slot, key, _MOST_PATHS)


def _children(view: Any, parent: Any) -> list[tuple[str, Any]]:
    """What TensorFlow tracks from an object, by the names in a checkpoint."""
    try:
        found = view.children(parent)
    except (ValueError, AttributeError):  # a list or dict that cannot be in a checkpoint
        return []
    # A weight that Keras 2 made without a name is tracked under None, too, as in no checkpoint.
    return [(_escaped(name), child) for name, child in found.items() if name is not None]


def _of_checkpoint(view: Any, checkpoint: Any) -> list[tuple[str, Any]]:
    """What a ``tf.train.Checkpoint`` saves, unless it is a part of another object.

    ``Checkpoint(root, **others)`` saves what the root tracks, and the others beside it as if the
    root tracked them. What is set later, even ``checkpoint.root``, is a usual child of one without
    a root, and not saved by one with a root.
    """
    attached = getattr(checkpoint, "_attached_dependencies", None)
    if attached is None:
        found = dict(_children(view, checkpoint))
    else:
        others = {each.name: each.ref for each in attached}
        found = dict(_children(view, others.pop("root", checkpoint.root)))
        found |= {_escaped(name): child for name, child in others.items()}
    counter = getattr(checkpoint, "_save_counter", None)  # save_counter would make one
    if counter is not None:
        found["save_counter"] = counter
    return list(found.items())


def _escaped(name: str) -> str:
    return name.replace(".", "..").replace("/", ".S")


def _slot(optimizer: Any, variable: Any, name: str) -> Any | None:
    try:
        return optimizer.get_slot(variable, name)
    except (KeyError, AttributeError, ValueError):  # as the older Keras says that there is none
        return None


def twins(paths: Paths, variables: Sequence[Any]) -> tuple[list[Any], dict[int, list[Any]]]:
    """The variables, and the copies of each by its ``id``, which are not among them.

    ``model.export()`` of Keras 3 saves every variable twice, in ``variables`` and, in no order, in
    ``_all_variables``. What is loaded computes with either.
    """
    first: dict[tuple[Any, ...], Any] = {}
    copies: dict[int, list[Any]] = {}
    listed = {id(v): paths.key(v).rpartition("/")[0] for v in variables}
    for variable in sorted(variables, key=lambda v: listed.get(id(v)) == _ALL):
        kind = (eager.name_of(variable), eager.shape_of(variable.shape), variable.dtype)
        if listed.get(id(variable)) == _ALL and listed.get(id(first.get(kind))) == "variables":
            copies.setdefault(id(first.pop(kind)), []).append(variable)
        elif listed.get(id(variable)) == "variables":
            first[kind] = variable
    left_out = {id(each) for found in copies.values() for each in found}
    return [each for each in variables if id(each) not in left_out], copies


def own_variables(optimizer: Any) -> list[Any]:
    """The state of an optimizer, without the weights that it trains."""
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)
