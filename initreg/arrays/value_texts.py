"""Values as text that other programs read: JSON and CSV, piece by piece."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.errors import InitregError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BLOCK = 16_384  # values that are turned into text together


def plain_values(values: Array, dtype: str) -> Any:
    """Values as JSON can hold them: nested lists, or one value if there are no axes.

    JSON has neither NaN nor infinities, so that they become the texts ``"nan"``, ``"inf"`` and
    ``"-inf"``, which Python's ``float`` reads. Complex numbers become texts such as ``"1+2j"``.
    Strings that are not UTF-8 become ``{"base64": ...}``.

    Args:
        values: the values.
        dtype: their dtype, a name as in :mod:`initreg.dtypes`.

    Raises:
        InitregError: values of this dtype have no text.
    """
    return json.loads("".join(json_pieces(values, dtype)))


def json_pieces(values: Array, dtype: str) -> Iterator[str]:
    """The text of :func:`plain_values`, in ASCII. Rows have lines of their own.

    Floats have as few digits as it takes to read the same value again.
    """
    spell = _speller(dtype, "JSON", _JSON)
    yield from _json(values, spell, "")


def _json(values: Array, spell: Callable[[Any], str], indent: str) -> Iterator[str]:
    if not values.ndim:
        yield spell(_listed(values.reshape(1))[0])
    elif values.ndim == 1:
        yield "["
        for start in range(0, len(values), _BLOCK):
            texts = map(spell, _listed(values[start : start + _BLOCK]))
            yield (", " if start else "") + ", ".join(texts)
        yield "]"
    else:
        inner = indent + " "
        for number, row in enumerate(values):
            yield f",\n{inner}" if number else "["
            yield from _json(row, spell, inner)
        yield "]" if len(values) else "[]"


def csv_pieces(values: Array, dtype: str, what: str) -> Iterator[str]:
    """Values as lines of CSV: those of one axis below each other, those of two as a table.

    NaN and infinities are ``nan``, ``inf`` and ``-inf``. Floats have as few digits as it takes to
    read the same value again.

    Args:
        values: the values.
        dtype: their dtype, a name as in :mod:`initreg.dtypes`.
        what: what messages call them.

    Raises:
        InitregError: they have more than two axes, or values of this dtype have no text.
    """
    if values.ndim > 2:
        index = ", ".join(["0"] * (values.ndim - 2))
        raise InitregError(
            f"{what} has {values.ndim} axes, and CSV has two. Give an index, as in "
            f"{what.partition('[')[0]}[{index}], or write JSON"
        )
    spell = _speller(dtype, "CSV", _CSV)
    table = values.reshape(-1, 1) if values.ndim < 2 else values
    step = max(_BLOCK // max(table.shape[1], 1), 1)
    for start in range(0, len(table), step):
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        for row in table[start : start + step]:
            rows.writerow(map(spell, _listed(row)))
        yield text.getvalue()


def _listed(values: Array) -> list[Any]:
    """The values of one axis as Python's, or as numpy's where those have another text."""
    dtype = values.dtype
    is_short = (dtype.kind == "f" and dtype.itemsize in (2, 4)) or dtype.kind in "mM"
    return list(values) if is_short else values.tolist()


def _speller(dtype: str, to: str, spellers: dict[str, Callable[[Any], str]]) -> Callable[..., str]:
    if dtype == dtypes.STRING:
        kind = "string"
    elif dtypes.is_float(dtype):
        kind = "float"
    elif dtypes.is_complex(dtype):
        kind = "complex"
    elif dtypes.integer_bits(dtype) is not None or dtype in dtypes.QUANTISED:
        kind = "integer"
    elif dtype == "bool":
        kind = "bool"
    elif dtype.startswith(("datetime64", "timedelta64")):
        kind = "date"
    else:
        raise InitregError(f"values of {dtype} cannot be written as {to}")
    return spellers[kind]


def _float(value: Any) -> str:
    # numpy's floats have the digits of their own precision. Those of ml_dtypes show too few.
    is_own = type(value).__module__ == "numpy" and type(value).__name__ in ("float16", "float32")
    return str(value) if is_own else repr(float(value))


def _json_float(value: Any) -> str:
    return _float(value) if math.isfinite(value) else f'"{float(value)}"'


def _complex(value: Any) -> str:
    return str(complex(value)).strip("()")


def _text(value: Any) -> str | None:
    """A string as text, None if it is not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return None


def _json_string(value: Any) -> str:
    text = _text(value)
    if text is None:
        return json.dumps({"base64": base64.b64encode(value).decode("ascii")})
    return json.dumps(text)


def _csv_string(value: Any) -> str:
    text = _text(value)
    if text is None:
        raise InitregError("a string is not UTF-8, which CSV cannot hold. Write JSON")
    return text


_JSON: dict[str, Callable[[Any], str]] = {
    "string": _json_string,
    "float": _json_float,
    "complex": lambda value: f'"{_complex(value)}"',
    "integer": lambda value: str(int(value)),
    "bool": lambda value: "true" if value else "false",
    "date": lambda value: json.dumps(str(value)),
}
_CSV: dict[str, Callable[[Any], str]] = {
    "string": _csv_string,
    "float": _float,
    "complex": _complex,
    "integer": lambda value: str(int(value)),
    "bool": lambda value: "True" if value else "False",
    "date": str,
}
