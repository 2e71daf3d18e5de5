"""Rectangular regions of an array: translate an index into a region and a residual index, and check
that slices tile an array."""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from initreg.records import record

# To skip fewer bytes than these costs more than to read them.
_WORTH_SKIPPING = 1 << 15
MOST_CUTS = 8  # how many axes an array may be cut along; each doubles the work


@record()
class Box:
    """A rectangular region of an array.

    Args:
        starts: for every axis, the first index.
        stops: for every axis, the index after the last one.
        index: what to apply to the region to get what was asked for.
    """

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
        """The same region of the transposed array."""
        return Box(self.starts[::-1], self.stops[::-1], ())

    def intersection(self, other: Box) -> Box | None:
        """The region that both have, None if it is empty."""
        starts = tuple(map(max, self.starts, other.starts))
        stops = tuple(map(min, self.stops, other.stops))
        return Box(starts, stops, ()) if all(map(operator.lt, starts, stops)) else None

    def relative_to(self, origin: Sequence[int]) -> Box:
        """The same region, with its indices counted from ``origin``."""
        starts = tuple(map(operator.sub, self.starts, origin))
        return Box(starts, tuple(map(operator.sub, self.stops, origin)), ())


def whole(shape: tuple[int, ...]) -> Box:
    """The region that is all of an array."""
    return Box((0,) * len(shape), shape, ())


def box_of(index: Any, shape: tuple[int, ...]) -> Box | None:
    """The smallest region that holds what ``array[index]`` asks for.

    Returns:
        The region, or None if the index has anything else than integers, slices and one ``...``.
        Then the whole array is read, and numpy applies the index.

    Raises:
        IndexError: as numpy does.

    >>> box_of((slice(1, 3), -1), (5, 4))
    Box(starts=(1, 3), stops=(3, 4), index=(slice(0, None, 1), 0))
    """
    given = list(index) if isinstance(index, tuple) else [index]
    if sum(each is Ellipsis for each in given) > 1:
        return None
    at = next((i for i, each in enumerate(given) if each is Ellipsis), None)
    if at is not None:
        given[at : at + 1] = [slice(None)] * (len(shape) - len(given) + 1)
    if len(given) > len(shape):
        return None  # an error, which numpy raises
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
            # A negative step ends before the first element, which only None can express.
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
        return None  # numpy takes it for a mask
    if getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def refitted(box: Box, shape: tuple[int, ...], into: tuple[int, ...]) -> Box:
    """A region of an array of ``shape`` in the same array reshaped ``into`` another shape, which
    differs only by axes of length 1.

    >>> refitted(Box((0, 2), (1, 4), ()), (1, 4), (4,))
    Box(starts=(2,), stops=(4,), index=())
    """
    each = zip(box.starts, box.stops, shape, strict=True)
    ends = iter([(start, stop) for start, stop, length in each if length != 1])
    found = [(0, 1) if length == 1 else next(ends) for length in into]
    return Box(tuple(start for start, _ in found), tuple(stop for _, stop in found), ())


def runs(box: Box, shape: tuple[int, ...], itemsize: int) -> tuple[int, Iterator[tuple[int, int]]]:
    """The contiguous pieces that a region is read in, for an array in C order.

    Args:
        box: the region.
        shape: the shape of the whole array.
        itemsize: the size of an element in bytes.

    Returns:
        How many leading axes are walked one index at a time, and for each piece its offset and
        length in bytes. A piece takes the range of the region on the next axis, and all of the axes
        after that.
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
    """The axes that are not spanned by every box. A box is given as its start and its shape."""
    return [
        axis for axis, length in enumerate(shape) if any(each[axis] != length for _, each in boxes)
    ]


def cover_once(
    shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> bool:
    """Whether boxes cover each element of an array exactly once.

    Mark the corners of a box with 1 and -1 alternately. The cumulative sum of the marks along each
    axis is then 1 inside of the box and 0 outside. So the boxes tile the array exactly if the sum
    of their marks is that of the whole array. No two boxes have to be compared.

    Args:
        shape: the shape of the array.
        boxes: the start and the shape of each box, all of which are within ``shape``.

    >>> cover_once((4,), [((0,), (3,)), ((3,), (1,))])
    True
    """
    if 0 in shape:
        return True  # there are no elements
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
