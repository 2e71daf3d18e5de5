"""Datatypes, and the dtypes that they are in numpy.

Source: HDF5 File Format Specification 3.0, "Datatype Message". What h5py takes for bool and complex
numbers: ``h5py/h5t.pyx``.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from initreg_formats.h5.hdf5.content import Bad, Unknown, number

if TYPE_CHECKING:
    import numpy as np

INTEGER, FLOAT, TIME, STRING, BITS, OPAQUE, COMPOUND, REFERENCE, ENUM, SEQUENCE, ARRAY = range(11)
_NAMES = {
    TIME: "times, for which numpy has no dtype",
    REFERENCE: "references",
    SEQUENCE: "arrays of differing lengths",
}
_DEEPEST = 32  # levels
_SIMPLE = 64  # bytes of the message of a type that is not a structure
_NEWEST = 5  # version; 4 differs from 3 in references only, and 5 adds a class for complex numbers
_MOST_FIELDS = 4096  # of all structures in a type
_DATE = re.compile(rb"NUMPY:([<>][Mm]8(\[[0-9A-Za-z]+\])?)")
# Floats by size in bytes, precision, sign, exponent (place, bits), mantissa (place, bits), bias.
_FLOATS: dict[tuple[int, ...], str] = {
    (2, 16, 15, 10, 5, 0, 10, 15): "f2",
    (4, 32, 31, 23, 8, 0, 23, 127): "f4",
    (8, 64, 63, 52, 11, 0, 52, 1023): "f8",
    (2, 16, 15, 7, 8, 0, 7, 127): "bfloat16",
    (1, 8, 7, 2, 5, 0, 2, 15): "float8_e5m2",
}
_LONG_DOUBLE = (16, 80, 79, 64, 15, 0, 64, 16383)  # of x86, whose mantissa has no hidden bit


class TooDeep(Bad):
    """A type with more levels than are read."""


class Type(NamedTuple):
    """A datatype.

    Args:
        kind: its class.
        size: the size of an element in bytes.
        dtype: numpy's type string, or a name of ml_dtypes; ``""`` if there is none.
        why: what its elements are, if they are not read; else ``""``.
        shape: the shape of an array.
        base: the type of the elements of an array, or of a sequence.
        fields: name, offset and type of each part of a structure.
        is_text: whether it is a string.
        padding: of a string of fixed length: 0 ends with NUL, 1 is filled with NUL, 2 with spaces.
    """

    kind: int
    size: int
    dtype: str = ""
    why: str = ""
    shape: tuple[int, ...] = ()
    base: Type | None = None
    fields: tuple[tuple[str, int, Type], ...] = ()
    is_text: bool = False
    padding: int = 1

    def in_numpy(self) -> np.dtype[Any]:
        """The dtype in numpy. Raises Unknown if a part of it has none, Bad if parts overlap."""
        import numpy as np

        if self.why:
            raise Unknown(self.why)
        if self.base is not None:
            return np.dtype((self.base.in_numpy(), self.shape))
        if not self.fields or self.dtype:
            from initreg.dtypes import to_numpy

            return to_numpy(self.dtype)
        names, offsets, types = zip(*self.fields, strict=True)
        end = 0
        for offset, size in sorted((at, kind.size) for _, at, kind in self.fields):
            if offset < end or offset + size > self.size:
                raise Bad("its elements have parts that overlap")
            end = offset + size
        if len(set(names)) != len(names) or "" in names:
            raise Unknown("structures with parts that share a name")
        formats = [kind.in_numpy() for kind in types]
        return np.dtype(
            {"names": list(names), "formats": formats, "offsets": list(offsets),
             "itemsize": self.size}
        )  # fmt: skip


def datatype(data: bytes) -> Type:
    """A datatype message."""
    return _simple(data) if len(data) <= _SIMPLE else _Parser(data).type(0)


@functools.lru_cache(64)  # almost all datasets of a file have the same type
def _simple(data: bytes) -> Type:
    return _Parser(data).type(0)


class _Parser:
    """Reads the types in a message, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._fields = 0

    def _number(self, size: int) -> int:
        self._at += size
        return number(self._data, self._at - size, size)

    def type(self, depth: int) -> Type:
        if depth > _DEEPEST:
            raise TooDeep(f"has elements that nest more than {_DEEPEST} levels deep")
        head, bits, size = self._number(1), self._number(3), self._number(4)
        version, kind = head >> 4, head & 15
        if not 1 <= version <= _NEWEST or kind > ARRAY:
            raise Unknown(f"a datatype of version {version} and class {kind}")
        if size == 0:
            raise Bad("its elements have no bytes")
        if kind in (INTEGER, BITS):
            return self._integer(kind, bits, size)
        if kind == FLOAT:
            return self._float(bits, size)
        if kind == STRING:
            text = bits & 15
            return Type(kind, size, f"|S{size}", is_text=True, padding=text)
        if kind == OPAQUE:
            tag = self._data[self._at : self._at + (bits & 255)]
            self._at += (bits & 255) + 7 & ~7
            date = _DATE.fullmatch(tag.rstrip(b"\0")) if size == 8 else None
            return Type(kind, size, date[1].decode() if date else f"|V{size}")
        if kind == COMPOUND:
            return self._compound(version, bits, size, depth)
        if kind == ENUM:
            return self._enum(version, bits, size, depth)
        if kind == SEQUENCE:
            base = self.type(depth + 1)
            is_text = bits & 15 == 1
            why = "strings of variable length" if is_text else _NAMES[kind]
            return Type(kind, size, why=why, base=base, is_text=is_text)
        if kind == ARRAY:
            return self._array(version, size, depth)
        self._at += 2 if kind == TIME else 0
        return Type(kind, size, why=_NAMES[kind])

    def _integer(self, kind: int, bits: int, size: int) -> Type:
        first, precision = self._number(2), self._number(2)
        sign = "i" if bits & 8 and kind == INTEGER else "u"
        if (first, precision) != (0, 8 * size) or size not in (1, 2, 4, 8):
            return Type(kind, size, why=f"integers of {precision} bits in {size} bytes")
        return Type(kind, size, f"{_order(bits, size)}{sign}{size}")

    def _float(self, bits: int, size: int) -> Type:
        first, precision = self._number(2), self._number(2)
        fields = tuple(self._number(1) for _ in range(4))
        found = (size, precision, bits >> 8 & 255, *fields, self._number(4))
        hidden, order = bits >> 4 & 3, _order(bits, size)
        dtype = _FLOATS.get(found, "") if (hidden, first) == (2, 0) else ""
        if bits & 0x4E or (bits & 1 and not dtype.startswith("f")):  # VAX's order, odd padding
            dtype = ""
        if not dtype and (found, hidden, order) == (_LONG_DOUBLE, 0, "<") and _has_long_double():
            return Type(FLOAT, size, "<f16")
        if not dtype:
            return Type(FLOAT, size, why=f"floats of {precision} bits that numpy does not have")
        return Type(FLOAT, size, dtype if dtype[1].isalpha() else order + dtype)

    def _compound(self, version: int, bits: int, size: int, depth: int) -> Type:
        fields = []
        width = (size.bit_length() + 7) // 8
        self._fields += bits & 0xFFFF
        if self._fields > _MOST_FIELDS:
            raise Bad(f"has elements with more than {_MOST_FIELDS:,} parts")
        for _ in range(bits & 0xFFFF):
            name = self._name(version)
            offset = self._number(4 if version < 3 else width)
            shape: tuple[int, ...] = ()
            if version == 1:
                axes = self._number(1)
                self._at += 11
                lengths = [self._number(4) for _ in range(4)]
                shape = tuple(lengths[: min(axes, 4)])
            kind = self.type(depth + 1)
            if shape:
                kind = _repeated(kind, shape)
            fields.append((name, offset, kind))
        if not fields:
            raise Bad("its elements are structures without parts")
        why = next((f"structures with {kind.why}" for _, _, kind in fields if kind.why), "")
        dtype = ""
        if [name for name, _, _ in fields] == ["r", "i"]:  # as h5py writes complex numbers
            (_, first, real), (_, second, imaginary) = fields
            if (
                real.kind == FLOAT
                and real.dtype == imaginary.dtype
                and real.dtype[1:] in ("f4", "f8")
                and (first, second, size) == (0, real.size, 2 * real.size)
            ):
                dtype = f"{real.dtype[0]}c{size}"
        return Type(COMPOUND, size, dtype, why, fields=tuple(fields))

    def _enum(self, version: int, bits: int, size: int, depth: int) -> Type:
        base = self.type(depth + 1)
        count = bits & 0xFFFF
        names = [self._name(version) for _ in range(count)]
        values = self._data[self._at : self._at + count * base.size]
        self._at += count * base.size
        if base.kind != INTEGER or base.size != size or len(values) < count * size:
            raise Bad("its elements are an enumeration of what is not an integer")
        if dict(zip(names, values, strict=False)) == {"FALSE": 0, "TRUE": 1} and size == 1:
            return Type(ENUM, size, "|b1")
        return Type(ENUM, size, base.dtype, base.why)

    def _array(self, version: int, size: int, depth: int) -> Type:
        axes = self._number(1)
        self._at += 3 if version < 3 else 0
        shape = tuple(self._number(4) for _ in range(axes))
        self._at += 4 * axes if version < 3 else 0
        found = _repeated(self.type(depth + 1), shape)
        if found.size != size:
            raise Bad(f"its elements are arrays of {size:,} bytes, but have {found.size:,}")
        return found

    def _name(self, version: int) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise Bad("a name in its datatype has no end")
        found = self._data[self._at : end].decode("utf-8", "backslashreplace")
        length = end + 1 - self._at
        self._at += (length + 7) // 8 * 8 if version < 3 else length
        return found


def _repeated(kind: Type, shape: tuple[int, ...]) -> Type:
    size = kind.size
    for axis in shape:
        size *= axis
    if not 0 < size < 1 << 32:
        raise Bad(f"its elements are arrays of the shape {shape}")
    return Type(ARRAY, size, why=kind.why, shape=shape, base=kind)


def _order(bits: int, size: int) -> str:
    return "|" if size == 1 else "<>"[bits & 1]


def _has_long_double() -> bool:
    """Whether numpy's long double is that of x86."""
    import numpy as np

    info = np.finfo(np.longdouble)
    return sys.byteorder == "little" and (info.nmant, info.bits) == (63, 128)
