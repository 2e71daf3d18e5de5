"""The tensors of a model: initializers, those of ``Constant`` nodes, and those of inner graphs.

Source: ``ModelProto``, ``GraphProto``, ``NodeProto``, ``AttributeProto`` and ``TensorProto`` in
``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from initreg.format_tools.protobuf import BYTES, VARINT, Fault, Field, Wire, signed, varint

from initreg_onnx.types import DATA_FIELDS, STRINGS

_DEEPEST = 50  # graphs in each other. Models have three or so
_MOST_AXES = 64  # numpy's own limit
_NOTES = {2: "producer_name", 3: "producer_version", 4: "domain"}
_LONGEST_NOTE = 1 << 20  # bytes
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(slots=True, eq=False)
class Tensor:
    """A ``TensorProto``.

    Args:
        name: the name of the array.
        is_parameter: whether it is an initializer of the outermost graph.
        shape: its axes.
        type: the number of its dtype.
        raw: where its raw bytes are, None if it has none.
        runs: where its values are, by the field that holds them: the spans of bytes, in order.
        external: what is said of its external data, None if it has none.
        is_segment: whether it holds only a part of the values.
        is_sparse: whether only the values that are not zero are there.
    """

    name: str = ""
    is_parameter: bool = False
    shape: tuple[int, ...] = ()
    type: int = 0
    raw: tuple[int, int] | None = None
    runs: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    external: dict[str, str] | None = None
    is_segment: bool = False
    is_sparse: bool = False


class Model:
    """What a file says.

    Args:
        wire: the file.

    Attributes:
        tensors: its tensors, in the order of the file.
        metadata: its notes, and who made it.
        not_read: what else holds tensors, and is not read.
        kernel_axes: how nodes multiply tensors, by name: ``"out, in"`` or ``"in, out"``.

    Raises:
        Fault: it is not a complete model.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.metadata: dict[str, str] = {}
        self.not_read: tuple[str, ...] = ()
        self._multiplied: dict[str, set[str]] = {}
        graphs: list[Field] = []
        for each in wire.fields(0, wire.size):
            if each.number == 7:
                graphs.append(each)
            elif each.number in _NOTES and each.kind == BYTES:
                self._note(_NOTES[each.number], each)
            elif each.number == 14:
                self._entry(each, self.metadata)
            elif each.number == 20:
                self.not_read = ("training_info",)
        if not graphs:
            raise Fault("has no graph")
        self.tensors = [tensor for graph in graphs for tensor in self._graph(graph, "", 0)]

    @property
    def kernel_axes(self) -> dict[str, str]:
        """What is multiplied in one way alone."""
        own = {tensor.name for tensor in self.tensors}
        return {n: next(iter(k)) for n, k in self._multiplied.items() if len(k) == 1 and n in own}

    def _note(self, key: str, of: Field) -> None:
        if of.end - of.begin <= _LONGEST_NOTE and (text := self._wire.text(of)):
            self.metadata[key] = text

    def _entry(self, of: Field, into: dict[str, str]) -> None:
        """A ``StringStringEntryProto``."""
        parts = {each.number: each for each in self._wire.message(of)}
        if 1 in parts:
            key = self._wire.text(parts[1])
            into[key] = self._wire.text(parts[2]) if 2 in parts else ""

    def _graph(self, of: Field, prefix: str, depth: int) -> Iterator[Tensor]:
        if depth > _DEEPEST:
            raise Fault(f"has graphs in each other, more than {_DEEPEST} levels deep")
        for each in self._wire.message(of):
            if each.number == 5:
                tensor = self._tensor(each)
            elif each.number == 15:
                tensor = self._sparse(each)
            else:
                if each.number == 1:
                    yield from self._node(each, prefix, depth)
                continue
            if not tensor.name:
                raise Fault("has an initializer without a name")
            tensor.is_parameter = not depth
            tensor.name = prefix + tensor.name
            yield tensor

    def _node(self, of: Field, prefix: str, depth: int) -> Iterator[Tensor]:
        inputs: list[Field] = []
        outputs: list[Field] = []
        attributes: list[Field] = []
        operator = domain = own_name = None
        for each in self._wire.message(of):
            if each.number == 1:
                inputs.append(each)
            elif each.number == 2:
                outputs.append(each)
            elif each.number == 3:
                own_name = each
            elif each.number == 4:
                operator = each
            elif each.number == 5:
                attributes.append(each)
            elif each.number == 7:
                domain = each
        self._multiply(operator, inputs, attributes, prefix)
        for attribute in attributes:
            name, parts = None, []
            for each in self._wire.message(attribute):
                if each.number == 1:
                    name = each
                elif each.number in (5, 6, 11, 22):  # t, g, graphs, sparse_tensor
                    parts.append(each)
            if not parts:
                continue
            # The outputs of nodes have names of their own. Nodes may have none, and an output that
            # nothing reads has the name "".
            texts = (self._wire.text(each) for each in (*outputs, own_name) if each is not None)
            kind = "" if operator is None else self._wire.text(operator)
            path = prefix + next(filter(None, texts), kind)
            named = "" if name is None else self._wire.text(name)
            is_own = domain is None or self._wire.text(domain) in ("", "ai.onnx")
            is_constant = is_own and kind == "Constant"
            if is_constant and named in ("value", "sparse_value"):
                if len(parts) > 1 or parts[0].number not in (5, 22):
                    raise Fault(f"has several values in the constant {path!r}")
                is_dense = parts[0].number == 5
                tensor = self._tensor(parts[0]) if is_dense else self._sparse(parts[0])
                tensor.name = path
                yield tensor
                continue
            inner = [each for each in parts if each.number in (6, 11)]
            for index, graph in enumerate(inner):
                number = f"/{index}" if graph.number == 11 else ""
                yield from self._graph(graph, f"{path}/{named}{number}/", depth + 1)

    def _multiply(
        self, operator: Field | None, inputs: list[Field], attributes: list[Field], prefix: str
    ) -> None:
        """Note in which order a node has the axes of its second input. Sources: the operators
        Conv, ConvTranspose, Gemm and MatMul in ``docs/Operators.md`` of ONNX."""
        kind = "" if operator is None else self._wire.text(operator)
        if kind not in _MULTIPLYING or len(inputs) < 2:
            return
        is_turned = kind.startswith("Conv")
        for attribute in attributes if kind == "Gemm" else ():
            parts = {each.number: each for each in self._wire.message(attribute)}
            if 1 in parts and 3 in parts and self._wire.text(parts[1]) == "transB":
                is_turned = bool(parts[3].value)
        name = prefix + self._wire.text(inputs[1])
        self._multiplied.setdefault(name, set()).add("out, in" if is_turned else "in, out")

    def _tensor(self, of: Field) -> Tensor:
        tensor = Tensor()
        dims: list[Field] = []
        is_external = False
        entries: list[Field] = []
        for each in self._wire.message(of):
            if each.number == 1:
                dims.append(each)
            elif each.number == 2 and each.kind == VARINT:
                tensor.type = each.value
            elif each.number == 3:
                tensor.is_segment = True
            elif each.number in DATA_FIELDS:
                if each.number == STRINGS and each.kind != BYTES:
                    raise Fault("has a number instead of a text in a tensor")
                tensor.runs.setdefault(each.number, []).append((each.begin, each.end))
            elif each.number == 8:
                tensor.name = self._wire.text(each)
            elif each.number == 9 and each.kind == BYTES:
                tensor.raw = (each.begin, each.end)
            elif each.number == 13:
                entries.append(each)
            elif each.number == 14:
                is_external = each.value == 1
        tensor.shape = self._dims(dims)
        if is_external:
            tensor.external = {}
            for each in entries:
                self._entry(each, tensor.external)
        return tensor

    def _sparse(self, of: Field) -> Tensor:
        values, dims = Tensor(), []
        for each in self._wire.message(of):
            if each.number == 1:
                values = self._tensor(each)
            elif each.number == 3:
                dims.append(each)
        return Tensor(values.name, shape=self._dims(dims), type=values.type, is_sparse=True)

    def _dims(self, found: list[Field]) -> tuple[int, ...]:
        """Axes, which are packed into one field or are fields of their own."""
        axes: list[int] = []
        for each in found:
            if each.kind == VARINT:
                axes.append(signed(each.value))
            elif each.kind == BYTES:
                if each.end - each.begin > 10 * _MOST_AXES:
                    raise Fault(f"has a tensor of more than {_MOST_AXES} axes")
                data, at = self._wire.read(each.begin, each.end), 0
                while at < len(data):
                    value, at = varint(data, at)
                    axes.append(signed(value))
            if len(axes) > _MOST_AXES:
                raise Fault(f"has a tensor of more than {_MOST_AXES} axes")
        if any(axis < 0 for axis in axes):
            raise Fault(f"has a tensor of shape {tuple(axes)}")
        return tuple(axes)
