"""Graphs of constants, made with TensorFlow's own classes, and what a session gives for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ml_dtypes
import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]
GraphDef = tf.compat.v1.GraphDef
TensorProto = tf.make_tensor_proto(0).__class__

CONTENT = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    *("float8_e4m3b11fnuz", "int4", "uint4", "int2", "uint2"),
)
QUANTISED = {"qint8": 11, "quint8": 12, "qint32": 13, "qint16": 15, "quint16": 16}
NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "string": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
    "float8_e5m2": 24,
    "float8_e4m3fn": 25,
    "float8_e4m3fnuz": 26,
    "float8_e4m3b11fnuz": 27,
    "float8_e5m2fnuz": 28,
    "int4": 29,
    "uint4": 30,
    "int2": 31,
    "uint2": 32,
    "float4_e2m1fn": 33,
    **QUANTISED,
}


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, None) or name.removeprefix("q"))


def proto(dtype: str, shape: tuple[int, ...], content: bytes = b"", **values: Any) -> Any:
    """A TensorProto with the bytes, or the values of a typed field."""
    found = TensorProto(dtype=NUMBERS[dtype], tensor_content=content)
    found.tensor_shape.SetInParent()
    for axis in shape:
        found.tensor_shape.dim.add(size=axis)
    for key, value in values.items():
        if isinstance(value, bytes):
            setattr(found, key, value)
        else:
            getattr(found, key).extend(value)
    return found


def graph_of(constants: Mapping[str, Any], graph: Any = None) -> Any:
    """A GraphDef of constants."""
    graph = GraphDef() if graph is None else graph
    for name, tensor in constants.items():
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = tensor.dtype
        node.attr["value"].tensor.CopyFrom(tensor)
    return graph


def save(path: Path, graph: Any) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def reference(graph: Any) -> dict[str, Array]:
    """What a session gives for each constant."""
    names = [node.name for node in graph.node if node.op == "Const"]
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=imported) as session:
            values = session.run([f"{name}:0" for name in names])
    found = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
    for name, array in found.items():
        if array.dtype == object:  # a session gives one text as bytes
            found[name] = array
        elif array.dtype.kind == "S":
            found[name] = np.array(array.item(), object)
        elif array.dtype in (ml_dtypes.int4, ml_dtypes.int2):
            # A session leaves the sign in the unused bits of a byte. A cast sets them as ml_dtypes.
            found[name] = array.astype(np.int8).astype(array.dtype)
    return found


def plain(name: str) -> Array:
    values = np.array([[1, 0, 1], [0, 1, 1]])
    if name[0] in "fbc" and name != "bool":
        values = -values
    found = values.astype(dtype_of(name))
    if found.dtype.kind in "iu":
        found[0, 0], found[0, 1] = np.iinfo(found.dtype).max, np.iinfo(found.dtype).min
    return found


def every() -> dict[str, Any]:
    """Constants of each dtype, and those of unusual shapes."""
    found = {name: proto(name, (2, 3), plain(name).tobytes()) for name in CONTENT}
    found["scalar"] = proto("float32", (), np.array(2.5, "<f4").tobytes())
    found["empty"] = proto("float32", (0, 3))
    found["a/b-c.d/w"] = proto("float32", (1, 1), np.array(-1.5, "<f4").tobytes())
    found["texts"] = tf.make_tensor_proto([[b"a", "größe".encode()], [b"", b"a"]])
    found["packed texts"] = proto("string", (2,), b"\x01\x02abc")
    return {name.replace(" ", "_"): each for name, each in found.items()}


TYPED = {
    "floats": proto("float32", (3,), float_val=[1, 2, 3]),
    "fewer": proto("float32", (2, 3), float_val=[1, 2]),
    "none": proto("float32", (3,)),
    "more": proto("float32", (2,), float_val=[1, 2, 3]),
    "one": proto("float64", (4,), double_val=[0.5]),
    "one_text": proto("string", (3,), string_val=[b"a", b"bc"]),
    "no_text": proto("string", (2,)),
    "half": proto("float16", (3,), half_val=[0x3C00, 0x4000]),
    "bfloat16": proto("bfloat16", (3,), half_val=[0x3F80]),
    "int8": proto("int8", (3,), int_val=[1, -2]),
    "uint8": proto("uint8", (3,), int_val=[1, 300]),
    "int16": proto("int16", (3,), int_val=[1, -2]),
    "uint16": proto("uint16", (3,), int_val=[1, 65535]),
    "int32": proto("int32", (3,), int_val=[1, -(2**31)]),
    "int64": proto("int64", (3,), int64_val=[1, -(2**63)]),
    "uint32": proto("uint32", (3,), uint32_val=[1, 2**32 - 1]),
    "uint64": proto("uint64", (3,), uint64_val=[1, 2**64 - 1]),
    "complex64": proto("complex64", (3,), scomplex_val=[1, 2, 3, 4]),
    "odd": proto("complex64", (3,), scomplex_val=[1, 2, 3]),
    "complex128": proto("complex128", (2,), dcomplex_val=[1, 2]),
    "bool": proto("bool", (3,), bool_val=[True, False]),
    "qint8": proto("qint8", (3,), int_val=[1, -2]),
    "quint8": proto("quint8", (3,), int_val=[1, 255]),
    "qint32": proto("qint32", (3,), int_val=[1, -2]),
    "int4": proto("int4", (3,), int_val=[1, -8]),
    "uint4": proto("uint4", (3,), int_val=[1, 15]),
    "int2": proto("int2", (3,), int_val=[1, -2]),
    "float8": proto("float8_e5m2", (3,), float8_val=b"\x3c\x40"),
    "both": proto("float32", (1,), np.array(1, "<f4").tobytes(), float_val=[7]),
    "empty": proto("float32", (0, 3), float_val=[1]),
}
