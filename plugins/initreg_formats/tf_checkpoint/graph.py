"""The object graph of an object-based checkpoint: what each variable was called in the program.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto. For the keys:
python/trackable/base.py, python/trackable/constants.py and python/trackable/python_state.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping
from typing import Any

from initreg import Automatic, Place, StateSpec
from initreg_formats.shared.keras_names import is_automatic, without_underscores
from initreg_formats.tf_checkpoint.nodes import Budget, Nodes, Paths
from initreg_formats.tf_checkpoint.optimizers import states

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTES = "/.ATTRIBUTES/"
_SUFFIX = b"/.ATTRIBUTES/VARIABLE_VALUE"
_PASSED = re.compile(rb"optimizer|keras_api|\w*variables")
_TRAINED = re.compile(rb"((?:.*/)?)([^/]*optimizer/_trainable_variables)/(\d+)")
_TRAINED_LIST = b"optimizer/_trainable_variables/"
_IN_LIST = re.compile(rb"(?:.*/)?\w*variables/\d+", re.DOTALL)
# A list that model.export() of Keras 3 makes from a set, beside the lists that have an order.
_UNORDERED = re.compile(rb"(?:.*/)?_all_variables/\d+", re.DOTALL)
_NOT_NEEDED = (
    (
        re.compile(r"(?:.*/)?keras_api/metrics/\d+/.+", re.DOTALL),
        "the state of a metric, which fit() and evaluate() reset",
    ),
    (
        re.compile(r"(?:.*/)?token_(?:document_)?counts/\.ATTRIBUTES/table-\w+", re.DOTALL),
        "counts of words, which only adapt() uses",
    ),
)
# What Adafactor of Keras 2 tracks in the place of factors for a weight of fewer than two axes.
_FACTOR = re.compile(r"((?:.*/)?)_[rc](/\d+(/\.ATTRIBUTES/VARIABLE_VALUE)?)", re.DOTALL)
_PLACEHOLDER = "a placeholder of Adafactor, which has no factors for this weight"
_VARIABLES = (b"variables", b"trainable_variables", b"non_trainable_variables")
_KERAS_2_12 = "_layer_checkpoint_dependencies/"
_LONGEST_PLACE = 1000  # bytes; the paths of one long chain would take the square of its length
_MOST_PATHS = 16  # to one node; graphs of many shared parts have millions
# Paths to nodes beyond the first one, and bytes of text of paths, for the size of a graph.
_BYTES_PER_PATH, _ANY_PATHS = 4, 1 << 15
_TEXT_PER_BYTE, _ANY_TEXT = 8, 1 << 20
_TEXT_SIZE = 50  # bytes of a str, beside its characters
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


def is_unordered(key: bytes) -> bool:
    """Whether the key is a place in a list that Keras makes from a set."""
    return _UNORDERED.fullmatch(key.removesuffix(_SUFFIX)) is not None


def not_needed(arrays: Mapping[str, Any]) -> dict[str, str]:
    """The names of those arrays that may stay unused, each with the reason."""
    found = {n: why for n in arrays for pattern, why in _NOT_NEEDED if pattern.fullmatch(n)}
    for name, array in arrays.items():
        if "_r/" not in name and "_c/" not in name:  # most names, and the regex is slow
            continue
        match = _FACTOR.fullmatch(name)
        if match is None or (array.shape, array.dtype) != ((), "int32"):
            continue
        above, number, ending = match.groups("")
        beside = (f"_r{number}", f"_c{number}", f"_iterations{ending}")
        if all(above + other in arrays for other in beside):
            found[name] = _PLACEHOLDER
    return found


def read(
    graph: bytes, keys: Container[bytes]
) -> tuple[dict[bytes, tuple[bytes | str, ...]], dict[bytes, StateSpec]]:
    """What a serialised ``TrackableObjectGraph`` says of each variable, by its key.

    Args:
        graph: the graph.
        keys: the keys that the checkpoint has. Variables of other keys are left out.

    Returns:
        The other names of each, and what it is in the state of an optimizer, if it is such state.
        The names are its ``full_name``, or several, and its places: all paths that lead to it, its
        key among them. They are bounded by the size of the graph: one that has more of them than
        any program makes lacks the last ones.

    Raises:
        Malformed, UnicodeDecodeError: the graph is damaged.
    """
    nodes = Nodes(graph)
    further = len(graph) // _BYTES_PER_PATH + _ANY_PATHS
    # TensorFlow's own key may lead through an optimizer or a list of variables. Then it contains a
    # number, which changes with what is trainable.
    paths = Paths(nodes, _PASSED.fullmatch, _LONGEST_PLACE, _MOST_PATHS, further)
    budget = Budget(_TEXT_PER_BYTE * len(graph) + _ANY_TEXT)
    return _other_names(nodes, paths, keys, budget), states(nodes, paths, keys, budget)


def _other_names(
    nodes: Nodes, paths: Paths, keys: Container[bytes], budget: Budget
) -> dict[bytes, tuple[bytes | str, ...]]:
    found: dict[bytes, dict[bytes | str, None]] = {}  # key -> its names, in their order
    in_order = _in_order(nodes, budget)
    variables = list(nodes.variables())
    trained = (_trained(key.removesuffix(_SUFFIX)) for _, _, key in variables)
    lengths = Counter(match[2] for match in trained if match is not None)
    for number, name, key in variables:
        if key not in keys:
            continue
        own = key.removesuffix(_SUFFIX)
        spelt = {own: None}  # one of the paths is nearly always the key
        for path in paths.of(number):
            if budget.takes(paths.size(path) + _TEXT_SIZE):
                spelt[paths.text(path)] = None
        places = [_spelt(path.decode()) for path in spelt]
        names: list[bytes | str] = [*map(Place, places)]
        if name and name != own:
            text = name.decode()
            names.append(Automatic(text) if is_automatic(text) else name)
        names += [Place(other) for p in places if (other := without_underscores(p)) != p]
        # Keras 2.12 and 2.13 tracked the layers of a model under an attribute of their own.
        for place in [p.replace(_KERAS_2_12, "") for p in places if _KERAS_2_12 in p]:
            names += [Place(place), Place(without_underscores(place))]
        if number in in_order:
            names += map(Place, in_order[number])
        if lengths:
            names += map(Place, _in_trained(own, lengths))
        found.setdefault(key, {}).update(dict.fromkeys(filter(None, names)))
    return {key: tuple(names) for key, names in found.items() if names}


def _in_trained(key: bytes, lengths: Mapping[bytes, int]) -> list[str]:
    """Places such as ``optimizer/_trainable_variables/3 of 8``.

    Keras 3 has no other path to a weight that a layer keeps in a list or a dict. A place in such a
    list means the same only in a list of the same length. The key may begin with the name of the
    model.
    """
    match = _trained(key)
    if match is None:
        return []
    above, of_list, number = (part.decode() for part in match.groups())
    place = f"{of_list}/{number} of {lengths[match[2]]}"
    return list(dict.fromkeys((above + place, place)))


def _trained(key: bytes) -> re.Match[bytes] | None:
    """The parts of the key of a weight in a list of an optimizer."""
    return _TRAINED.fullmatch(key) if _TRAINED_LIST in key else None  # few have it


def _spelt(place: str) -> str:
    """A place in such a spelling that initreg, which drops a ``:0``, does not drop a part of it."""
    return f"{place}:0" if place.endswith(":0") else place


def _in_order(nodes: Nodes, budget: Budget) -> dict[int, list[str]]:
    """Places such as ``#variables/3 of 8``, by the number of the node.

    ``model.export()`` of Keras 3 keeps the variables of a model in lists and nowhere else.
    """
    lists: dict[bytes, int] = {}  # an object has one child of a name
    for name, child in nodes.children(0) if len(nodes) else ():
        if name in _VARIABLES and 0 < child < len(nodes):
            lists.setdefault(name, child)
    found: dict[int, list[str]] = {}
    for name, child in lists.items():
        count = nodes.count_children(child)
        for number, node in nodes.children(child):
            if number.isdigit() and nodes.is_variable(node) and budget.takes(_TEXT_SIZE):
                place = f"#{name.decode()}/{number.decode()} of {count}"
                found.setdefault(node, []).append(place)
    return found
