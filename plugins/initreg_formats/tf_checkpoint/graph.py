"""The object graph of an object-based checkpoint: what each variable was called in the program.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto; for the keys
python/trackable/base.py, python/trackable/constants.py and python/trackable/python_state.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from initreg_formats.tf_checkpoint.proto import BYTES, fields

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTES = "/.ATTRIBUTES/"
_VARIABLE = b"VARIABLE_VALUE"
_OPTIMIZER_STATE = re.compile(
    rb"(((?:[ -~]*/)?\w*optimizer/\w+)/\d+)/\.ATTRIBUTES/VARIABLE_VALUE", re.ASCII
)
# A Keras layer's configuration, and what tf.train.experimental.PythonState keeps.
_BOOKKEEPING = frozenset(("OBJECT_CONFIG_JSON", "py_state"))


def is_bookkeeping(key: str) -> bool:
    """Whether a string under ``key`` is the checkpoint's own, rather than somebody's variable."""
    if key == KEY:
        return True
    _, found, attribute = key.rpartition(_ATTRIBUTES)
    return bool(found) and attribute in _BOOKKEEPING


def places(keys: Iterable[bytes]) -> dict[bytes, str]:
    """``optimizer/_variables/3 of 8`` as an alias of the key of that variable.

    Keras keeps the state of an optimizer in a list without names, in which a place means the same
    only where the lists are as long: a list of another length is another optimizer's.
    """
    matches = [match for match in map(_OPTIMIZER_STATE.fullmatch, keys) if match is not None]
    lengths = Counter(match[2] for match in matches)
    return {match[0]: f"{match[1].decode()} of {lengths[match[2]]}" for match in matches}


def full_names(graph: bytes) -> dict[bytes, tuple[bytes, ...]]:
    """For the key of each variable its ``full_name``, or several, in a serialised
    ``TrackableObjectGraph``. Raises Malformed."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for number, wire, _, node in fields(graph):
        if number != 1 or wire != BYTES:
            continue
        for inner, kind, _, attribute in fields(node):
            if inner != 2 or kind != BYTES:
                continue
            parts = {n: content for n, w, _, content in fields(attribute) if w == BYTES}
            name, key = parts.get(2, b""), parts.get(3, b"")
            if parts.get(1) == _VARIABLE and name and name not in found.get(key, ()):
                found[key] = (*found.get(key, ()), name)
    return found
