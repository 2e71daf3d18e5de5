"""Statistics of the values of an array, computed piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.pieces import pieces
from initreg.arrays.regions import Box, whole

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PIECE = 8 << 20  # bytes that are looked at at a time
_KEPT = 64 << 20  # bytes of an array that is read once, although its histogram needs its range
BINS = 16
_SQUARED = (1e-140, 1e140)  # the squares of values between these, and their sums, are exact
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the values of one or several arrays are like. Of complex numbers, the magnitude counts.

    Args:
        count: how many values there are.
        nan: how many are NaN.
        inf: how many are infinite. These and NaN are left out of all of the following.
        zeros: how many are 0.
        mean: their mean.
        std: their standard deviation, with ``count`` in the denominator.
        min: the smallest value.
        max: the largest value.
        norm: the square root of the sum of their squares.
        histogram: how many values are in each of 16 bins of equal width from ``min`` to ``max``. It
            is empty for several arrays.

    ``mean`` and the following are None if no value is finite.
    """

    count: int = 0
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    norm: float | None = None
    histogram: tuple[int, ...] = ()

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return self.count - self.nan - self.inf

    def bars(self) -> str:
        """The histogram as a line of blocks. The highest bin is a full block, an empty one is a
        blank."""
        top = max(self.histogram, default=0)
        return "".join(
            _BARS[math.ceil(n * len(_BARS) / top) - 1] if n else " " for n in self.histogram
        )

    def to_dict(self) -> dict[str, Any]:
        """The figures by name. One that no float64 holds is the text ``"inf"``."""
        found = {name: getattr(self, name) for name in self.__slots__}
        for name, value in found.items():
            if isinstance(value, float) and not math.isfinite(value):
                found[name] = str(value)  # as JSON has no infinities
        return {**found, "histogram": list(self.histogram)}


def together(each: Iterable[Statistics]) -> Statistics:
    """The statistics of several arrays as if they were one."""
    total = Statistics()
    for one in each:
        total = _sum(total, one)
    return total


def _sum(a: Statistics, b: Statistics) -> Statistics:
    """Source of the sum of variances: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances" (1979)."""
    counts = (a.count + b.count, a.nan + b.nan, a.inf + b.inf, a.zeros + b.zeros)
    if not (a.finite and b.finite):
        known = a if a.finite else b
        return Statistics(*counts, known.mean, known.std, known.min, known.max, known.norm)
    n = a.finite + b.finite
    (mean, std, low, high, norm), (other, spread, lowest, highest, length) = _known(a), _known(b)
    part, rest = math.sqrt(a.finite / n), math.sqrt(b.finite / n)
    # The squares of large values are too large, and those of small ones are 0: not for hypot. The
    # distance of both means may be too large, and half of it is not.
    apart = (other / 2 - mean / 2) * (2 * part * rest)
    deviation = math.hypot(std * part, spread * rest, apart)
    step = (other - mean) * (b.finite / n)
    mean = mean + step if math.isfinite(step) else mean * part**2 + other * rest**2
    ends = (min(low, lowest), max(high, highest))
    return Statistics(*counts, mean, deviation, *ends, math.hypot(norm, length))


def _known(one: Statistics) -> tuple[float, ...]:
    """The figures of what has finite values."""
    found = (one.mean, one.std, one.min, one.max, one.norm)
    return tuple(each for each in found if each is not None)


def statistics(
    array: LazyArray, watch: Callable[[Box, Array], None] | None = None
) -> Statistics | None:
    """The statistics of an array. None if its values are not numbers.

    Args:
        array: the array.
        watch: it is given each piece as it is read: the region, and the values as float64.

    Raises:
        InitregError: it cannot be read.
    """
    import numpy as np

    if not dtypes.is_number(dtypes.name_of(array.dtype)):
        return None
    kept: list[Array] = []  # as they are stored, since float64 may be eight times as large
    total = Statistics()
    keep = (array.spec.nbytes or 0) <= _KEPT
    for box, values in _values(array):
        wide = _wide(values)
        total = _sum(total, _of(wide))
        if watch is not None:
            watch(box, wide)
        if keep:
            kept.append(values)
    if not total.finite:
        return total
    bins = np.zeros(BINS, np.int64)
    low, high = total.min or 0.0, total.max or 0.0
    scale = 1.0 if math.isfinite(high - low) else 0.25  # the range of all floats is infinite
    low, width = low * scale, (high / BINS - low / BINS) * scale
    for each in kept if keep else (values for _, values in _values(array)):
        # Not numpy.histogram, which refuses a range that is small beside its values.
        values = _wide(each)
        finite = values[np.isfinite(values)]
        places = (finite * scale - low) / width if width else np.full(finite.shape, BINS // 2)
        bins += np.bincount(np.minimum(places.astype(np.int64), BINS - 1), minlength=BINS)
    names = ("count", "nan", "inf", "zeros", "mean", "std", "min", "max", "norm")
    found = {name: getattr(total, name) for name in names}
    return Statistics(**found, histogram=tuple(bins.tolist()))


def _values(array: LazyArray) -> Iterator[tuple[Box, Array]]:
    """The values in pieces, each with its region."""
    most = min(_PIECE, _PIECE * array.dtype.itemsize // 4)  # small dtypes grow more in float64
    for _, box, _, values in pieces(array, [whole(array.shape)], most, array.dtype):
        yield box, values


def _wide(values: Array) -> Array:
    """Values as float64, and the magnitudes of complex ones."""
    import numpy as np

    given = np.abs(values) if values.dtype.kind == "c" else values
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        return np.atleast_1d(given.astype(np.float64))


def _of(values: Array) -> Statistics:
    import numpy as np

    nan = int(np.count_nonzero(np.isnan(values)))
    inf = int(np.count_nonzero(np.isinf(values)))
    finite = values[np.isfinite(values)] if nan or inf else values
    if not finite.size:
        return Statistics(values.size, nan, inf)
    low, high = float(finite.min()), float(finite.max())
    largest = max(-low, high)
    scale = 1.0
    if largest and not _SQUARED[0] < largest < _SQUARED[1]:
        # By a power of two, which changes no digit.
        scale = math.ldexp(1.0, max(-1000, min(1000, math.frexp(largest)[1])))
        finite = finite / scale
    with np.errstate(over="ignore"):
        return Statistics(
            values.size,
            nan,
            inf,
            int(finite.size - np.count_nonzero(finite)),
            float(finite.mean()) * scale,
            float(finite.std()) * scale,
            low,
            high,
            float(np.linalg.norm(finite.reshape(-1))) * scale,
        )
