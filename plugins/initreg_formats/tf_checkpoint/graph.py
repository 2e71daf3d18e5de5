"""The object graph of an object-based checkpoint: what each variable was called in the program.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto. For the keys:
python/trackable/base.py, python/trackable/constants.py and python/trackable/python_state.py.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from initreg_formats.shared.protobuf import BYTES, VARINT, fields

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTES = "/.ATTRIBUTES/"
_VARIABLE = b"VARIABLE_VALUE"
_SUFFIX = b"/.ATTRIBUTES/VARIABLE_VALUE"
_PASSED = re.compile(rb"optimizer|\w*variables")
_IN_LIST = re.compile(rb"(?:.*/)?\w*variables/\d+", re.DOTALL)
_LONGEST_PLACE = 1000  # bytes; the paths of one long chain would take the square of its length
_OPTIMIZER_STATE = re.compile(
    rb"((?:[ -~]*/)?)(\w*optimizer/\w+)(/\d+)/\.ATTRIBUTES/VARIABLE_VALUE", re.ASCII
)
# A Keras layer's configuration, and what tf.train.experimental.PythonState keeps.
_BOOKKEEPING = frozenset(("OBJECT_CONFIG_JSON", "py_state"))


def is_bookkeeping(key: str) -> bool:
    """Whether ``key`` holds the checkpoint's own record, not a variable of the program."""
    if key == KEY:
        return True
    _, found, attribute = key.rpartition(_ATTRIBUTES)
    return bool(found) and attribute in _BOOKKEEPING


def is_in_list(key: bytes) -> bool:
    """Whether the key is a place in a list of variables, such as ``_all_variables/3``."""
    return _IN_LIST.fullmatch(key.removesuffix(_SUFFIX)) is not None


def places(keys: Iterable[bytes]) -> dict[bytes, tuple[str, ...]]:
    """Aliases such as ``optimizer/_variables/3 of 8``, by the key of the variable.

    The key may begin with the name of the model: ``model/optimizer/_variables/3``.

    Keras keeps the state of an optimizer in a list without names. A place in it means the same only
    if the lists have the same length: a list of another length belongs to another optimizer.
    """
    matches = [match for match in map(_OPTIMIZER_STATE.fullmatch, keys) if match is not None]
    lengths = Counter(match.group(1, 2) for match in matches)
    found: dict[bytes, tuple[str, ...]] = {}
    for match in matches:
        place = f"{match[2].decode()}{match[3].decode()} of {lengths[match.group(1, 2)]}"
        found[match[0]] = tuple(dict.fromkeys((match[1].decode() + place, place)))
    return found


def other_names(graph: bytes) -> dict[bytes, tuple[bytes, ...]]:
    """The other names of each variable, by its key, from a serialised ``TrackableObjectGraph``.

    These are its ``full_name``, or several, and its place in the model if that is not the key.
    Raises Malformed.
    """
    nodes = [_node(content) for n, wire, _, content in fields(graph) if n == 1 and wire == BYTES]
    model = _only_object(nodes)
    found: dict[bytes, dict[bytes, None]] = {}  # key -> its names, in their order
    for place, (_, variables) in zip(_places_in_model(nodes), nodes, strict=True):
        for name, key in variables:
            names = [place, name]
            if place is not None and model is not None:
                names.append(place.removeprefix(model + b"/"))
            own = key.removesuffix(_SUFFIX)
            found.setdefault(key, {}).update((each, None) for each in names if each and each != own)
    return {key: tuple(names) for key, names in found.items() if names}


def _only_object(nodes: Sequence[_Node]) -> bytes | None:
    """The name of the only object in the checkpoint, so that the object itself can be restored.

    For ``tf.train.Checkpoint(model=m)`` it is ``model``. None if there is not exactly one.
    """
    if not nodes:
        return None
    inside = [(name, n) for name, n in nodes[0].children if 0 < n < len(nodes)]
    objects = [name for name, n in inside if nodes[n].children]
    loose = [name for name, n in inside if nodes[n].variables and name != b"save_counter"]
    return objects[0] if len(objects) == 1 and not loose else None


class _Node(NamedTuple):
    """``children`` are names and numbers of other nodes. ``variables`` are full names and keys."""

    children: list[tuple[bytes, int]]
    variables: list[tuple[bytes, bytes]]


def _node(data: bytes) -> _Node:
    node = _Node([], [])
    for number, wire, _, content in fields(data):
        if wire != BYTES or number not in (1, 2):
            continue
        child = 0
        texts = {}
        for n, kind, value, text in fields(content):
            if kind == BYTES:
                texts[n] = text
            elif n == 1 and kind == VARINT:
                child = value
        if number == 1:
            node.children.append((texts.get(2, b""), child))
        elif texts.get(1) == _VARIABLE:
            node.variables.append((texts.get(2, b""), texts.get(3, b"")))
    return node


def _places_in_model(nodes: Sequence[_Node]) -> list[bytes | None]:
    """The shortest path to each node that avoids optimizers and lists of variables.

    TensorFlow's own key may lead through such a list. Then it contains a number, which changes with
    what is trainable.
    """
    places: list[bytes | None] = [None] * len(nodes)
    if nodes:
        places[0] = b""
    queue = deque([0] if nodes else [])
    while queue:
        parent = queue.popleft()
        prefix = places[parent]
        assert prefix is not None
        for name, child in nodes[parent].children:
            if not 0 < child < len(nodes) or places[child] is not None or _PASSED.fullmatch(name):
                continue
            name = name.replace(b".", b"..").replace(b"/", b".S")
            place = prefix + b"/" + name if prefix else name
            if len(place) <= _LONGEST_PLACE:
                places[child] = place
                queue.append(child)
    return places
