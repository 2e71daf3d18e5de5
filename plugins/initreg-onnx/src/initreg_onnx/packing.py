"""Values that are not stored as numpy has them: varints, and several elements in a byte.

Source: the comments on ``int32_data`` and ``raw_data`` in ``onnx/onnx.proto``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from initreg.dtypes import to_numpy
from initreg.format_tools.protobuf import varints

from initreg_onnx.types import DOUBLES, FLOATS, INT64S, UINT64S, Type

Array = np.ndarray[Any, Any]


class Unpackable(ValueError):
    """What is wrong with the bytes, as the rest of a sentence about the array."""


def unpacked(kind: Type, data: bytes, count: int) -> Array:
    """The elements of a dtype of fewer than 8 bits, from their packed bytes.

    The first element is in the lowest bits.

    Args:
        kind: the dtype.
        data: the bytes: one for 2 elements of 4 bits or 4 of 2 bits, 3 for 4 elements of 6 bits.
        count: how many elements there are. What fills the last byte is ignored.

    Raises:
        Unpackable: there are too few bytes.
    """
    packed = np.frombuffer(data, np.uint8)
    if packed.size != -(-count * kind.bits // 8):
        raise Unpackable(f"has {packed.size:,} bytes for {count:,} elements of {kind.bits} bits")
    if kind.bits == 6:
        padded = np.zeros(-(-packed.size // 3) * 3, np.uint32)
        padded[: packed.size] = packed
        wide: Array = padded[0::3] | padded[1::3] << 8 | padded[2::3] << 16
        each = 4
    else:
        wide, each = packed, 8 // kind.bits
    mask = (1 << kind.bits) - 1
    bits = np.stack([wide >> kind.bits * at & mask for at in range(each)], axis=-1)
    return _of_bits(kind, bits.reshape(-1)[:count].astype(np.uint8))


def typed(kind: Type, data: bytes, count: int) -> Array:
    """The elements of a typed field.

    Args:
        kind: the dtype, which says which field it is.
        data: the contents of the field, in a row.
        count: how many elements there are.

    Raises:
        Unpackable: there are fewer values, or more.
        Fault: they are not numbers.
    """
    if kind.field in (FLOATS, DOUBLES):
        found = np.frombuffer(data, "<f4" if kind.field == FLOATS else "<f8")
        found = found.astype(found.dtype.newbyteorder("=")).view(to_numpy(kind.name))
        return _counted(found, count)
    values = varints(data)
    if kind.field == INT64S:
        return _counted(values.view(np.int64), count)
    if kind.field == UINT64S:
        return _counted(values.astype(to_numpy(kind.name)), count)
    if kind.bits == 6:
        return _counted(_of_bits(kind, values.astype(np.uint8) & 0x3F), count)
    if kind.bits < 8:
        return unpacked(kind, values.astype(np.uint8).tobytes(), count)
    if kind.name == "bool":
        return _counted(values != 0, count)
    # The bits of a float16, say, as an unsigned integer.
    bits = values.astype(f"u{kind.bits // 8}")
    return _counted(bits.view(to_numpy(kind.name)), count)


def _of_bits(kind: Type, bits: Array) -> Array:
    """Elements of a small dtype from their bits, which are the lowest of each byte."""
    if kind.name.startswith("int"):
        sign = 1 << (kind.bits - 1)
        signed = (bits ^ sign).astype(np.int8) - np.int8(sign)
        return signed.astype(to_numpy(kind.name))
    if kind.name.startswith("uint"):
        return bits.astype(to_numpy(kind.name))
    return bits.view(to_numpy(kind.name))


def _counted(found: Array, count: int) -> Array:
    if found.size != count:
        raise Unpackable(f"has {found.size:,} values, but its shape takes {count:,}")
    return found
