"""Which region of a stored array a region of the array is made of that rules make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays.regions import Box
from initreg.rules.casting import Losses, cast_values
from initreg.rules.changes import Cast

if TYPE_CHECKING:
    import numpy as np

    from initreg.rules.changes import Change

    Array = np.ndarray[Any, Any]


def stored_box(
    changes: Sequence[Change], shape: tuple[int, ...], dtype: str, box: Box
) -> Box | None:
    """The region of a stored array that a region of the result of changes is made of.

    Args:
        changes: what rules do to the array, in order.
        shape: the shape of the stored array.
        dtype: its dtype, a name as in :mod:`initreg.dtypes`.
        box: a region of the result.

    Returns:
        None if a change needs more than a region.
    """
    before = []
    for change in changes:
        if not hasattr(change, "region"):
            return None
        before.append((change, shape))
        shape, dtype = change.announce(shape, dtype)
    for change, shape in reversed(before):
        starts, stops = change.region(box.starts, box.stops, shape)
        box = Box(starts, stops, ())
    return box


def changed_region(changes: Sequence[Change], values: Array, name: str, losses: Losses) -> Array:
    """Apply changes to a region that :func:`stored_box` returned.

    Args:
        changes: what rules do to the array.
        values: the values of the region.
        name: the name of the array, for an error.
        losses: takes in what casts lose.
    """
    for change in changes:
        if isinstance(change, Cast):
            values = cast_values(values, dtypes.to_numpy(change.dtype), name, losses)
        else:
            values = change.apply_to_region(values, name)  # type: ignore[attr-defined]
    return values
