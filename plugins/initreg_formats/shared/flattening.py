"""Nested mappings of arrays as one flat mapping: ``{"fc": {"W": w}}`` as ``{"fc/W": w}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from initreg import DamagedFile, DuplicateName

_DEEPEST = 100  # levels of nesting. No model has as many; a dict that holds itself has more


def flatten(mapping: Mapping[Any, Any], label: str) -> dict[str, Any]:
    """Join nested names with ``/``, and give each value a shape and a dtype.

    Args:
        mapping: names to arrays, to anything that ``np.asarray`` takes, or to further mappings.
        label: what messages call the mapping.

    Raises:
        DuplicateName: two paths join to the same name.
        DamagedFile: a name is not a str, a value is not an array, or the nesting is too deep.
    """
    arrays: dict[str, Any] = {}
    for name, value in _walk(mapping, "", label, 0):
        if name in arrays:
            raise DuplicateName(f"{label}: two arrays are called {name!r} once nesting is joined")
        arrays[name] = _as_array(name, value, label)
    return arrays


def _walk(
    mapping: Mapping[Any, Any], prefix: str, label: str, depth: int
) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        raise DamagedFile(f"{label}: nested more than {_DEEPEST} levels deep at {prefix[:80]!r}")
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise DamagedFile(
                f"{label}: names must be str, but this one is {key!r} ({type(key).__name__})"
            )
        if isinstance(value, Mapping):
            yield from _walk(value, f"{prefix}{key}/", label, depth + 1)
        else:
            yield f"{prefix}{key}", value


class Strings:
    """An object array whose elements are all str or bytes."""

    dtype = "string"

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array.copy() if copy else self._array


def _as_array(name: str, value: Any, label: str) -> Any:
    if all(hasattr(value, part) for part in ("shape", "dtype", "__array__")):
        array = value
    else:
        import numpy as np

        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise DamagedFile(
                f"{label}: the value of {name!r} ({type(value).__name__}) is not an array: {error}"
            ) from error
    if getattr(array.dtype, "kind", "") == "O":
        if not all(isinstance(element, (str, bytes)) for element in array.flat):
            raise DamagedFile(
                f"{label}: the value of {name!r} ({type(value).__name__}) must be an array of "
                "numbers or strings. Give every array a name of its own"
            )
        return Strings(array)
    return array
