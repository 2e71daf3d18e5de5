"""Values from the typed fields of a ``TensorProto``, with the rule that the last one is repeated.

``Tensor::FromProto`` takes zeros if there is no value, repeats the last one if there are fewer than
elements, and ignores those that are too many. Source: ``FromProtoField`` in
``core/framework/tensor.cc``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from initreg.dtypes import to_numpy
from initreg.format_tools.protobuf import Fault, varint, varints

from initreg_frozen_graph.tensors import (
    BOOLS,
    COMPLEX64S,
    COMPLEX128S,
    DOUBLES,
    FLOAT8S,
    FLOATS,
    HALVES,
    UINT64S,
    Type,
)

Array = np.ndarray[Any, Any]

# Fields of numbers that lie as numpy has them.
FIXED = {FLOATS: "<f4", DOUBLES: "<f8", COMPLEX64S: "<c8", COMPLEX128S: "<c16", FLOAT8S: "u1"}


def typed(kind: Type, data: bytes, count: int) -> Array:
    """The elements of an array from the bytes of the field of its dtype. Raises Fault."""
    dtype = to_numpy(kind.name)
    if kind.field in FIXED:
        stored = np.dtype(FIXED[kind.field])
        found: Array = np.frombuffer(data[: len(data) // stored.itemsize * stored.itemsize], stored)
        values = found.astype(stored.newbyteorder("=")).view(dtype)
    else:
        numbers = varints(data)
        if kind.field == BOOLS:
            values = numbers != 0
        elif kind.field == HALVES:  # the bits, as a number
            values = numbers.astype(np.uint16).view(dtype)
        elif kind.field == UINT64S:
            values = numbers
        else:  # two's complement, of which TensorFlow takes the lowest bits
            values = numbers.view(np.int64).astype(_plain(kind.name)).astype(dtype)
    return repeated(values, count, dtype)


def _plain(name: str) -> Any:
    """A dtype of numpy for the integers of a dtype. numpy wraps these around."""
    small = {"int4": np.int8, "int2": np.int8, "uint4": np.uint8, "uint2": np.uint8}
    return small.get(name) or to_numpy(name)


def repeated(values: Array, count: int, dtype: Any) -> Array:
    """``count`` elements: the values, and the last one again as often as it takes."""
    if values.size >= count:
        return np.array(values[:count], dtype)
    found = np.zeros(count, dtype)
    found[: values.size] = values
    if values.size:
        found[values.size :] = values[-1]
    return found


def texts(runs: list[bytes], count: int) -> Array:
    """An array of bytes, from those that are there, with the same rule."""
    found = np.empty(count, object)
    found[:] = b"" if not runs else runs[-1]
    found[: len(runs)] = runs[:count]
    return found


def packed_texts(data: bytes, count: int) -> Array:
    """An array of bytes from ``tensor_content``: all lengths, then the bytes. Raises Fault.

    Source: ``DecodeStringList`` in ``core/platform/tensor_coding.cc``.
    """
    sizes, at = [], 0
    for _ in range(count):
        size, at = varint(data, at)
        sizes.append(size)
    if at + sum(sizes) != len(data):
        raise Fault("has texts of other lengths than it says")
    found = np.empty(count, object)
    for number, size in enumerate(sizes):
        found[number] = data[at : at + size]
        at += size
    return found
