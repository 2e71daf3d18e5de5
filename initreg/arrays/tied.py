"""Arrays of a file that are the same bytes of it: tied weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from initreg.arrays.lazy_array import LazyArray
from initreg.specs import Extent


def tied(arrays: Mapping[str, LazyArray]) -> dict[str, int]:
    """A number for each array, which is equal for arrays that are the same bytes of a file. Arrays
    that are no plain bytes of one have none.

    Args:
        arrays: an open map.
    """
    numbers: dict[Hashable, int] = {}
    found = {}
    for name, array in arrays.items():
        at: Any = array
        while type(at) is LazyArray:  # of a map that was open before: arrays of arrays
            at = at.value
        if isinstance(at, Extent):
            key = (at.file, at.offset, at.length, at.skip, at.shape, at.dtype, at.order)
            found[name] = numbers.setdefault(key, len(numbers))
    return found
