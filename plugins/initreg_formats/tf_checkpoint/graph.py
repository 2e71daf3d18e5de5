"""The object graph of an object-based checkpoint: what each variable was called in the program.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto; for the keys
python/trackable/base.py, python/trackable/constants.py and python/trackable/python_state.py.
"""

from __future__ import annotations

from initreg_formats.tf_checkpoint.proto import BYTES, fields

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTES = "/.ATTRIBUTES/"
_VARIABLE = b"VARIABLE_VALUE"
# A Keras layer's configuration, and what tf.train.experimental.PythonState keeps.
_BOOKKEEPING = frozenset(("OBJECT_CONFIG_JSON", "py_state"))


def is_bookkeeping(key: str) -> bool:
    """Whether a string under ``key`` is the checkpoint's own, rather than somebody's variable."""
    if key == KEY:
        return True
    _, found, attribute = key.rpartition(_ATTRIBUTES)
    return bool(found) and attribute in _BOOKKEEPING


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
