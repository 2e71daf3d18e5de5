"""Whether filling one array would change another one, or another element of the same array.

Views of one buffer may interlace without a common byte, as the columns of a matrix do, so bounds do
not decide it. ``np.shares_memory`` decides it for two arrays, but may take exponential time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_IN_PAIRS = 16  # arrays of which each is compared with each
_MOST_WORK: Any = 10_000  # of np.shares_memory, in numbers that its stubs do not allow


@dataclass(slots=True)
class _Held:
    """An array, where its first element is, and the bytes that it lies between."""

    name: str
    array: Any
    first: int
    start: int
    end: int


def shared(arrays: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names of two arrays that share memory, or None if all are apart.

    An array of which two elements share memory is named twice.
    """
    held = [_bounded(name, array) for name, array in arrays.items() if array.nbytes]
    for each in held:
        if not each.array.flags.forc and _overlaps_itself(each):
            return each.name, each.name
    held.sort(key=lambda each: (each.start, each.end))
    for group in _groups(held):
        found = _shared_in(group)
        if found:
            return found
    return None


def _bounded(name: str, array: Any) -> _Held:
    first = array.__array_interface__["data"][0]
    if array.flags.forc:
        return _Held(name, array, first, first, first + array.nbytes)
    spans = [(n - 1) * step for n, step in _axes(array)]
    start = first + sum(span for span in spans if span < 0)
    end = first + sum(span for span in spans if span > 0) + array.itemsize
    return _Held(name, array, first, start, end)


def _overlaps_itself(each: _Held) -> bool:
    """Whether two elements share memory, as np.lib.stride_tricks.as_strided can make them."""
    array = each.array
    reach = array.itemsize
    for step, n in sorted((abs(step), n) for n, step in _axes(array)):
        if step < reach:  # else each axis steps over all smaller ones
            return _Marks([each]).are_fewer_than(each)
        reach += (n - 1) * step
    return False


def _groups(held: Sequence[_Held]) -> Iterator[list[_Held]]:
    """Runs of arrays whose bounds overlap. What is alone is left out."""
    group: list[_Held] = []
    end = 0
    for each in held:
        if each.start >= end:
            if len(group) > 1:
                yield group
            group = []
        group.append(each)
        end = max(end, each.end)
    if len(group) > 1:
        yield group


def _shared_in(group: Sequence[_Held]) -> tuple[str, str] | None:
    import numpy as np

    if len(group) <= _MOST_IN_PAIRS:
        try:
            for a, b in itertools.combinations(group, 2):
                if b.start < a.end and np.shares_memory(a.array, b.array, max_work=_MOST_WORK):
                    return a.name, b.name
            return None
        except RuntimeError:  # too hard, as numpy says
            pass
    marks = _Marks(group)
    for index, each in enumerate(group):
        if marks.of(each).any():
            marks.clear()
            marks.of(each)[...] = True
            first = next(before for before in group[:index] if marks.of(before).any())
            return first.name, each.name
        marks.of(each)[...] = True
    return None


class _Marks:
    """A mark for each byte between the bounds of a group, or for each run of bytes that no array
    enters in its middle, such as four of float32."""

    def __init__(self, group: Sequence[_Held]) -> None:
        import numpy as np

        self._low = min(each.start for each in group)
        self._unit = 0
        for each in group:
            steps = (step for _, step in _axes(each.array))
            self._unit = math.gcd(self._unit, each.first - self._low, each.array.itemsize, *steps)
        self._marks = np.zeros((max(each.end for each in group) - self._low) // self._unit, bool)

    def clear(self) -> None:
        self._marks[...] = False

    def of(self, each: _Held) -> Any:
        """The marks of an array, as a view of all."""
        import numpy as np

        axes = [(n, step // self._unit) for n, step in _axes(each.array)]
        axes.append((each.array.itemsize // self._unit, 1))
        shape, steps = zip(*axes, strict=True)
        first = (each.first - self._low) // self._unit
        return np.ndarray(shape, bool, self._marks, first, steps)

    def are_fewer_than(self, each: _Held) -> bool:
        """Whether an array has more elements than marks."""
        marked = self.of(each)
        marked[...] = True
        return bool(self._marks.sum() < marked.size)


def _axes(array: Any) -> Iterator[tuple[int, int]]:
    """The axes that are longer than 1: the length and the step in bytes of each."""
    return ((n, s) for n, s in zip(array.shape, array.strides, strict=True) if n > 1)
