"""How the values of two arrays differ, computed piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.pieces import pieces
from initreg.arrays.regions import Box, whole

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PIECE = 8 << 20  # bytes of each array that are compared at a time


@dataclass(frozen=True, slots=True)
class Difference:
    """How the values of A and B differ. Where both are NaN, they are equal.

    Args:
        count: how many values there are.
        differing: how many of them are not equal.
        beyond: how many of them are beyond the tolerance.
        largest: the largest absolute difference. It is NaN if only one value is NaN, and None for
            values without differences, such as strings.
        mean: the mean absolute difference.
        largest_relative: the largest difference relative to the value of B, where that is not 0.
        mean_relative: the mean of these.
        cosine: the cosine of the angle between both, as vectors. None if one of them is all 0, or
            if their squares are too large for a float.
        is_equal: whether the bits of both are equal, in one dtype.
        norms: the norms of A and of B, and that of their difference, without values that are not
            finite. None for values without differences.
    """

    count: int
    differing: int
    beyond: int
    largest: float | None
    mean: float | None
    largest_relative: float | None
    mean_relative: float | None
    cosine: float | None
    is_equal: bool
    norms: tuple[float, float, float] | None = None

    @property
    def moved(self) -> float | None:
        """The norm of the difference as a part of the norm of B. None if that is 0 or unknown."""
        return self.norms[2] / self.norms[1] if self.norms and self.norms[1] else None

    def text(self) -> str:
        """The figures in words."""
        if self.largest is None:
            return f"{self.differing:,} of {self.count:,} values differ"
        found = f"max {self.largest:.3g}, mean {self.mean:.3g}"
        if self.largest_relative is not None:
            found += f", relative {self.largest_relative:.3g}"
        if self.cosine is not None:
            found += f", cosine {self.cosine:.6f}"
        return f"{found}, {self.beyond:,} of {self.count:,} values"

    def to_dict(self) -> dict[str, Any]:
        """The figures by name. What is not finite in JSON is a text."""
        found = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return found | {"moved": _plain(self.moved)}


def all_together(found: Sequence[Difference]) -> Difference:
    """Several differences, as if their arrays were one. There is at least one."""
    numbers = [each for each in found if each.norms is not None]
    count, differing, beyond = (
        sum(getattr(each, name) for each in found) for name in ("count", "differing", "beyond")
    )
    is_equal = all(each.is_equal for each in found)
    if not numbers:
        return Difference(count, differing, beyond, *(None,) * 5, is_equal)
    norms = [math.hypot(*(each.norms[i] for each in numbers if each.norms)) for i in range(3)]
    known = [each for each in numbers if each.cosine is not None and each.norms]
    dot = math.fsum((e.cosine or 0) * e.norms[0] * e.norms[1] for e in known if e.norms)
    length = norms[0] * norms[1]
    relative = [each for each in numbers if each.largest_relative is not None]
    size = sum(each.count for each in relative)
    return Difference(
        count,
        differing,
        beyond,
        _largest(each.largest for each in numbers),
        math.fsum((each.mean or 0) * each.count for each in numbers)
        / max(sum(each.count for each in numbers), 1),
        _largest(each.largest_relative for each in relative) if relative else None,
        math.fsum((e.mean_relative or 0) * e.count for e in relative) / size if size else None,
        (1.0 if is_equal else max(-1.0, min(1.0, dot / length))) if length else None,
        is_equal,
        (norms[0], norms[1], norms[2]),
    )


def _largest(values: Iterable[float | None]) -> float:
    """The largest value. It is NaN if one of them is."""
    found = [each for each in values if each is not None]
    return next((each for each in found if each != each), max(found, default=0.0))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def compare(
    mine: LazyArray,
    theirs: LazyArray,
    rtol: float,
    atol: float,
    watch: Callable[[Box, Array], None] | None = None,
) -> Difference:
    """Compare two arrays of one shape.

    Args:
        mine: the array of A.
        theirs: the array of B.
        rtol: the tolerance relative to the values of B.
        atol: the absolute tolerance.
        watch: for numbers, it is given each piece: the region, and B minus A as float64.

    Raises:
        InitregError: one of them cannot be read.
    """
    import numpy as np

    one, other = mine.dtype, theirs.dtype
    # Not raw bytes, dates or structured dtypes.
    is_number = all(dtypes.is_number(dtypes.name_of(each)) for each in (one, other))
    sums = _Sums(rtol, atol, one == other)
    if not is_number:
        sums.add(mine.read(), theirs.read(), is_number)
        return sums.result()
    common = one if one == other else _common(one, other)
    boxes = [whole(mine.shape)]
    most = min(_PIECE, _PIECE * common.itemsize // 4)  # small dtypes grow more in float64
    both = (pieces(each, boxes, most, common) for each in (mine, theirs))
    for a, b in zip(*both, strict=True):
        sums.add(np.asarray(a[3]), np.asarray(b[3]), True)
        if watch is not None:
            watch(a[1], _minus(np.asarray(b[3]), np.asarray(a[3])))
    return sums.result()


def _common(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype that both are compared in."""
    import numpy as np

    if "c" in (one.kind, other.kind):
        return np.dtype(np.complex128)
    try:
        found = np.promote_types(one, other)
    except TypeError:  # float8 and bfloat16 are strangers to each other
        return np.dtype(np.float64)
    return found if found.kind in "iu" else np.dtype(np.float64)


