"""The dtypes of TensorFlow Lite.

Source: ``TensorType`` in the schema.
"""

from __future__ import annotations

from typing import NamedTuple


class Type(NamedTuple):
    """A dtype: what numpy or ml_dtypes calls it, and how many bits an element has. 0 bits are those
    of texts."""

    name: str
    bits: int


TYPES = {
    0: Type("float32", 32),
    1: Type("float16", 16),
    2: Type("int32", 32),
    3: Type("uint8", 8),
    4: Type("int64", 64),
    5: Type("string", 0),
    6: Type("bool", 8),
    7: Type("int16", 16),
    8: Type("complex64", 64),
    9: Type("int8", 8),
    10: Type("float64", 64),
    11: Type("complex128", 128),
    12: Type("uint64", 64),
    15: Type("uint32", 32),
    16: Type("uint16", 16),
    17: Type("int4", 4),
    18: Type("bfloat16", 16),
    19: Type("int2", 2),
    20: Type("uint4", 4),
}
NOT_NUMBERS = {13: "resource", 14: "variant"}
# What initreg calls integers whose scale is elsewhere. Of the other dtypes it has no such name.
QUANTISED = {each: f"q{each}" for each in ("int8", "uint8", "int16", "uint16", "int32")}
