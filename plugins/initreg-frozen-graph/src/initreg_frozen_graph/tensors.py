"""One ``TensorProto``: its dtype, its shape, and where its values are.

Source: TensorFlow's ``core/framework/types.proto``, ``tensor.proto`` and ``tensor_shape.proto``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from initreg.format_tools.protobuf import BYTES, VARINT, Fault, Field, Wire, signed

FLOATS, DOUBLES, INTS, STRINGS, COMPLEX64S, INT64S, BOOLS = 5, 6, 7, 8, 9, 10, 11
COMPLEX128S, HALVES, UINT32S, UINT64S, FLOAT8S = 12, 13, 16, 17, 18
_FIELDS = frozenset(
    (FLOATS, DOUBLES, INTS, STRINGS, COMPLEX64S, INT64S, BOOLS, COMPLEX128S, HALVES, UINT32S)
) | {UINT64S, FLOAT8S}
_CONTENT = 4
_MOST_AXES = 64  # numpy's own limit. TensorFlow has 254, and no op that takes as many
_MOST_ELEMENTS = 1 << 59


class Type(NamedTuple):
    """A dtype.

    Args:
        name: what initreg calls it.
        field: the field of ``TensorProto`` that holds its values, if they are not in
            ``tensor_content``. 0 if that is not known.
    """

    name: str
    field: int


# By its number. Types of less than a byte take one byte for each element, as in memory.
TYPES = {
    1: Type("float32", FLOATS),
    2: Type("float64", DOUBLES),
    3: Type("int32", INTS),
    4: Type("uint8", INTS),
    5: Type("int16", INTS),
    6: Type("int8", INTS),
    7: Type("string", STRINGS),
    8: Type("complex64", COMPLEX64S),
    9: Type("int64", INT64S),
    10: Type("bool", BOOLS),
    11: Type("qint8", INTS),
    12: Type("quint8", INTS),
    13: Type("qint32", INTS),
    14: Type("bfloat16", HALVES),
    15: Type("qint16", INTS),
    16: Type("quint16", INTS),
    17: Type("uint16", INTS),
    18: Type("complex128", COMPLEX128S),
    19: Type("float16", HALVES),
    22: Type("uint32", UINT32S),
    23: Type("uint64", UINT64S),
    24: Type("float8_e5m2", FLOAT8S),
    25: Type("float8_e4m3fn", FLOAT8S),
    26: Type("float8_e4m3fnuz", FLOAT8S),
    27: Type("float8_e4m3b11fnuz", FLOAT8S),
    28: Type("float8_e5m2fnuz", FLOAT8S),
    29: Type("int4", INTS),
    30: Type("uint4", INTS),
    31: Type("int2", INTS),
    32: Type("uint2", INTS),
    33: Type("float4_e2m1fn", 0),
}
NOT_NUMBERS = {20: "resource", 21: "variant"}


@dataclass(slots=True, eq=False)
class Tensor:
    """A ``TensorProto``, without its values.

    Args:
        type: the number of its dtype.
        shape: its axes.
        content: where its values are as they are in memory, None if they are not there.
        runs: where its values are, by the field that holds them: the spans of bytes, in order.
    """

    type: int = 0
    shape: tuple[int, ...] = ()
    content: tuple[int, int] | None = None
    runs: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


def tensor_of(wire: Wire, of: Field) -> Tensor:
    """The tensor in a field. Raises Fault."""
    tensor = Tensor()
    for each in wire.message(of):
        if each.number == 1 and each.kind == VARINT:
            tensor.type = each.value
        elif each.number == 2:
            shape = shape_of(wire, each)
            if shape is None:
                raise Fault("has a constant of unknown shape")
            tensor.shape = shape
        elif each.number == _CONTENT and each.kind == BYTES:
            tensor.content = (each.begin, each.end) if each.begin < each.end else None
        elif each.number in _FIELDS:
            if each.kind != BYTES and each.number in (STRINGS, FLOAT8S):
                raise Fault("has a number instead of bytes in a constant")
            tensor.runs.setdefault(each.number, []).append((each.begin, each.end))
    return tensor


def shape_of(wire: Wire, of: Field) -> tuple[int, ...] | None:
    """A ``TensorShapeProto``. None if its rank, or the length of an axis, is unknown.

    Raises:
        Fault: no array has such a shape.
    """
    axes: list[int] = []
    is_unknown = False
    for each in wire.message(of):
        if each.number == 3 and each.value:
            is_unknown = True
        elif each.number == 2:
            sizes = [part.value for part in wire.message(each) if part.number == 1]
            axes.append(signed(sizes[-1]) if sizes else 0)
            if len(axes) > _MOST_AXES:
                raise Fault(f"has a tensor of more than {_MOST_AXES} axes")
    if is_unknown or -1 in axes:
        return None
    if min(axes, default=0) < 0 or math.prod(axis for axis in axes if axis) > _MOST_ELEMENTS:
        raise Fault(f"has a tensor of the shape {tuple(axes)}")
    return tuple(axes)
