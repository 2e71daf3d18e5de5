"""dtypes as plain names, so that claiming, listing and matching need no numpy.

A name is the one that numpy or ml_dtypes uses, without a byte order: ``"float32"``,
``"bfloat16"``, ``"float8_e4m3fn"``, ``"bool"``. Bytes and text of any width are ``"string"``.
Anything else (objects, structured dtypes, dates, raw bytes) keeps numpy's spelling and matches only
itself. Raw bytes are ``"|V2"``.

``"qint8"`` and its siblings are TensorFlow's quantised integers. Their values are integers of numpy
with a scale, which is saved elsewhere, if at all. They match only themselves, too.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

STRING = "string"

# TensorFlow's quantised integers, with the integers that numpy has for them.
QUANTISED = {
    "qint8": "int8",
    "quint8": "uint8",
    "qint16": "int16",
    "quint16": "uint16",
    "qint32": "int32",
}

_FLOAT = re.compile(r"b?float\d+(_\w+)?")
_INTEGER = re.compile(r"(u?)int(\d+)")
_COMPLEX = re.compile(r"b?complex\d+")

_structured: dict[str, np.dtype[Any]] = {}  # by the names that name_of gave them
_plain: dict[str, str] = {}  # the names of numpy's own dtypes, by their characters

# numpy's one-letter kinds and item sizes, as in the '<f4' of an .npy header.
_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


class OpaqueDtype(NamedTuple):
    """A dtype that numpy does not have, by its name. It equals only itself, so it fits no
    variable."""

    name: str
    kind: str = "V"

    def __str__(self) -> str:
        return self.name


def name_of(dtype: Any) -> str:
    """The name of a dtype.

    Args:
        dtype: a numpy dtype, or anything with its ``.name`` and ``.kind``.

    >>> name_of(np.dtype(">f4"))  # doctest: +SKIP
    'float32'
    """
    kind = getattr(dtype, "kind", "?")
    is_plain = kind in "biufc" and getattr(dtype, "isbuiltin", 0) == 1  # one of numpy's own
    if is_plain and (known := _plain.get(dtype.char)) is not None:
        return known  # numpy computes the name each time, for each of 100,000 arrays
    name: str = getattr(dtype, "name", None) or str(dtype)
    if is_plain:
        _plain[dtype.char] = name
        return name
    if kind in "SUT" or name == STRING:
        return STRING
    if name.startswith("void"):  # numpy calls raw bytes and structured dtypes so, by their bits
        name = str(dtype)
        if getattr(dtype, "names", None):
            _structured[name] = dtype
    return name


@functools.lru_cache(256)
def name_of_descr(descr: str) -> str | None:
    """The name of a dtype that is given as a type string.

    Source: numpy's array interface, ``typestr``.

    Returns:
        The name, or None if the string is not a known type string.

    >>> name_of_descr("<f4")
    'float32'
    """
    date = re.fullmatch(r"[<>=]([Mm])8(\[\w+\])?", descr)
    if date is not None:
        return f"{'datetime64' if date[1] == 'M' else 'timedelta64'}{date[2] or ''}"
    match = re.fullmatch(r"([<>|=])([a-zA-Z])(\d{0,9})", descr)
    if match is None:
        return None
    order, kind, size = match.groups()
    # numpy.save writes the dtypes of ml_dtypes so. Only float8_e5m2 has a type string of its own.
    if kind in "VW" and order != ">" and size:
        return f"|V{int(size)}"
    if kind == "f" and size == "1":
        return "float8_e5m2"
    if kind == "b":
        return "bool" if size == "1" else None
    if kind in "SUa":
        return STRING
    if kind == "O":
        return "object"
    if kind in _KINDS and size:
        return f"{_KINDS[kind]}{8 * int(size)}"
    return None


def is_float(name: str) -> bool:
    """Whether this is a real floating-point dtype. bfloat16 and the float8 family are."""
    return _FLOAT.fullmatch(name) is not None


def is_complex(name: str) -> bool:
    """Whether this is a dtype of complex numbers."""
    return _COMPLEX.fullmatch(name) is not None


def is_number(name: str) -> bool:
    """Whether values of this dtype can be cast to other numbers. Those of bool can, and quantised
    integers cannot, because their scale is not known."""
    return name == "bool" or any(p.fullmatch(name) for p in (_FLOAT, _INTEGER, _COMPLEX))


def is_raw(name: str) -> bool:
    """Whether these are raw bytes: elements of a fixed size, of which nothing else is known."""
    return re.fullmatch(r"\|V\d+", name) is not None


def bits_in_a_byte(name: str) -> int:
    """How many bits of each byte are used: 4 for int4, and 8 for all but such small dtypes."""
    match = re.fullmatch(r"(?:float|u?int)(\d+)(?:_\w+)?", name)
    return 8 if match is None else min(8, int(match[1]))


def integer_bits(name: str) -> tuple[bool, int] | None:
    """``(signed, bits)`` for an integer dtype, and None for any other dtype.

    >>> integer_bits("uint8")
    (False, 8)
    """
    match = _INTEGER.fullmatch(name)
    return None if match is None else (not match[1], int(match[2]))


def can_cast(source: str, target: str) -> bool:
    """Whether initreg casts without being asked: float to float, and integer to a wider integer.

    An integer dtype is wider if it has every value of the other one: int32 to int64 and uint8 to
    int16, but not int64 to int32, and not int32 to uint32.

    >>> can_cast("float32", "bfloat16"), can_cast("int32", "uint32")
    (True, False)
    """
    if source == target:
        return True
    if is_float(source) and is_float(target):
        return True
    a, b = integer_bits(source), integer_bits(target)
    if a is None or b is None:
        return False
    (source_signed, source_bits), (target_signed, target_bits) = a, b
    if source_signed == target_signed:
        return source_bits <= target_bits
    return target_signed and source_bits < target_bits


def is_quantised_as(one: str, other: str) -> bool:
    """Whether one is a dtype of quantised integers, and the other one that of the same integers."""
    return QUANTISED.get(one) == other or QUANTISED.get(other) == one


def note_on_cast(source: str, target: str) -> str:
    """Why one dtype is not cast to another, if the dtypes alone do not show it, else ""."""
    for dtype in (target, source):
        if dtype in QUANTISED and target != source:
            return f", because {dtype} has a scale, which is saved elsewhere"
    if is_raw(source):
        return (
            ", because it is raw bytes, as which numpy saves bfloat16 and float8 (the rule 'view' "
            "says which they are)"
        )
    return ""


# The dtypes whose sizes are known without numpy.
_ITEMSIZES = {
    "bool": 1,
    "bfloat16": 2,
    **{f"{kind}int{bits}": bits // 8 for kind in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": bits // 8 for bits in (16, 32, 64)},
    **{f"complex{bits}": bits // 8 for bits in (64, 128)},
}


def stored_itemsize(dtype: str) -> int:
    """The size of one element in a file, in bytes.

    Args:
        dtype: a name, or a type string such as ``">f4"``.

    Raises:
        TypeError: there is no such dtype, or its elements are Python objects.
    """
    size = _ITEMSIZES.get(name_of_descr(dtype) or dtype)
    if size is not None:
        return size
    found = to_numpy(dtype)
    if found.hasobject:
        raise TypeError(f"an extent cannot hold {dtype!r}")
    return int(found.itemsize)


def is_native(dtype: np.dtype[Any]) -> bool:
    """Whether all bytes of a numpy dtype are in native order. numpy's ``isnative`` does not look
    into the fields of a structured dtype that have a shape."""
    return dtype.isnative if dtype.names is None else bool(dtype == dtype.newbyteorder("="))


@functools.cache
def to_numpy(name: str) -> np.dtype[Any]:
    """The numpy dtype for a name or a type string. For quantised integers it is that of the plain
    ones.

    Raises:
        TypeError: neither numpy nor ml_dtypes has such a dtype.
    """
    import numpy as np

    if name == STRING:
        return np.dtype(object)
    if name in _structured:
        return _structured[name]
    try:
        return np.dtype(QUANTISED.get(name, name))
    except TypeError:
        import ml_dtypes

        plain = name_of_descr(name)
        if plain is not None and plain != name and (is_raw(plain) or plain == "float8_e5m2"):
            return to_numpy(plain)
        kind = getattr(ml_dtypes, name, None)
        if kind is None:
            raise TypeError(
                f"{name!r} is not a dtype of numpy or of ml_dtypes {ml_dtypes.__version__}. A "
                "newer ml_dtypes may have it: pip install --upgrade ml-dtypes"
            ) from None
        found: np.dtype[Any] = np.dtype(kind)
        return found


def itemsize(name: str) -> int | None:
    """The size of one element in memory, in bytes.

    Returns:
        The size, or None for strings and for names that numpy does not know.
    """
    if name == STRING:
        return None
    known = _ITEMSIZES.get(name)
    if known is not None:
        return known
    match = re.fullmatch(r"(?:b?float|q?u?int|b?complex)(\d+)(?:_\w+)?", name)
    if match is not None:
        return max(int(match[1]), 8) // 8
    try:
        return int(to_numpy(name).itemsize)
    except (TypeError, ValueError):  # ValueError: words that numpy takes for a list of dtypes
        return None
