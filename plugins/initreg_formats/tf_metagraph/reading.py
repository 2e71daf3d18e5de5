"""Reading a metagraph: its variables, and which of them belong to the model.

Source: TensorFlow's core/protobuf/meta_graph.proto, core/framework/graph.proto, node_def.proto,
attr_value.proto and variable.proto. Which variables belong to the model: tensorpack's
dump-model-params.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from initreg import DamagedFile, Source
from initreg.format_tools.values import WithoutValue
from initreg_formats.shared.paths import file_of
from initreg_formats.shared.protobuf import BYTES, VARINT, Malformed, field, fields, signed, varint
from initreg_formats.shared.tf_dtypes import DTYPES, NOT_ARRAYS
from initreg_formats.tf_metagraph.claiming import COLLECTION, FIELDS, GRAPH, begins_like_one

_LARGEST = (1 << 31) - 1  # bytes; no message of protocol buffers is larger
_MOST_AXES = 32  # as many as every numpy takes
_LARGEST_ARRAY = 1 << 59  # elements

_VARIABLE_OPS = frozenset((b"VariableV2", b"VarHandleOp", b"Variable"))
_GLOBAL = "variables"
_PARAMETERS = ("trainable_variables", "model_variables")


def open_metagraph(source: Source) -> MetaGraph:
    """The variables that a metagraph describes. Raises DamagedFile."""
    file_of(source, "tf_metagraph")
    if source.size > _LARGEST:
        raise DamagedFile(
            f"{source.label}: {source.size:,} bytes are too many for a metagraph, which has at "
            f"most {_LARGEST:,}"
        )
    if not begins_like_one(source):
        text = source.head.lstrip().startswith((b"meta_info_def", b"graph_def"))
        raise DamagedFile(
            f"{source.label}: not a MetaGraphDef"
            + (", but one in text form. Export it again without as_text" if text else "")
        )
    try:
        return _described(source.label, source.read(0, _LARGEST))
    except Malformed as error:
        raise DamagedFile(
            f"{source.label}: is damaged or truncated: it has {error}. Download or copy it again"
        ) from error


class MetaGraph(dict[str, Any]):
    """The variables by name. They have shapes and dtypes, but reading one raises InitregError.

    ``parameters`` are the names of those that belong to the model: TRAINABLE or MODEL variables.
    It is None if the file has neither collection.
    """

    parameters: tuple[str, ...] | None = None


class _Variable(NamedTuple):
    """A ``VariableDef``. A part of a partitioned variable has ``whole``: the name and the shape of
    the complete variable."""

    name: str
    whole: tuple[str, tuple[int, ...]] | None = None

    @property
    def shown(self) -> str:
        """The name in a checkpoint. tf.compat.v1.train.Saver saves the parts as one variable."""
        return self.name if self.whole is None else self.whole[0]


class _Node(NamedTuple):
    """``dtype`` is a DataType, or 0 if the node has none. ``shape`` is None if the graph leaves it
    open, altogether or on some axis."""

    op: bytes
    dtype: int
    shape: tuple[int, ...] | None


def _described(label: str, data: bytes) -> MetaGraph:
    """Raises Malformed, and DamagedFile if the parts of the file contradict each other."""
    graphs: list[bytes] = []
    collections: dict[str, list[_Variable]] = {}
    for number, wire, _, content in fields(data):
        if number not in FIELDS or wire != BYTES:
            raise Malformed(f"a field {number}, which no MetaGraphDef has")
        if number == GRAPH:
            graphs.append(content)
        elif number == COLLECTION:
            name, variables = _collection(content)
            collections[name] = variables
    if not graphs:
        raise Malformed("no graph")
    wanted = collections.get(_GLOBAL)
    names = None if wanted is None else {variable.name.encode() for variable in wanted}
    nodes = dict(_nodes(graphs, names))
    if wanted is None:  # exported without its collections: take all variables of the graph
        wanted = [_Variable(name) for name in nodes]
    found = MetaGraph()
    pairs = {(variable.whole[0], variable.name) for variable in wanted if variable.whole}
    parts = Counter(whole for whole, _ in pairs)
    for variable in wanted:
        _add(found, variable, nodes.get(variable.name), label, parts[variable.shown] > 1)
    if any(name in collections for name in _PARAMETERS):
        known = {variable.shown for variable in wanted}
        found.parameters = tuple(
            dict.fromkeys(
                variable.shown
                for name in _PARAMETERS
                for variable in collections.get(name, ())
                # As dump-model-params did: local variables are not in checkpoints.
                if variable.shown in known
            )
        )
    return found


def _add(
    found: MetaGraph, variable: _Variable, node: _Node | None, label: str, is_part: bool
) -> None:
    name = variable.shown
    if node is None:
        raise DamagedFile(
            f"{label}: variable {variable.name!r} is in its collections, but not in its graph. "
            "Download or copy the file again"
        )
    if node.dtype in NOT_ARRAYS:
        return
    if node.dtype not in DTYPES:
        what = f"dtype number {node.dtype}, which is unknown" if node.dtype else "no dtype"
        raise DamagedFile(f"{label}: variable {name!r} has {what}")
    shape = node.shape
    # The only part of a variable is an array of its own in the checkpoint, too.
    if variable.whole is not None and (is_part or shape is None):
        shape = variable.whole[1]
    if shape is None:
        return  # it takes any array, so there is nothing to compare
    dtype = DTYPES[node.dtype]
    if name in found:
        # The other parts of a partitioned variable; the same variable collected twice.
        if (found[name].shape, found[name].dtype) != (shape, dtype):
            raise DamagedFile(
                f"{label}: variable {name!r} occurs with two shapes or dtypes: {found[name].shape} "
                f"{found[name].dtype} and {shape} {dtype}"
            )
        return
    found[name] = WithoutValue(
        shape,
        dtype,
        f"{label}: a metagraph holds no values, so {name!r} cannot be read. Open the checkpoint "
        "beside it",
    )


def _nodes(graphs: Iterable[bytes], names: set[bytes] | None) -> Iterator[tuple[str, _Node]]:
    """The nodes with these names, whatever their ops. If ``names`` is None, those whose op makes a
    variable."""
    seen: set[bytes] = set()
    for graph in graphs:
        for number, wire, _, content in fields(graph):
            if number != 1 or wire != BYTES:
                continue
            name, op = _name_and_op(content)
            if (op not in _VARIABLE_OPS) if names is None else (name not in names):
                continue
            if name in seen:
                raise Malformed(f"two nodes {_text(name)!r}")
            seen.add(name)
            yield _text(name), _node(op, content)


def _name_and_op(data: bytes) -> tuple[bytes, bytes]:
    """The name and the op of a NodeDef, if they are its first two fields. The rest is not parsed: a
    graph may have a million nodes, and constants of many megabytes."""
    name = op = b""
    at, end = 0, len(data)
    while at < end and not (name and op):
        if data[at] not in (0x0A, 0x12):
            break
        number, _, _, content, at = field(data, at, end)
        if number == 1:
            name = content
        else:
            op = content
    return name, op


def _node(op: bytes, data: bytes) -> _Node:
    dtype = 0
    shape: tuple[int, ...] | None = None
    for number, wire, _, content in fields(data):
        if number != 5 or wire != BYTES:  # NodeDef.attr, a map
            continue
        key, value = _entry(content)
        if key == b"dtype":
            dtype = next((n for f, w, n, _ in fields(value) if f == 6 and w == VARINT), 0)
        elif key == b"shape":
            given = next((c for f, w, _, c in fields(value) if f == 7 and w == BYTES), None)
            shape = None if given is None else _shape(given)
    return _Node(op, dtype, shape)


def _shape(data: bytes) -> tuple[int, ...] | None:
    """A ``TensorShapeProto``; None if its rank or one of its axes is unknown."""
    axes: list[int] = []
    unknown = False
    for number, wire, value, dim in fields(data):
        if number == 3 and wire == VARINT and value:
            unknown = True
        elif number == 2 and wire == BYTES:
            sizes = [signed(n) for f, w, n, _ in fields(dim) if f == 1 and w == VARINT]
            axes.append(sizes[-1] if sizes else 0)
    return None if unknown or -1 in axes else _checked(axes)


def _checked(axes: Iterable[int]) -> tuple[int, ...]:
    shape = tuple(axes)
    if len(shape) > _MOST_AXES:
        raise Malformed(f"a variable of {len(shape)} axes, where at most {_MOST_AXES} are read")
    if min(shape, default=0) < 0 or math.prod(axis for axis in shape if axis) > _LARGEST_ARRAY:
        raise Malformed(f"a variable of the impossible shape {shape}")
    return shape


def _entry(data: bytes) -> tuple[bytes, bytes]:
    """Key and value of one entry of a map."""
    key = value = b""
    for number, wire, _, content in fields(data):
        if wire == BYTES and number == 1:
            key = content
        elif wire == BYTES and number == 2:
            value = content
    return key, value


def _collection(data: bytes) -> tuple[str, list[_Variable]]:
    """The name of a collection, and its variables if the collection is needed.

    A CollectionDef is a list of serialised VariableDefs. It is a list of names of tensors if the
    program put something else than variables into the collection.
    """
    key, value = _entry(data)
    name = _text(key)
    if name not in (_GLOBAL, *_PARAMETERS):
        return name, []
    variables = []
    for kind, wire, _, items in fields(value):
        if wire != BYTES or kind not in (1, 2):  # node_list, bytes_list
            continue
        for number, inner, _, item in fields(items):
            if number == 1 and inner == BYTES:
                variables.append(_variable(item) if kind == 2 else _Variable(_op_name(item)))
    return name, variables


def _variable(data: bytes) -> _Variable:
    """A ``VariableDef``."""
    name = b""
    whole = None
    for number, wire, _, content in fields(data):
        if wire == BYTES and number == 1:
            name = content
        elif wire == BYTES and number == 4:
            whole = _save_slice_info(content)
    return _Variable(_op_name(name), whole)


def _save_slice_info(data: bytes) -> tuple[str, tuple[int, ...]] | None:
    """A ``SaveSliceInfoDef``: the name and the shape of the complete variable."""
    name = b""
    axes: list[int] = []
    for number, wire, value, content in fields(data):
        if number == 1 and wire == BYTES:
            name = content
        elif number == 2 and wire == VARINT:
            axes.append(signed(value))
        elif number == 2 and wire == BYTES:  # packed
            at = 0
            while at < len(content):
                value, at = varint(content, at, len(content))
                axes.append(signed(value))
    return (_text(name), _checked(axes)) if name else None


def _op_name(tensor: bytes) -> str:
    """``w`` for the tensor ``w:0``."""
    return _text(tensor).removesuffix(":0")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed("a name that is not UTF-8") from None
