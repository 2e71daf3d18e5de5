"""The dtypes of ONNX: what numpy calls them, and the field that holds their values.

Source: ``TensorProto.DataType`` in ``onnx/onnx.proto``.
"""

from __future__ import annotations

from typing import NamedTuple

FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S = 4, 5, 6, 7, 10, 11  # fields of TensorProto


class Type(NamedTuple):
    """A dtype.

    Args:
        label: what ONNX calls it.
        name: what numpy or ml_dtypes calls it.
        bits: how many bits an element has.
        field: the field of ``TensorProto`` that holds its values, if they are not raw.
    """

    label: str
    name: str
    bits: int
    field: int


TYPES = {
    1: Type("FLOAT", "float32", 32, FLOATS),
    2: Type("UINT8", "uint8", 8, INT32S),
    3: Type("INT8", "int8", 8, INT32S),
    4: Type("UINT16", "uint16", 16, INT32S),
    5: Type("INT16", "int16", 16, INT32S),
    6: Type("INT32", "int32", 32, INT32S),
    7: Type("INT64", "int64", 64, INT64S),
    8: Type("STRING", "string", 0, STRINGS),
    9: Type("BOOL", "bool", 8, INT32S),
    10: Type("FLOAT16", "float16", 16, INT32S),
    11: Type("DOUBLE", "float64", 64, DOUBLES),
    12: Type("UINT32", "uint32", 32, UINT64S),
    13: Type("UINT64", "uint64", 64, UINT64S),
    14: Type("COMPLEX64", "complex64", 64, FLOATS),
    15: Type("COMPLEX128", "complex128", 128, DOUBLES),
    16: Type("BFLOAT16", "bfloat16", 16, INT32S),
    17: Type("FLOAT8E4M3FN", "float8_e4m3fn", 8, INT32S),
    18: Type("FLOAT8E4M3FNUZ", "float8_e4m3fnuz", 8, INT32S),
    19: Type("FLOAT8E5M2", "float8_e5m2", 8, INT32S),
    20: Type("FLOAT8E5M2FNUZ", "float8_e5m2fnuz", 8, INT32S),
    21: Type("UINT4", "uint4", 4, INT32S),
    22: Type("INT4", "int4", 4, INT32S),
    23: Type("FLOAT4E2M1", "float4_e2m1fn", 4, INT32S),
    24: Type("FLOAT8E8M0", "float8_e8m0fnu", 8, INT32S),
    25: Type("UINT2", "uint2", 2, INT32S),
    26: Type("INT2", "int2", 2, INT32S),
    27: Type("FLOAT6E2M3", "float6_e2m3fn", 6, INT32S),
    28: Type("FLOAT6E3M2", "float6_e3m2fn", 6, INT32S),
}
DATA_FIELDS = (FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S)