def _minus(b: Array, a: Array) -> Array:
    """B minus A as float64, 0 where both are equal, and the magnitude of complex numbers."""
    import numpy as np

    kind = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        found = np.asarray(b.astype(kind) - a.astype(kind))
        found[np.asarray((a == b) | ((a != a) & (b != b)))] = 0
        return np.abs(found) if found.dtype.kind == "c" else found


class _Sums:
    """What is known of two arrays after some of their pieces."""

    def __init__(self, rtol: float, atol: float, is_one_dtype: bool) -> None:
        self._rtol, self._atol = rtol, atol
        self._is_equal = is_one_dtype
        self._count = self._differing = self._beyond = self._relative_count = 0
        self._largest = self._largest_relative = 0.0
        self._sum = self._relative_sum = 0.0
        self._dot = self._mine = self._theirs = self._distance = 0.0
        self._is_number = True

    def add(self, mine: Array, theirs: Array, is_number: bool) -> None:
        import numpy as np

        self._count += mine.size
        self._is_number &= is_number
        if not is_number:
            differing = int(np.count_nonzero(np.asarray(mine != theirs)))
            self._differing += differing
            self._beyond += differing
            self._is_equal &= not differing
            return
        if mine.dtype == theirs.dtype and np.array_equal(_bits(mine), _bits(theirs)):
            square = _square(mine)
            self._dot += square
            self._mine += square
            self._theirs += square
            return
        self._is_equal = False
        self._add_different(mine, theirs)

    def _add_different(self, mine: Array, theirs: Array) -> None:
        import numpy as np

        mine, theirs = np.atleast_1d(mine), np.atleast_1d(theirs)
        kind = np.complex128 if "c" in (mine.dtype.kind, theirs.dtype.kind) else np.float64
        with np.errstate(invalid="ignore"):  # of a NaN that signals
            equal = mine == theirs
            a, b = mine.astype(kind), theirs.astype(kind)
        both = np.isnan(a) & np.isnan(b)
        equal |= both
        with np.errstate(all="ignore"):
            distance = np.abs(a - b)
            if mine.dtype.kind in "iu" and theirs.dtype.kind in "iu":
                distance = _exact(mine, theirs, distance)
            distance[equal] = 0.0  # infinities, too
            size = np.abs(b)
            most = self._atol + self._rtol * size
            # With a tolerance of 0, what float64 cannot tell apart is different all the same.
            within = equal | (np.isfinite(size) & (distance <= most) & (most > 0))
            known = (size > 0) & np.isfinite(size)
            relative = distance[known] / size[known]
        with np.errstate(over="ignore"):  # sums of very large differences are infinite
            self._differing += int(equal.size - np.count_nonzero(equal))
            self._beyond += int(within.size - np.count_nonzero(within))
            finite = distance[np.isfinite(distance)]
            self._distance += float(np.vdot(finite, finite))
            if distance.size:
                self._largest = float(np.maximum(self._largest, distance.max()))
                self._sum += float(distance.sum())
            if relative.size:
                self._largest_relative = float(np.maximum(self._largest_relative, relative.max()))
                self._relative_sum += float(relative.sum())
                self._relative_count += relative.size
            a[~np.isfinite(a)] = 0
            b[~np.isfinite(b)] = 0
            self._dot += float(np.vdot(a, b).real)
            self._mine += float(np.vdot(a, a).real)
            self._theirs += float(np.vdot(b, b).real)

    def result(self) -> Difference:
        if not self._is_number:
            none = (None,) * 5
            return Difference(self._count, self._differing, self._beyond, *none, self._is_equal)
        length = math.sqrt(self._mine) * math.sqrt(self._theirs)
        cosine = None
        if self._is_equal and self._mine:
            cosine = 1.0
        elif length > 0 and math.isfinite(length) and math.isfinite(self._dot):
            cosine = max(-1.0, min(1.0, self._dot / length))
        count = self._relative_count
        return Difference(
            self._count,
            self._differing,
            self._beyond,
            self._largest,
            self._sum / self._count if self._count else 0.0,
            self._largest_relative if count else None,
            self._relative_sum / count if count else None,
            cosine,
            self._is_equal,
            (math.sqrt(self._mine), math.sqrt(self._theirs), math.sqrt(self._distance)),
        )


def _exact(mine: Array, theirs: Array, distance: Array) -> Array:
    """The distances of integers, of which float64 does not hold all that have 64 bits.

    Args:
        mine: integers.
        theirs: integers.
        distance: what float64 makes of their distances. It is near enough where it is large.

    >>> a, b = np.array([2**60, -(2**63)]), np.array([2**60 + 1, 2**63 - 1])
    >>> _exact(a, b, np.abs(a.astype("f8") - b)).tolist() == [1.0, 2.0**64]
    True
    """
    import numpy as np

    if max(mine.dtype.itemsize, theirs.dtype.itemsize) < 8:
        return distance
    a, b = mine.astype(np.uint64), theirs.astype(np.uint64)  # modulo 2**64
    between = np.where(mine >= theirs, a - b, b - a)
    return np.where(distance < 2.0**53, between.astype(np.float64), distance)


def _square(array: Array) -> float:
    """The sum of the squares of the values that are finite."""
    import numpy as np

    if array.dtype.kind in "fc" and array.dtype.itemsize >= 4:
        square = float(np.vdot(array, array).real)
        if math.isfinite(square):
            return square
    kind = np.complex128 if array.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):  # of a NaN that signals, or of squares that are too large
        wide = np.atleast_1d(array).astype(kind)
        wide = wide[np.isfinite(wide)]
        return float(np.vdot(wide, wide).real)


def _bits(array: Array) -> Array:
    """The bytes of an array."""
    import numpy as np

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
