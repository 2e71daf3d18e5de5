"""The constants of a graph and of its functions, and the variables that are still in it.

Source: ``GraphDef``, ``NodeDef``, ``AttrValue`` and ``FunctionDef`` in TensorFlow's
``core/framework``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from initreg.format_tools.protobuf import BYTES, VARINT, Fault, Field, Wire

from initreg_frozen_graph.claiming import FIELDS
from initreg_frozen_graph.tensors import Tensor, shape_of, tensor_of

_CONSTANT, _IDENTITY = "Const", "Identity"
_VARIABLES = ("VariableV2", "VarHandleOp", "Variable")
_WANTED = (_CONSTANT, _IDENTITY, *_VARIABLES)
_DTYPE, _SHAPE, _TENSOR = 6, 7, 8  # fields of AttrValue


class Constant(NamedTuple):
    """A ``Const`` node."""

    name: str
    tensor: Tensor


class Variable(NamedTuple):
    """A node that makes a variable. Its shape is None if the graph leaves it open."""

    name: str
    type: int
    shape: tuple[int, ...] | None


class Graph:
    """What a file says.

    Args:
        wire: the file.

    Attributes:
        constants: its constants, in the order of the file.
        variables: the variables that were not replaced by constants.
        read_as_variables: the names of constants that are read as variables are: by the node that
            read the variable before the graph was frozen.

    Raises:
        Fault: it is not a complete graph.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.constants: list[Constant] = []
        self.variables: list[Variable] = []
        self.read_as_variables: set[str] = set()
        for each in wire.fields(0, wire.size):
            if FIELDS.get(each.number) != each.kind:
                raise Fault(f"has the field {each.number}, which no graph has")
            if each.number == 1:
                self._node(each, "")
            elif each.number == 2:
                for function in wire.message(each):
                    if function.number == 1:
                        self._function(function)

    def _function(self, of: Field) -> None:
        name, nodes = "", []
        for each in self._wire.message(of):
            if each.number == 1:  # its signature, which begins with its name
                parts = self._wire.message(each)
                name = next((self._wire.text(part) for part in parts if part.number == 1), "")
            elif each.number == 3:
                nodes.append(each)
        for node in nodes:
            self._node(node, f"{name}/")

    def _node(self, of: Field, prefix: str) -> None:
        name = op = source = ""
        attributes: list[Field] = []
        for each in self._wire.message(of):
            if each.number == 1:
                name = self._wire.text(each)
            elif each.number == 2:
                op = self._wire.text(each)
                if op not in _WANTED:  # names come first, so that most nodes end here
                    return
            elif each.number == 3 and not source:
                source = self._wire.text(each)
            elif each.number == 5:
                attributes.append(each)
        if op not in _WANTED:
            return
        if not name:
            raise Fault(f"has a {op} node without a name")
        if op == _IDENTITY:
            # TF1 calls the node that reads it w/read, TF2 .../ReadVariableOp.
            if name == f"{source}/read" or name.endswith("ReadVariableOp"):
                self.read_as_variables.add(prefix + source.removesuffix(":0"))
        elif op == _CONSTANT:
            tensor = next(self._values(attributes, "value", _TENSOR), None)
            if tensor is None:
                raise Fault(f"has a constant without a value, {name!r}")
            self.constants.append(Constant(prefix + name, tensor_of(self._wire, tensor)))
        else:
            kind = next(self._values(attributes, "dtype", _DTYPE), None)
            shape = next(self._values(attributes, "shape", _SHAPE), None)
            self.variables.append(
                Variable(
                    prefix + name,
                    kind.value if kind is not None and kind.kind == VARINT else 0,
                    shape_of(self._wire, shape) if shape is not None else None,
                )
            )

    def _values(self, attributes: list[Field], wanted: str, number: int) -> Iterator[Field]:
        """The fields of an attribute's value that have a number."""
        for attribute in attributes:
            key, value = "", None
            for each in self._wire.message(attribute):
                if each.number == 1:
                    key = self._wire.text(each)
                elif each.number == 2 and each.kind == BYTES:
                    value = each
            if key == wanted and value is not None:
                yield from (each for each in self._wire.message(value) if each.number == number)
