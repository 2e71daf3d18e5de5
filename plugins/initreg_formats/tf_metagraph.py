"""TF1 metagraphs: the ``.meta`` that TensorFlow and tensorpack write beside their checkpoints.

It describes a graph: its global variables by name, shape and dtype, and which of them are the
model's own. It holds no values. It is read as protocol buffers: no graph is imported, so ops that
are not installed do not matter, and no TensorFlow is needed.

Source: TensorFlow's core/protobuf/meta_graph.proto, core/framework/graph.proto, node_def.proto,
attr_value.proto and variable.proto; which variables are meant, tensorpack's dump-model-params.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from initreg import Claim, Confidence, DamagedFile, InitregError, OpenOptions, Source, hookimpl
from initreg_formats.tf_checkpoint.entry import DTYPES, NO_ARRAYS
from initreg_formats.tf_checkpoint.proto import BYTES, VARINT, Malformed, field, fields, signed
from initreg_formats.tf_checkpoint.proto import varint as read_varint

_SUFFIX = ".meta"
_LARGEST = (1 << 31) - 1  # bytes; no message of protocol buffers is larger
_MOST_AXES = 32  # what every numpy can hold
_LARGEST_ARRAY = 1 << 59  # elements

# Fields of a MetaGraphDef: each is a message.
_INFO, _GRAPH, _COLLECTION = 1, 2, 4
_FIELDS = range(1, 8)
# Fields of its MetaInfoDef: number -> wire type.
_INFO_FIELDS = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: VARINT, 8: BYTES}

_VARIABLE_OPS = frozenset((b"VariableV2", b"VarHandleOp", b"Variable"))
_GLOBAL = "variables"
_PARAMETERS = ("trainable_variables", "model_variables")


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if not source.is_file or source.suffix != _SUFFIX or not _begins_like_one(source):
        return None
    # No more than CONTENT: beside a checkpoint of its name it is one of that checkpoint's files.
    return Claim(Confidence.CONTENT, "begins like a serialised MetaGraphDef")


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if not source.is_file:
        raise DamagedFile(f"{source.label}: a metagraph is a single file")
    if source.size > _LARGEST:
        raise DamagedFile(f"{source.label}: {source.size:,} bytes are too many for a metagraph")
    if not _begins_like_one(source):
        text = source.head.lstrip().startswith((b"meta_info_def", b"graph_def"))
        raise DamagedFile(
            f"{source.label}: is no MetaGraphDef"
            + (": it is one in text form; export it again without as_text" if text else "")
        )
    try:
        return _described(source.label, source.read(0, _LARGEST))
    except Malformed as error:
        raise DamagedFile(
            f"{source.label}: is damaged or truncated: it has {error}. Copy it again"
        ) from error


class MetaGraph(dict[str, Any]):
    """The variables by name. ``parameters`` are the names of those that are the model's own:
    TRAINABLE or MODEL variables; None if the file has no such collection."""

    parameters: tuple[str, ...] | None = None


class Described:
    """A variable that is described and has no value here: reading it raises InitregError."""

    __slots__ = ("dtype", "message", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: str, message: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self.message = message

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InitregError(self.message)


class _Variable(NamedTuple):
    """A ``VariableDef``. ``whole``: of a part, the name and shape of the whole variable."""

    name: str
    whole: tuple[str, tuple[int, ...]] | None = None

    @property
    def shown(self) -> str:
        """The name in a checkpoint: tf.compat.v1.train.Saver saves the parts as one."""
        return self.name if self.whole is None else self.whole[0]


class _Node(NamedTuple):
    """``dtype``: a DataType, 0 if the node has none. ``shape``: None if the graph leaves it open,
    wholly or on some axis."""

    op: bytes
    dtype: int
    shape: tuple[int, ...] | None


# --- recognising one ----------------------------------------------------------------------------


def _begins_like_one(source: Source) -> bool:
    """Whether the file's first bytes are fields of a MetaGraphDef.

    The first field is nearly always the MetaInfoDef, with the ops or the version of TensorFlow;
    its own fields are looked at, since two bytes alone prove little.
    """
    head = source.head
    try:
        tag, at = read_varint(head, 0, len(head))
        size, at = read_varint(head, at, len(head))
    except (Malformed, IndexError):
        return False
    if tag & 7 != BYTES or tag >> 3 not in (_INFO, _GRAPH) or size == 0:
        return False
    end = at + size
    expected = _INFO_FIELDS if tag >> 3 == _INFO else {1: BYTES}
    seen = 0
    while at < min(end, len(head)):
        try:
            inner, after = read_varint(head, at, len(head))
            if expected.get(inner >> 3) != inner & 7:
                return False
            value, after = read_varint(head, after, len(head))
        except (Malformed, IndexError):
            return seen > 0
        at = after + value if inner & 7 == BYTES else after
        seen += 1
        if at > end:
            return False
        if tag >> 3 == _GRAPH:
            break  # a node; there may be thousands
    if at < len(head) and at == end:
        return head[at] & 7 == BYTES and head[at] >> 3 in _FIELDS
    return seen > 0


# --- reading one --------------------------------------------------------------------------------


def _described(label: str, data: bytes) -> MetaGraph:
    """Raises Malformed, and DamagedFile for what contradicts itself."""
    graphs: list[bytes] = []
    collections: dict[str, list[_Variable]] = {}
    for number, wire, _, content in fields(data):
        if number not in _FIELDS or wire != BYTES:
            raise Malformed(f"a field {number}, which no MetaGraphDef has")
        if number == _GRAPH:
            graphs.append(content)
        elif number == _COLLECTION:
            name, variables = _collection(content)
            collections[name] = variables
    if not graphs:
        raise Malformed("no graph")
    wanted = collections.get(_GLOBAL)
    names = None if wanted is None else {variable.name.encode() for variable in wanted}
    nodes = dict(_nodes(graphs, names))
    if wanted is None:  # exported without its collections: all that the graph itself shows
        wanted = [_Variable(name) for name in nodes]
    found = MetaGraph()
    for variable in wanted:
        _add(found, variable, nodes.get(variable.name), label)
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


def _add(found: MetaGraph, variable: _Variable, node: _Node | None, label: str) -> None:
    name = variable.shown
    if node is None:
        raise DamagedFile(
            f"{label}: variable {variable.name!r} is in its collections, but not in its graph"
        )
    if node.dtype in NO_ARRAYS:
        return
    if node.dtype not in DTYPES:
        what = f"dtype number {node.dtype}, which is unknown" if node.dtype else "no dtype"
        raise DamagedFile(f"{label}: variable {name!r} has {what}")
    shape = node.shape if variable.whole is None else variable.whole[1]
    if shape is None:
        return  # it takes any array; there is nothing to say of it
    dtype = DTYPES[node.dtype]
    if name in found:
        # The other parts of a partitioned variable; the same variable collected twice.
        if (found[name].shape, found[name].dtype) != (shape, dtype):
            raise DamagedFile(f"{label}: variable {name!r} is there with two shapes or dtypes")
        return
    found[name] = Described(
        shape,
        dtype,
        f"{label}: a metagraph holds no values, so {name!r} cannot be read: open the checkpoint "
        "beside it",
    )


def _nodes(graphs: Iterable[bytes], names: set[bytes] | None) -> Iterator[tuple[str, _Node]]:
    """The nodes of these names, whatever their ops; without names, those of variables' ops."""
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
    """The first two fields of a NodeDef, as far as they are there; the rest is not parsed, for a
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
    """A ``TensorShapeProto``; None if its rank or an axis of it is unknown."""
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
        raise Malformed(f"a variable of {len(shape)} axes; {_MOST_AXES} are the most that is read")
    if min(shape, default=0) < 0 or math.prod(axis for axis in shape if axis) > _LARGEST_ARRAY:
        raise Malformed(f"a variable of shape {shape}")
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
    """The name of a collection, and its variables if it is one of those that are needed.

    A CollectionDef is a list of serialised VariableDefs; of names of tensors where whoever filled
    the collection put something else into it.
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
    """A ``SaveSliceInfoDef``: the name and the shape of the whole variable."""
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
                value, at = read_varint(content, at, len(content))
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
