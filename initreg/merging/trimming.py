"""Trimming: which values of an array are its largest, found piece by piece in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BITS = 16  # of the magnitudes that are looked at in one pass


def magnitude_bits(values: Array) -> Array:
    """The magnitudes of floats as unsigned integers, which are ordered as they are.

    NaN counts as larger than any number, so that it is not trimmed away.
    """
    import numpy as np

    if values.dtype.itemsize >= 8:
        wide = np.ascontiguousarray(values, np.float64).reshape(-1).view(np.uint64)
        return wide & np.uint64(2**63 - 1)
    narrow = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return narrow & np.uint32(2**31 - 1)


class Trim:
    """Keeps the largest values of an array, piece by piece, in the order of the array.

    Args:
        threshold: the bits of the smallest magnitude that is kept, as :func:`magnitude_bits`.
        equal: how many of the values of exactly this magnitude are kept: the first ones.
    """

    def __init__(self, threshold: int, equal: int) -> None:
        self.threshold = threshold
        self.equal = equal

    def keep(self, values: Array) -> Array:
        """The next piece, with zeros in place of what is trimmed away."""
        import numpy as np

        bits = magnitude_bits(values)
        limit = bits.dtype.type(self.threshold)
        kept = bits > limit
        ties = np.flatnonzero(bits == limit)[: self.equal]
        kept[ties] = True
        self.equal -= len(ties)
        return np.where(kept.reshape(values.shape), values, values.dtype.type(0))


def find_trims(
    pieces: Callable[[], Iterable[list[Array]]], counts: list[int], itemsize: int
) -> list[tuple[int, int]]:
    """For each of several arrays, what keeps as many of its largest values as asked for.

    A histogram of the leading 16 bits of the magnitudes says in which bin the smallest of them is.
    The next pass looks at the next 16 bits of what is in this bin, and so on. The result is exact:
    it is that of sorting.

    Args:
        pieces: yields the pieces of all arrays, anew for each pass.
        counts: how many values of each array are kept, at least one.
        itemsize: the bytes of a value: 4 or more.

    Returns:
        The arguments of :class:`Trim` for each.
    """
    import numpy as np

    bits = 64 if itemsize >= 8 else 32
    found = [(0, count) for count in counts]
    for shift in range(bits - _BITS, -1, -_BITS):
        bins = np.zeros((len(counts), 1 << _BITS), np.int64)
        for each in pieces():
            for number, values in enumerate(each):
                magnitudes = magnitude_bits(values)
                if shift + _BITS < bits:
                    above = magnitudes.dtype.type(shift + _BITS)
                    prefix = magnitudes.dtype.type(found[number][0] >> (shift + _BITS))
                    magnitudes = magnitudes[(magnitudes >> above) == prefix]
                kind = magnitudes.dtype.type
                low = (magnitudes >> kind(shift)) & kind((1 << _BITS) - 1)
                bins[number] += np.bincount(low.view(f"i{low.itemsize}"), minlength=1 << _BITS)
        for number, (prefix_bits, left) in enumerate(found):
            from_the_top = np.cumsum(bins[number][::-1])
            place = int(np.searchsorted(from_the_top, left))
            before = int(from_the_top[place - 1]) if place else 0
            chosen = (1 << _BITS) - 1 - place
            found[number] = (prefix_bits | (chosen << shift), left - before)
    return found
