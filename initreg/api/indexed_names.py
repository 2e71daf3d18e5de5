"""Names of arrays with an index, as they are typed: ``encoder/kernel[2:4, ..., ::-1]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import EllipsisType

from initreg.arrays.lazy_array import LazyArray
from initreg.errors import InitregError
from initreg.names import Patterns, normalise
from initreg.text.near import near
from initreg.text.wording import plural, shape_text

Index = tuple[int | slice | EllipsisType, ...]

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_GLOB = re.compile(r"[*?]")  # not [, with which an index begins
_TAKES = "An index has integers, slices such as 2:4 or ::-1, and at most one ..."
_SHOWN = 3  # names in a message


@dataclass(frozen=True, slots=True)
class IndexedName:
    """An array and which of its values are meant.

    Args:
        name: the name of the array.
        index: the index as text with its brackets, "" if all values are meant.
        axes: for each axis of the array, the one index that is meant, or several.
    """

    name: str
    index: str
    axes: tuple[int | range, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is meant."""
        return tuple(len(axis) for axis in self.axes if isinstance(axis, range))


def find(text: str, arrays: Mapping[str, LazyArray], label: str) -> list[IndexedName]:
    """The arrays that a text names. They are several if it has a glob.

    Args:
        text: a name, or a glob with ``*`` and ``?``, with an index or without one.
        arrays: the arrays that there are.
        label: what messages call their source.

    Raises:
        InitregError: there is no such array, the index is wrong, or the text can be read in two
            ways.
    """
    name, index = _split(text)
    said = f"{label}: {text}"
    whole = _named(text, arrays, label)
    part = _named(name, arrays, label) if index is not None else []
    if index is None or (whole and not part):
        found = [_indexed(said, each, None, arrays) for each in whole]
        return found or _nothing(text, arrays, label)
    if whole:
        raise InitregError(
            f"{text!r} has two meanings in {label}: the array {whole[0]!r}, and a part of "
            f"{part[0]!r}. For the first, type {f'{text}[...]'!r}. For the second, type "
            f"{_with_comma(text)!r}"
        )
    found = [_indexed(said, each, index, arrays) for each in part]
    return found or _nothing(name, arrays, label)


def _split(text: str) -> tuple[str, str | None]:
    """A name and what is between the brackets at its end, None if there are none."""
    if not text.endswith("]") or "[" not in text:
        return text, None
    name, _, index = text[:-1].rpartition("[")
    return name, index


def _with_comma(text: str) -> str:
    return f"{text[:-1]}, ...]" if "..." not in text else f"{text[:-1]},]"


def _named(name: str, arrays: Mapping[str, LazyArray], label: str) -> list[str]:
    """The arrays of this name, or that match the glob. A primary name outranks other names."""
    normal = normalise(name)
    if normal in arrays:
        return [normal]
    others = [each for each, array in arrays.items() if normal in array.aliases]
    if len(others) > 1:
        raise InitregError(
            f"{label}: {plural(len(others), 'array')} are also called {name!r}: "
            f"{_list(others)}. Give one of these names"
        )
    if others or not _GLOB.search(name):
        return others
    # Brackets in the glob of a name are themselves: the index of an array is no set of letters.
    globs = Patterns(name.replace("[", "[[]"), "show")
    return [each for each, array in arrays.items() if globs.hits(each, *array.aliases)]


def _nothing(name: str, arrays: Mapping[str, LazyArray], label: str) -> list[IndexedName]:
    found = near(name, arrays)
    if _GLOB.search(name):
        hint = f"Did you mean {_list(found)}?" if found else "`initreg ls` lists the names"
        raise InitregError(f"{label}: no array matches {name!r}. {hint}")
    hint = f"Did you mean {_list(found)}?" if found else f"It has {_list(arrays) or 'none'}"
    raise InitregError(f"{label} has no array {name!r}. {hint}")


def _list(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
    return ", ".join(map(repr, listed[:_SHOWN])) + more


def _indexed(
    said: str, name: str, index: str | None, arrays: Mapping[str, LazyArray]
) -> IndexedName:
    shape = arrays[name].shape
    if index is None:
        return IndexedName(name, "", tuple(map(range, shape)))
    parsed = index_of(index, said)
    return IndexedName(name, f"[{index.strip()}]", _axes(parsed, shape, said, name))


def index_of(text: str, typed: str = "") -> Index:
    """Parse what is between the brackets of an index.

    Args:
        text: the index without its brackets.
        typed: what messages quote.

    Raises:
        InitregError: it is not an index of integers, slices and one ``...``.

    >>> index_of("2:4, ..., -1")
    (slice(2, 4, None), Ellipsis, -1)
    """
    typed = typed or f"[{text}]"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # as in Python, a comma may come last
    found = tuple(_part(part, typed) for part in parts)
    if sum(each is ... for each in found) > 1:
        raise InitregError(f"{typed}: '...' is there twice. {_TAKES}")
    return found


def _part(text: str, typed: str) -> int | slice | EllipsisType:
    if text == "...":
        return ...
    if text in ("None", "newaxis", "np.newaxis"):
        raise InitregError(
            f"{typed}: {text} would add an axis, and has no values to show. {_TAKES}"
        )
    if ":" not in text:
        return _integer(text, typed)
    ends = [_integer(each.strip(), typed) if each.strip() else None for each in text.split(":")]
    if len(ends) > 3:
        raise InitregError(f"{typed}: {text!r} has too many colons. {_TAKES}")
    if len(ends) == 3 and ends[2] == 0:
        raise InitregError(f"{typed}: the step of {text!r} is 0. Give one that is not")
    return slice(*ends)


def _integer(text: str, typed: str) -> int:
    if not text:
        raise InitregError(f"{typed}: a part of the index is empty. {_TAKES}")
    if not _INTEGER.fullmatch(text):
        raise InitregError(f"{typed}: {text!r} is not an integer. {_TAKES}")
    return int(text)


def _axes_text(count: int) -> str:
    return f"{count} axis" if count == 1 else f"{count} axes"


def _axes(index: Index, shape: tuple[int, ...], typed: str, name: str) -> tuple[int | range, ...]:
    """What an index means for an array of a shape."""
    given = sum(each is not ... for each in index)
    if given > len(shape):
        raise InitregError(
            f"{typed}: {given} indices, and {name!r} has {_axes_text(len(shape))}: "
            f"{shape_text(shape)}"
        )
    at = index.index(...) if ... in index else len(index)
    rest: list[int | slice] = [each for each in index if each is not ...]
    rest[at:at] = [slice(None)] * (len(shape) - given)
    found: list[int | range] = []
    for axis, (each, length) in enumerate(zip(rest, shape, strict=True)):
        if isinstance(each, slice):
            found.append(range(length)[each])
        elif -length <= each < length:
            found.append(each % length)
        else:
            may = f"from {-length} to {length - 1}" if length else "no integer, as it is empty"
            raise InitregError(
                f"{typed}: {each} is out of bounds: axis {axis} of {name!r}, "
                f"{shape_text(shape)}, takes {may}"
            )
    return tuple(found)
