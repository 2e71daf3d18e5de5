"""Boxes of an array: what an index asks of one that is not in memory, what is left to do then, and
whether slices make the whole."""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Leaving out fewer bytes than these costs more than reading them.
_WORTH_SKIPPING = 1 << 15
MOST_CUTS = 8  # axes that an array is cut along; each doubles the work


@dataclass(frozen=True, slots=True)
class Box:
    """``starts`` and ``stops`` on every axis of the array; ``index`` is then applied to the box."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    index: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in zip(self.starts, self.stops, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, b) for a, b in zip(self.starts, self.stops, strict=True))

    def reversed(self) -> Box:
        """The box of the transposed array."""
        return Box(self.starts[::-1], self.stops[::-1], ())


def box_of(index: Any, shape: tuple[int, ...]) -> Box | None:
    """The smallest box that holds what ``array[index]`` asks for; None if the index is not made of
    integers, slices and one ``...`` alone, and is left to numpy. Raises IndexError as numpy does.
    """
    given = list(index) if isinstance(index, tuple) else [index]
    if sum(each is Ellipsis for each in given) > 1:
        return None
    at = next((i for i, each in enumerate(given) if each is Ellipsis), None)
    if at is not None:
        given[at : at + 1] = [slice(None)] * (len(shape) - len(given) + 1)
    if len(given) > len(shape):
        return None  # numpy says it best
    given += [slice(None)] * (len(shape) - len(given))
    starts: list[int] = []
    stops: list[int] = []
    rest: list[Any] = []
    for each, length in zip(given, shape, strict=True):
        if isinstance(each, slice):
            steps = range(*each.indices(length))
            low = min(steps[0], steps[-1]) if steps else 0
            high = max(steps[0], steps[-1]) + 1 if steps else 0
            first = (steps[0] - low) if steps else 0
            # A step below zero ends before the box, which only None can say.
            rest.append(slice(first, None, steps.step))
        else:
            number = _integer(each)
            if number is None:
                return None
            if not -length <= number < length:
                raise IndexError(f"index {number} is out of bounds for an axis of length {length}")
            low = number % length
            high = low + 1
            rest.append(0)
        starts.append(low)
        stops.append(high)
    return Box(tuple(starts), tuple(stops), tuple(rest))


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return None  # a mask, to numpy
    if getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def runs(box: Box, shape: tuple[int, ...], itemsize: int) -> tuple[int, Iterator[tuple[int, int]]]:
    """How much of the box to read in one go, in C order, and where.

    Returns the number of leading axes that are walked one index at a time, and offset and length
    in bytes of each piece: the whole of the axes after the one that follows those.
    """
    strides = [itemsize] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    walked = 0
    for axis in range(len(shape) - 1):
        left_out = strides[axis] - (box.stops[axis + 1] - box.starts[axis + 1]) * strides[axis + 1]
        one_step = walked == axis and box.stops[axis] - box.starts[axis] == 1
        if one_step or left_out >= _WORTH_SKIPPING:
            walked = axis + 1
    if not shape:
        return 0, iter([(0, itemsize)])

    def pieces(axis: int, offset: int) -> Iterator[tuple[int, int]]:
        start, stop = box.starts[axis], box.stops[axis]
        if axis == walked:
            yield offset + start * strides[axis], (stop - start) * strides[axis]
        else:
            for i in range(start, stop):
                yield from pieces(axis + 1, offset + i * strides[axis])

    return walked, pieces(0, 0)


def cut_axes(
    shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[int]:
    """The axes that not every box spans; each box is a start and a shape."""
    return [
        axis for axis, length in enumerate(shape) if any(each[axis] != length for _, each in boxes)
    ]


def cover_once(
    shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> bool:
    """Whether boxes that lie within ``shape`` have each element of it exactly once.

    What a box covers is told by its corners, 1 and -1 by turns: summed along each axis they give
    1 within it and 0 outside. So boxes make the whole if all their corners together are the
    whole's, which takes no look at pairs of them.
    """
    if 0 in shape:
        return True  # each is empty
    boxes = [box for box in boxes if 0 not in box[1]]
    axes = cut_axes(shape, boxes)
    corners: Counter[tuple[int, ...]] = Counter()
    for start, size in boxes:
        _add_corners(corners, [(start[a], start[a] + size[a]) for a in axes], 1)
    _add_corners(corners, [(0, shape[a]) for a in axes], -1)
    return not any(corners.values())


def _add_corners(corners: Counter[tuple[int, ...]], ends: list[tuple[int, int]], sign: int) -> None:
    signs = itertools.product((sign, -sign), *[(1, -1)] * (len(ends) - 1)) if ends else [(sign,)]
    for corner, each in zip(itertools.product(*ends), signs, strict=True):
        corners[corner] += math.prod(each)
