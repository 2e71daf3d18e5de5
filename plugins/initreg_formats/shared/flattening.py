"""Nested mappings and lists of arrays as one flat mapping: ``{"fc": {"W": w}}`` as ``{"fc/W": w}``,
``{"fc": [w, b]}`` as ``{"fc/0": w, "fc/1": b}``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from initreg import DamagedFile, DuplicateName, LazyArray
from initreg.format_tools.values import Unreadable

_DEEPEST = 100  # levels of nesting. No model has as many; a dict that holds itself has more
_MOST = 200_000  # arrays, dicts and lists that are met again. A few that hold each other have more


def flatten(mapping: Mapping[Any, Any], label: str, lenient: bool = False) -> dict[str, Any]:
    """Join nested names with ``/``, and give each value a shape and a dtype.

    A list, a tuple or an array of objects that holds arrays is a list of them, called ``0``, ``1``
    and so on. Any other list is one array, if ``np.asarray`` takes it.

    Args:
        mapping: names to arrays, to anything that ``np.asarray`` takes, to lists of arrays, or to
            further mappings.
        label: what messages call the mapping.
        lenient: whether a value that is not an array is listed, and cannot be read, instead of
            being an error.

    Raises:
        DuplicateName: two paths join to the same name.
        DamagedFile: a name is not a str, a value is not an array, or the nesting is too deep.
    """
    arrays: dict[str, Any] = {}
    is_plain = _is_plain()
    for name, value in _Walk(label).walk(mapping, "", 0):
        if name in arrays:
            raise DuplicateName(f"{label}: two arrays are called {name!r} once nesting is joined")
        try:
            arrays[name] = value if is_plain(value) else _as_array(name, value, label)
        except DamagedFile as error:
            if not lenient:
                raise
            arrays[name] = Unreadable((), "object", error.args[0], kind=DamagedFile)
    return arrays


def _is_plain() -> Callable[[Any], bool]:
    """A function that says whether a value is an array of numpy, but not of objects. Of a million
    values, most are."""
    import numpy as np

    return lambda value: type(value) is np.ndarray and not value.dtype.hasobject


def is_list(value: Any) -> bool:
    """Whether a value is a list of arrays: a list, a tuple or an array of objects that holds an
    array somewhere."""
    return _Walk("").is_list(value)


class _Walk:
    """One walk over a nested mapping.

    What holds arrays is found out once for each list, because a list may be in many others.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._count = 0  # of arrays, dicts and lists that were met in one that was met before
        self._entered: dict[int, Any] = {}  # the dicts and lists that were met, by id
        self._is_plain = _is_plain()
        self._known: dict[int, tuple[Any, bool]] = {}  # by id, with the object, which keeps the id

    def walk(self, value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
        """The names and values in a mapping or a list."""
        if depth > _DEEPEST:
            raise DamagedFile(
                f"{self._label}: nested more than {_DEEPEST} levels deep at {path[:80]!r}"
            )
        is_again = id(value) in self._entered
        self._entered[id(value)] = value
        if is_again:
            self._met(path)
        is_mapping = isinstance(value, Mapping)
        for key, each in value.items() if is_mapping else enumerate(_elements(value)):
            if is_mapping and not isinstance(key, str):
                raise DamagedFile(
                    f"{self._label}: names must be str, but this one is {key!r} "
                    f"({type(key).__name__})"
                )
            if not self._is_plain(each) and (isinstance(each, Mapping) or self.is_list(each)):
                yield from self.walk(each, f"{path}{key}/", depth + 1)
            else:
                if is_again:
                    self._met(path)
                yield f"{path}{key}", each

    def _met(self, path: str) -> None:
        self._count += 1
        if self._count > _MOST:
            raise DamagedFile(
                f"{self._label}: holds more than {_MOST:,} arrays, dicts and lists in others that "
                f"it holds several times, the last at {path[:80]!r}"
            )

    def is_list(self, value: Any) -> bool:
        """Whether a value is a list of arrays."""
        return _is_sequence(value) and self._holds_arrays(value, 0)

    def _holds_arrays(self, value: Any, depth: int) -> bool:
        is_mapping = isinstance(value, Mapping)
        if depth > _DEEPEST or not (is_mapping or _is_sequence(value)):
            return False
        known = self._known.get(id(value))
        if known is None:
            # While it is looked at, a list that holds itself has nothing more in there.
            self._known[id(value)] = value, False
            found = any(
                _is_array(each) or self._holds_arrays(each, depth + 1)
                for each in (value.values() if is_mapping else _elements(value))
            )
            known = self._known[id(value)] = value, found
        return known[1]


def _is_sequence(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return True
    import numpy as np

    return isinstance(value, np.ndarray) and value.dtype.hasobject and value.dtype.names is None


def _elements(value: Any) -> Any:
    """The elements of a list, a tuple, or an array of objects. Those of an array with several axes
    are lists."""
    if isinstance(value, (list, tuple)):
        return value
    return value.tolist() if value.ndim else [value.item()]


def _is_array(value: Any) -> bool:
    """Whether a value is an array by itself, rather than one number of an array."""
    import numpy as np

    if isinstance(value, np.generic):
        return False
    is_objects = isinstance(value, np.ndarray) and value.dtype.hasobject
    return _is_array_like(value) and not is_objects


def _is_array_like(value: Any) -> bool:
    return all(hasattr(value, part) for part in ("shape", "dtype", "__array__"))


class Strings:
    """An object array whose elements are all str or bytes."""

    dtype = "string"

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array.copy() if copy else self._array


def _as_array(name: str, value: Any, label: str) -> Any:
    import numpy as np

    if isinstance(value, LazyArray):
        return value  # its dtype is known, and its values are not read before they are asked for
    _refuse_mask(name, value, label)
    array = value if _is_array_like(value) else _asarray(name, value, label)
    if getattr(array.dtype, "kind", "") == "O":
        elements = array if isinstance(array, np.ndarray) else _asarray(name, value, label)
        if all(isinstance(element, (str, bytes)) for element in elements.flat):
            return Strings(elements)
        numbers = _numbers(elements)
        if numbers is not None:
            return numbers
        raise DamagedFile(
            f"{label}: the value of {name!r} ({type(value).__name__}) must be an array of "
            "numbers or strings. Give every array a name of its own"
        )
    return array


def _refuse_mask(name: str, value: Any, label: str) -> None:
    """Raise DamagedFile for a masked array: nothing that arrays are written to keeps a mask."""
    masked = sys.modules.get("numpy.ma")  # without its import there is none
    if masked is None or not isinstance(value, masked.MaskedArray):
        return
    if masked.is_masked(value):
        raise DamagedFile(
            f"{label}: {name!r} is a masked array that hides {int(value.mask.sum()):,} of "
            f"{value.size:,} values. A mask is not kept. Give its filled(value), or its data"
        )


def _numbers(elements: Any) -> Any:
    """An array of objects that are all numbers, as an array of numbers, or None.

    ``np.array(weights, dtype=object)`` makes such an array if the weights have equal shapes.
    """
    import numpy as np

    kinds = (int, float, complex, np.number, np.bool_)
    if not all(isinstance(each, kinds) for each in elements.flat):
        return None
    found = np.array(elements.tolist())
    if found.shape != elements.shape or found.dtype.kind not in "biufc":
        return None
    # An integer may be too large for a float.
    pairs = zip(found.flat, elements.flat, strict=True)
    return found if all(new == old or old != old for new, old in pairs) else None


def _asarray(name: str, value: Any, label: str) -> Any:
    """The value as numpy's array. Raises DamagedFile."""
    import numpy as np

    try:
        return np.asarray(value)
    except Exception as error:  # a stranger's __array__ may raise anything
        raise DamagedFile(
            f"{label}: the value of {name!r} ({type(value).__name__}) is not an array: "
            f"{type(error).__name__}: {error}"
        ) from error
