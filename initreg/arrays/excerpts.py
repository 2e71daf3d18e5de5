"""Reading a part of an array that an index names, and of a large one only what numpy prints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.pieces import pieces
from initreg.arrays.regions import Box
from initreg.specs import Extent, SlicedExtent

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Axes = Sequence[int | range]

_WORTH_SKIPPING = 1 << 15  # bytes between two steps, from which on each step is read by itself
_MOST_BOXES = 4096  # that are read one by one


def read_axes(array: LazyArray, axes: Axes) -> Array:
    """Read a part of an array.

    If the steps along an axis are wide, only the steps are read. Otherwise what lies between them
    is read, too. Checksums are of whole arrays, so that only that of a whole array is verified.

    Args:
        array: the array.
        axes: for each axis one index, which removes the axis, or several.

    Raises:
        InitregError: it cannot be read.
    """
    shape = tuple(len(axis) for axis in axes if isinstance(axis, range))
    if all(axis == range(n) for axis, n in zip(axes, array.shape, strict=True)):
        return array.read()
    ranges = [axis if isinstance(axis, range) else range(axis, axis + 1) for axis in axes]
    places = [[(axis, slice(0, len(axis)))] for axis in ranges]
    found = _read(array, places, tuple(map(len, ranges)))
    return found.reshape(shape)


def read_corners(array: LazyArray, axes: Axes, edge: int) -> Array:
    """Read what numpy prints of a large array: the first and the last values along each axis.

    Args:
        array: the array.
        axes: as for :func:`read_axes`.
        edge: how many values numpy shows on each side of ``...``.

    Returns:
        An array in which an axis of more than ``2 * edge`` values has the first and the last ones,
        and one between them, which means nothing. numpy prints it as the whole, if it is told to
        leave out the middle.

    Raises:
        InitregError: it cannot be read.
    """
    ranges = [axis if isinstance(axis, range) else range(axis, axis + 1) for axis in axes]
    places = []
    for axis in ranges:
        if len(axis) > 2 * edge:
            ends = [(axis[:edge], slice(0, edge)), (axis[-edge:], slice(edge + 1, 2 * edge + 1))]
            places.append(ends if edge else [])
        else:
            places.append([(axis, slice(0, len(axis)))])
    shape = tuple(min(len(axis), 2 * edge + 1) for axis in ranges)
    kept = [n for n, axis in zip(shape, axes, strict=True) if isinstance(axis, range)]
    return _read(array, places, shape).reshape(kept)


def _read(
    array: LazyArray, places: Sequence[Sequence[tuple[range, slice]]], shape: tuple[int, ...]
) -> Array:
    """Read blocks of an array into one of another shape.

    Args:
        array: the array.
        places: for each axis, the indices that are read together, and where they go to.
        shape: the shape of the result.
    """
    import numpy as np

    found = np.zeros(shape, array.dtype)  # what is left out means nothing, but is always the same
    ways = itertools.product(*places)
    targets = [tuple(where for _, where in way) for way in itertools.product(*places)]
    blocks = [tuple(axis for axis, _ in way) for way in ways]
    if array.dtype.hasobject:  # strings, which are not at places that can be computed
        whole = array.read()
        for block, target in zip(blocks, targets, strict=True):
            found[target] = whole[tuple(map(_slice, block))]
        return found
    boxes, picks = [], []
    for block, target in zip(blocks, targets, strict=True):
        for part in _parts(array, block):
            low = [min(axis[0], axis[-1]) for axis, _ in part]
            high = [max(axis[0], axis[-1]) + 1 for axis, _ in part]
            boxes.append(Box(tuple(low), tuple(high), ()))
            inner = tuple(
                _slice(range(axis.start - start, axis.stop - start, axis.step))
                for (axis, _), start in zip(part, low, strict=True)
            )
            at = tuple(
                slice(where.start + skip, where.start + skip + len(axis))
                for where, (axis, skip) in zip(target, part, strict=True)
            )
            picks.append((inner, at))
    for index, _, _, values in pieces(array, boxes, 0, array.dtype, is_all=False):
        inner, at = picks[index]
        found[at] = values[inner]
    return found


def _slice(axis: range) -> slice:
    """The slice that picks these indices."""
    stop = axis.stop if axis.stop >= 0 else None  # a negative step down to the first one
    return slice(axis.start, stop, axis.step) if axis else slice(0, 0)


def _parts(array: LazyArray, block: Sequence[range]) -> Iterator[tuple[tuple[range, int], ...]]:
    """Cut a block into the parts that are read one by one: for each axis, indices that are read
    together, and how many of the block come before them."""
    if not all(block):
        return
    value = array.stored.value
    is_plain = isinstance(value, (Extent, SlicedExtent))
    stride = array.dtype.itemsize
    strides: list[int] = []
    for length in reversed(array.shape):
        strides.insert(0, stride)
        stride *= length
    cuts = []
    count = 1
    for axis, stride in zip(block, strides, strict=True):
        is_wide = (abs(axis.step) - 1) * stride >= _WORTH_SKIPPING and len(axis) > 1
        if is_plain and is_wide and count * len(axis) <= _MOST_BOXES:
            count *= len(axis)
            cuts.append([(axis[i : i + 1], i) for i in range(len(axis))])
        else:
            cuts.append([(axis, 0)])
    yield from itertools.product(*cuts)
