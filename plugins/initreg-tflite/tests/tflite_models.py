"""Models of TensorFlow Lite, made table by table with TensorFlow's own classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import flatbuffers
import ml_dtypes
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

Array = np.ndarray[Any, Any]

NUMBERS = {
    name.lower(): number
    for name, number in vars(schema.TensorType).items()
    if isinstance(number, int)
}
SMALL = {"int4": 4, "uint4": 4, "int2": 2}


def packed(array: Array) -> bytes:
    """The bytes of an array, several elements in a byte if they are small."""
    if array.dtype == object:
        ends = np.cumsum([4 * (array.size + 2), *map(len, array.flat)]).astype("<u4")
        return array.size.to_bytes(4, "little") + ends.tobytes() + b"".join(array.flat)
    bits = SMALL.get(array.dtype.name)
    if bits is None:
        return array.tobytes()
    values = array.astype(np.int8).astype(np.uint8).reshape(-1) & (1 << bits) - 1
    each = 8 // bits
    padded = np.zeros(-(-values.size // each) * each, np.uint8)
    padded[: values.size] = values
    return sum((padded[n::each] << bits * n for n in range(each)), np.uint8(0)).tobytes()


def quantisation(scales: Sequence[float], zeros: Sequence[int] = (), axis: int = 0) -> Any:
    found = schema.QuantizationParametersT()
    found.scale, found.zeroPoint, found.quantizedDimension = [*scales], [*zeros], axis
    return found


def tensor(name: str, array: Array, buffer: int) -> Any:
    """A tensor of a buffer."""
    found = schema.TensorT()
    found.name, found.shape, found.buffer = name, [*array.shape], buffer
    found.type = NUMBERS["string" if array.dtype == object else array.dtype.name]
    return found


def model(
    *subgraphs: Sequence[tuple[str, Array] | tuple[str, Array, dict[str, Any]]],
    names: Sequence[str] = (),
    description: str = "",
) -> Any:
    """A model whose subgraphs have these tensors, each with fields of its own."""
    found = schema.ModelT()
    found.version, found.description = 3, description or None
    found.buffers, found.subgraphs = [schema.BufferT()], []
    for number, tensors in enumerate(subgraphs):
        subgraph = schema.SubGraphT()
        subgraph.name = names[number] if number < len(names) else None
        subgraph.tensors = [tensor("activation", np.zeros((1, 2), "f4"), 0)]
        for name, array, *more in tensors:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(packed(array), np.uint8)
            found.buffers.append(buffer)
            made = tensor(name, array, len(found.buffers) - 1)
            for key, value in (more[0] if more else {}).items():
                setattr(made, key, value)
            subgraph.tensors.append(made)
        found.subgraphs.append(subgraph)
    return found


def data_of(found: Any) -> bytes:
    """The file of a model."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def every() -> dict[str, Array]:
    """An array of each dtype, and those of unusual shapes and names."""
    found: dict[str, Array] = {}
    kinds = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16")
    for name in (*kinds, "uint32", "uint64", "bool", "complex64", "complex128"):
        values = np.array([[1, 0, 1], [0, 1, 1]]).astype(name)
        if values.dtype.kind in "iu":
            values[0, :2] = np.iinfo(name).max, np.iinfo(name).min
        found[name] = -values if values.dtype.kind in "fc" else values
    found["bfloat16"] = np.array([[1.5, -2]]).astype(ml_dtypes.bfloat16)
    for name in SMALL:
        kind = np.dtype(getattr(ml_dtypes, name))
        low, high = int(ml_dtypes.iinfo(kind).min), int(ml_dtypes.iinfo(kind).max)
        found[name] = np.array([[low, high, 0], [1, high, low]]).astype(kind)[:, :3]
    texts = np.empty((2, 2), object)
    texts[:] = [[b"a", "größe".encode()], [b"", b"bc"]]
    found["texts"] = texts
    found["größe;übung"] = np.full((1, 1), -1.5, "f4")
    found["scalar"] = np.array(2.5, "f4")
    return found
