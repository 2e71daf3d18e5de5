"""The box of an array that slices of several axes leave."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from initreg.records import record
from initreg.text.wording import shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]

Ends = tuple[int | None, int | None]  # the start and the stop of a slice


@record()
class Box:
    """Elements ``start`` to ``stop`` of each of the first axes, as numpy counts them."""

    takes_apart: ClassVar[bool] = False
    ends: tuple[Ends, ...]

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        return tuple(stop - start for start, stop in self._resolved(shape)), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"sliced [{text_of(self.ends)}] from {shape_text(shape)}"

    def part(self, ndim: int) -> tuple[slice | int, ...]:
        return tuple(slice(start, stop) for start, stop in self.ends)

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        first = [start for start, _ in self._resolved(shape)]
        return tuple(map(operator.add, starts, first)), tuple(map(operator.add, stops, first))

    def apply_to_region(self, array: Array, name: str) -> Array:
        return array

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        # A copy, so that the rest of the array does not stay in memory.
        return np.array(array[self.part(array.ndim)], order="C", copy=True)

    def _resolved(self, shape: Shape) -> list[tuple[int, int]]:
        """The start and the stop on every axis, counted from the front.

        Raises:
            ValueError: the box is empty or out of range.
        """
        if len(self.ends) > len(shape):
            raise ValueError(
                f"[{text_of(self.ends)}] are slices of {len(self.ends)} axes, and shape "
                f"{shape_text(shape)} has {len(shape)}"
            )
        rest = ((None, None),) * (len(shape) - len(self.ends))
        found = []
        for length, (start, stop) in zip(shape, (*self.ends, *rest), strict=True):
            first = 0 if start is None else start + length * (start < 0)
            last = length if stop is None else stop + length * (stop < 0)
            if not 0 <= first < last <= length and (length or (start, stop) != (None, None)):
                raise ValueError(
                    f"[{text_of(self.ends)}] is empty or out of range for shape {shape_text(shape)}"
                )
            found.append((first, last))
        return found


def box(value: Any) -> Box:
    """The box that slices say, or a text of them: ``(slice(0, 2), slice(4, 8))``, ``"0:2,4:8"``.

    Raises:
        TypeError, ValueError: it says something else.

    >>> box("0:2, :, -4:").ends
    ((0, 2), (None, None), (-4, None))
    """
    if isinstance(value, str):
        return Box(tuple(map(_ends_of_text, value.split(","))))
    given: Sequence[Any] = [value] if isinstance(value, slice) else value
    return Box(tuple(map(_ends_of_slice, given)))


def is_box(value: Any) -> bool:
    """Whether a value of ``slice=`` is one of slices, and not an axis with a start and a stop."""
    if isinstance(value, (str, slice)):
        return True
    return isinstance(value, (tuple, list)) and any(isinstance(each, slice) for each in value)


def text_of(ends: Sequence[Ends]) -> str:
    """Slices as they are typed: ``0:2, :``."""
    return ", ".join(":".join("" if end is None else str(end) for end in each) for each in ends)


def _ends_of_slice(value: Any) -> Ends:
    if not isinstance(value, slice) or value.step not in (None, 1):
        raise TypeError
    start, stop = (
        None if end is None else operator.index(end) for end in (value.start, value.stop)
    )
    return start, stop


def _ends_of_text(text: str) -> Ends:
    start, stop = (int(end) if end.strip() else None for end in text.split(":"))
    return start, stop
