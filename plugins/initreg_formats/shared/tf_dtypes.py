"""TensorFlow's numbered dtypes, which checkpoints and metagraphs share.

Source: TensorFlow's core/framework/types.proto.
"""

from __future__ import annotations

# DataType -> dtype. Types of less than a byte take one byte for each element, in a checkpoint as in
# memory.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
    33: "float4_e2m1fn",
}
STRING = 7
# Handles to objects, and objects of C++ (a TensorList, the state of an iterator), are not arrays.
NOT_ARRAYS = frozenset((20, 21))
