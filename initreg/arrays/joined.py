"""Arrays that rules put together from several arrays. They are read part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from initreg.arrays import memory
from initreg.arrays.lazy_array import ArrayReader, Joined, LazyArray, Owner, RuledArray
from initreg.arrays.regions import Box, box_of, whole
from initreg.arrays.streaming import stream
from initreg.arrays.threads import Job, Pool
from initreg.errors import RuleError
from initreg.records import replace
from initreg.rules.combining import Combining

if TYPE_CHECKING:
    import numpy as np

    from initreg.rules.changes import Change
    from initreg.rules.rule import Entry

    Array = np.ndarray[Any, Any]


def lazy_array_of(entry: Entry, lazy: Sequence[LazyArray], owner: Owner) -> LazyArray:
    """The array that an entry of rules describes.

    Args:
        entry: the entry.
        lazy: the arrays that the rules were applied to.
        owner: the map that the array is to belong to.
    """
    changes = [_bound(change, lazy, owner) for change in entry.changes]
    if entry.join is None:
        return RuledArray(entry.spec, lazy[entry.index], changes, owner)
    parts = [lazy_array_of(part, lazy, owner) for part in entry.join.parts]
    spec = entry.join.spec
    value = Joined(parts, entry.join.axis, entry.join.is_stack, spec.shape, spec.dtype)
    base = LazyArray(spec, value, _Parts(parts))
    return RuledArray(entry.spec, base, changes, owner)


def _bound(change: Change, lazy: Sequence[LazyArray], owner: Owner) -> Change:
    """A change with what reads the other arrays that it needs, if it needs some."""
    if not isinstance(change, Combining) or not change.needs:
        return change
    others = tuple(lazy_array_of(need, lazy, owner) for need in change.needs)
    return replace(change, others=others)


class _Parts:
    """What stands for the map of an array that is put together, and reads it.

    Args:
        parts: the arrays that it is made of.
    """

    def __init__(self, parts: Sequence[LazyArray]) -> None:
        owner = parts[0].stored.owner
        self.label, self.format = owner.label, owner.format
        self._owners = [part.stored.owner for part in parts]

    @property
    def has_checksum(self) -> bool:
        return all(owner.has_checksum for owner in self._owners)

    def values(self) -> Iterable[LazyArray]:
        return ()

    def reader_of(self, array: LazyArray) -> ArrayReader:
        return _Reader()


class _Reader:
    """Reads arrays that are put together. In memory are the result, and what :func:`stream` reads
    ahead of it."""

    def read(self, array: LazyArray) -> Array:
        value: Joined = array.value
        found = _empty(array, array.shape)
        places = list(_places(value))
        for index, values in stream(value.parts):
            found[_region(value, places[index])] = values
            del values
        return found

    def read_part(self, array: LazyArray, index: Any) -> Any:
        value: Joined = array.value
        box = box_of(index, array.shape)
        if box is None:
            return self.read(array)[index]
        found = _empty(array, box.shape)
        for part, place in zip(value.parts, _places(value), strict=True):
            shared = box.intersection(place)
            if shared is None:
                continue
            inside = shared.relative_to(place.starts).slices
            if value.is_stack:
                inside = inside[: value.axis] + inside[value.axis + 1 :]
            is_all = shared.shape == place.shape
            values = part.read() if is_all else part[inside]
            found[_region(value, shared.relative_to(box.starts))] = values
        return found[box.index]

    def start(
        self,
        arrays: Sequence[LazyArray],
        pool: Pool,
        alignment: int | None = None,
        room: Any = None,
    ) -> Job:
        # In the caller's thread, which reads the parts with threads of its own.
        return Job(lambda: [self.read(array) for array in arrays])

    def verify(self, array: LazyArray) -> None:
        for part in array.value.parts:
            part.reader.verify(part.stored)

    def check_open(self, name: str) -> None:
        """Whether the maps of the parts are open is found when they are read."""

    def close(self) -> None:
        """The files belong to the maps of the parts."""


def _empty(array: LazyArray, shape: tuple[int, ...]) -> Array:
    what = f"{array.stored.owner.label}: array {array.name!r}"
    return memory.allocated(what, shape, array.dtype, RuleError)


def _places(value: Joined) -> Iterator[Box]:
    """The region of each part in the whole."""
    start = 0
    for part in value.parts:
        length = 1 if value.is_stack else part.shape[value.axis]
        box = whole(value.shape)
        starts = (*box.starts[: value.axis], start, *box.starts[value.axis + 1 :])
        stops = (*box.stops[: value.axis], start + length, *box.stops[value.axis + 1 :])
        yield Box(starts, stops, ())
        start += length


def _region(value: Joined, box: Box) -> tuple[Any, ...]:
    """The index of a region. That of a part in a stack lacks the axis of the stack."""
    slices = box.slices
    if not value.is_stack:
        return slices
    return (*slices[: value.axis], box.starts[value.axis], *slices[value.axis + 1 :])
