"""The format's dtypes."""

from __future__ import annotations

# What the format calls a dtype -> its bits, and what numpy and ml_dtypes call it.
DTYPES: dict[str, tuple[int, str | None]] = {
    "BOOL": (8, "bool"),
    "U8": (8, "uint8"),
    "I8": (8, "int8"),
    "F8_E5M2": (8, "float8_e5m2"),
    "F8_E4M3": (8, "float8_e4m3fn"),
    "F8_E8M0": (8, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"),
    "I16": (16, "int16"),
    "U16": (16, "uint16"),
    "F16": (16, "float16"),
    "BF16": (16, "bfloat16"),
    "I32": (32, "int32"),
    "U32": (32, "uint32"),
    "F32": (32, "float32"),
    "C64": (64, "complex64"),
    "F64": (64, "float64"),
    "I64": (64, "int64"),
    "U64": (64, "uint64"),
    # Packed, several elements to a byte. numpy has no such arrays, so they are only copied.
    "F4": (4, None),
    "F6_E2M3": (6, None),
    "F6_E3M2": (6, None),
}
# The other way round, for writing.
NAMES = {ours: theirs for theirs, (_, ours) in DTYPES.items() if ours is not None}
# Those that are copied as they are, without being understood.
OPAQUE = {theirs for theirs, (_, ours) in DTYPES.items() if ours is None}
