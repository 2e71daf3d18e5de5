"""Casts: values in another dtype of numbers, and what is lost by it.

The rounding of a float to the nearest value of another float dtype is what a cast is, and is not
reported. :func:`cast_values` reports each value that changes by more than that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from initreg import dtypes
from initreg.errors import CastWarning, RuleError, warn
from initreg.option_spelling import option
from initreg.text.wording import plural, printable

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_CHUNK = 1 << 16  # values that are compared at a time, so that little memory is used


def why_not(have: str, want: str) -> str:
    """Why no array of one dtype is cast to another one, "" if it can be cast.

    Args:
        have: the dtype of the array, a name as in :mod:`initreg.dtypes`.
        want: the dtype to cast to.

    >>> why_not("complex64", "float32")
    'complex64 cast to float32 would lose its imaginary part'
    """
    if have == want or dtypes.is_quantised_as(have, want):
        return ""
    wrong = f"{have} cannot be cast to {want}"
    for dtype in (want, have):
        if dtype in dtypes.QUANTISED:
            plain = dtypes.QUANTISED[dtype]
            return (
                f"{wrong}: {dtype} has a scale that the array does not record. Only {plain}, the "
                "dtype of its integers, can be cast to it and from it"
            )
    if not dtypes.is_number(want):
        return f"{wrong}: {want} is not a dtype of numbers"
    if not dtypes.is_number(have):
        return f"{wrong}: " + _contents(have)
    if dtypes.is_complex(have) and not dtypes.is_complex(want):
        return f"{have} cast to {want} would lose its imaginary part"
    return ""


def _contents(dtype: str) -> str:
    """What an array of a dtype that is not one of numbers holds."""
    if dtype == dtypes.STRING:
        return "the array holds strings"
    if dtype.startswith(("datetime64", "timedelta64")):
        return "the array holds dates or times"
    if dtypes.is_raw(dtype):
        kind = "float8_e4m3fn" if dtype == "|V1" else "bfloat16"
        return (
            "the array holds raw bytes, and its file does not say of what dtype. numpy writes "
            "bfloat16 and float8 so. Say what it is, with "
        ) + option("view", kind)
    return f"the array holds {dtype}, which are not numbers"


class Losses:
    """What casts of the pieces of one array lose, to be reported once for all of them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, have: str, losses: Iterable[tuple[int, str]]) -> None:
        """Add what the cast of one piece lost: how many values of which dtype, and how."""
        for count, how in losses:
            self._counts[have, how] = self._counts.get((have, how), 0) + count

    def tell(self, name: str) -> None:
        """Give a CastWarning, if there were losses."""
        if self._counts:
            texts = (
                f"{plural(count, 'value')} of {have} {how}"
                for (have, how), count in self._counts.items()
            )
            warn(f"{printable(name)}: {'; '.join(texts)}", CastWarning)


def cast_values(
    array: Array, dtype: np.dtype[Any], name: str, losses: Losses | None = None
) -> Array:
    """The array in another dtype of numbers. Values are cast; bits are never reinterpreted.

    One CastWarning is given for all values that change by more than the rounding of a float. It
    counts those that become infinite, NaN or 0, those that end up at the limits of the dtype, NaN
    that becomes a number, fractions that are cut off, and integers that a float dtype cannot hold
    exactly.

    Args:
        array: the values.
        dtype: the dtype to cast to.
        name: what to call the array in an error or a warning.
        losses: takes in what is lost, so that there is no warning.

    Raises:
        RuleError: the dtypes are not both of numbers, an imaginary part would be lost, or a value
            is out of the range of an integer or bool dtype.
    """
    import numpy as np

    if array.dtype == dtype:
        return array
    have, want = dtypes.name_of(array.dtype), dtypes.name_of(dtype)
    if have == dtypes.STRING and dtype == dtypes.to_numpy(dtypes.STRING):
        return array.astype(dtype)  # strings of a fixed width, as objects
    reason = why_not(have, want)
    if reason:
        raise RuleError(f"{printable(name)}: {reason}")
    with np.errstate(all="ignore"):
        if dtypes.integer_bits(want) or want == "bool":
            _refuse_beyond(array, want, name)
        cast = astype(array, dtype)
        lost = losses_of(array, cast)
    told = Losses() if losses is None else losses
    told.add(have, ((count, how) for how, count in lost))
    if losses is None:
        told.tell(name)
    return cast


def astype(array: Array, dtype: np.dtype[Any]) -> Array:
    """``array.astype``. If there is no such cast, by way of a dtype that has every value."""
    if dtypes.is_complex(dtypes.name_of(dtype)) and array.dtype.kind not in "fiubc":
        array = array.astype(_wide(array.dtype))  # ml_dtypes 0.6 takes complex32 for bcomplex32
    try:
        return array.astype(dtype)
    except TypeError:  # ml_dtypes cannot cast between some of its own dtypes
        between = "int64" if dtypes.integer_bits(dtypes.name_of(dtype)) else "float64"
        return array.astype(between).astype(dtype)


def _refuse_beyond(array: Array, want: str, name: str) -> None:
    """Raise RuleError if a value is out of the range of the integer or bool dtype."""
    import numpy as np

    if not array.size:
        return
    signed, bits = dtypes.integer_bits(want) or (False, 1)
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    is_usual = array.dtype.isbuiltin == 1 and array.dtype.kind != "b"
    wide = array if is_usual else array.astype(_wide(array.dtype))
    low, high = wide.min().item(), wide.max().item()  # both are NaN if there is a NaN
    fits = bool(np.isfinite(low) and np.isfinite(high))
    if fits and want == "bool":
        fits = bool(((wide == 0) | (wide == 1)).all())  # a cast would make True of any number
    elif fits:  # a cast to an integer cuts off the fraction
        fits = least <= int(low) and int(high) <= most
    if not fits:
        raise RuleError(
            f"{printable(name)}: values from {low} to {high} do not fit into {want}, so it is not "
            "cast. Drop the array, or cast it to another dtype"
        )


# --- losses -------------------------------------------------------------------------------------


class _Limits(NamedTuple):
    """What a float dtype can hold. The limits are positive, and exact."""

    largest: Any
    smallest: Any
    has_nan: bool
    has_infinity: bool
    has_zero: bool
    has_sign: bool

    def holds(self, other: _Limits) -> bool:
        """Whether all values of the other dtype are in the range of this one."""
        return (
            self.largest >= other.largest
            and self.smallest <= other.smallest
            and all(mine or not theirs for mine, theirs in zip(self[2:], other[2:], strict=True))
        )


@functools.cache
def _limits(dtype: np.dtype[Any]) -> _Limits:
    """The limits of a real float dtype, as casts to it show them."""
    import ml_dtypes
    import numpy as np

    with np.errstate(all="ignore"):
        nan, infinity, zero, minus = np.array([np.nan, np.inf, 0, -1]).astype(dtype).astype("f8")
    finfo: Any = np.finfo if dtype.isbuiltin == 1 else ml_dtypes.finfo
    # Not that of numpy's finfo, which warns where a library made the processor ignore subnormals.
    smallest = (
        np.nextafter(dtype.type(0), dtype.type(1))
        if dtype.isbuiltin == 1
        else finfo(dtype).smallest_subnormal
    )
    return _Limits(
        np.longdouble(finfo(dtype).max),
        np.longdouble(smallest),
        bool(np.isnan(nan)),
        bool(np.isinf(infinity)),
        bool(zero == 0),
        bool(minus == -1),
    )


@functools.cache
def _component(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The float dtype of the real part of a complex dtype. Another dtype as it is."""
    name = dtypes.name_of(dtype)
    if not dtypes.is_complex(name):
        return dtype
    if name == "bcomplex32":
        return dtypes.to_numpy("bfloat16")
    return dtypes.to_numpy(f"float{int(name.removeprefix('complex')) // 2}")


def _wide(dtype: np.dtype[Any]) -> str:
    """A float or complex dtype of numpy that has every value of this one, but for large integers,
    which are rounded."""
    name = dtypes.name_of(dtype)
    if dtypes.is_complex(name):
        return "G" if dtype.itemsize > 16 else "D"
    if dtypes.is_float(name):
        return "f" if dtype.itemsize <= 4 else "d" if dtype.itemsize == 8 else "g"
    return "d"


def losses_of(array: Array, cast: Array) -> list[tuple[str, int]]:
    """What is lost by a cast, in words, each with the number of values. The rounding of floats is
    no loss.

    Args:
        array: the values.
        cast: the same values in another dtype.
    """
    import numpy as np

    have, want = dtypes.name_of(array.dtype), dtypes.name_of(cast.dtype)
    if want == "bool" or (dtypes.integer_bits(want) and not dtypes.is_float(have)):
        return []
    counts: dict[str, int] = {}
    if dtypes.integer_bits(want):
        counts[f"cast to {want} lost their fraction"] = sum(
            int(np.count_nonzero(values != np.trunc(values))) for values, _ in _chunks(array, cast)
        )
    else:
        limits = _limits(_component(cast.dtype))
        if not _is_integer(array) and limits.holds(_limits(_component(array.dtype))):
            return []
        for values, changed in _chunks(array, cast):
            if _are_in_range(values, limits):
                continue
            some = _suspects(values, changed, limits)
            for how, lost in _losses(values[some], changed[some], limits, want).items():
                counts[how] = counts.get(how, 0) + int(np.count_nonzero(lost))
    return [(how, count) for how, count in counts.items() if count]


def _chunks(array: Array, cast: Array) -> Iterator[tuple[Array, Array]]:
    values, changed = array.reshape(-1), cast.reshape(-1)
    for start in range(0, values.size, _CHUNK):
        yield values[start : start + _CHUNK], changed[start : start + _CHUNK]


def _parts(values: Array, changed: Array) -> list[tuple[Array, Array]]:
    """The values before and after the cast, as floats, and so their imaginary parts if they have
    any."""
    old = values.astype(_wide(values.dtype), copy=False)
    new = changed.astype(_wide(changed.dtype), copy=False)
    parts = [(old.real, new.real)]
    return [*parts, (old.imag, new.imag)] if old.dtype.kind == "c" else parts


def _are_in_range(values: Array, limits: _Limits) -> bool:
    """Whether all are 0 or between the limits, as the weights of a model usually are."""
    import numpy as np

    if _is_integer(values) or not (limits.has_zero and limits.has_sign):
        return False
    wide = values.astype(_wide(values.dtype), copy=False)
    if wide.dtype.kind == "c":
        return False
    size = np.abs(wide)
    small = np.count_nonzero(size < limits.smallest.astype(size.dtype))
    zeros = size.size - np.count_nonzero(size)
    return bool(size.max() <= limits.largest.astype(size.dtype)) and small == zeros


def _suspects(values: Array, changed: Array, limits: _Limits) -> Array:
    """Which values may be lost, so that the others are not looked at more closely."""
    import numpy as np

    found = np.zeros(values.shape, bool)
    for old, new in _parts(values, changed):
        found |= ~np.isfinite(new)
        found |= (new == 0) & (old != 0)
        if not limits.has_nan:
            found |= ~(np.abs(old) <= limits.largest.astype(old.dtype))
        if not limits.has_zero:
            found |= old < limits.smallest.astype(old.dtype)
        if _is_integer(values):
            found |= ~_is_exact(values, old, new)
    return found


def _losses(values: Array, changed: Array, limits: _Limits, want: str) -> dict[str, Array]:
    """For each way in which values are lost, which ones are, in one of their parts or in both."""
    import numpy as np

    found: dict[str, Array] = {}

    def lost(which: Array, how: str) -> None:
        found[how] = found[how] | which if how in found else which

    for old, new in _parts(values, changed):
        was_nan, to_nan = np.isnan(old), np.isnan(new) & ~np.isnan(old)
        # Where there is an infinity or a NaN to become, a finite result is a rounded one.
        cut = (np.abs(old) > limits.largest.astype(old.dtype)) & (not limits.has_nan)
        zero, minus = (old == 0), (old < 0) & (not limits.has_sign)
        lost(np.isinf(new) & np.isfinite(old), f"beyond the range of {want} became infinite")
        lost(to_nan & ~zero & ~minus, f"beyond the range of {want} became NaN")
        lost(cut, f"beyond the range of {want} became its largest value")
        lost((new == 0) & ~zero & ~was_nan, f"too small for {want} became 0")
        if not limits.has_zero:
            raised = (old > 0) & (old < limits.smallest.astype(old.dtype)) & np.isfinite(new)
            lost(raised, f"too small for {want} became its smallest value")
            lost(to_nan & zero, f"changed from 0 to NaN, because {want} has no 0")
        if not limits.has_sign:
            lost(to_nan & minus, f"below 0 became NaN, because {want} has no negative numbers")
        if not limits.has_nan:
            how = f"changed from NaN to a number, because {want} has no NaN"
            lost(was_nan & ~np.isnan(new), how)
        if _is_integer(values):
            inexact = np.isfinite(new) & ~cut & ~_is_exact(values, old, new)
            lost(inexact, f"are not exact in {want}")
    return found


def _is_integer(values: Array) -> bool:
    return values.dtype.kind in "iub" or dtypes.integer_bits(values.dtype.name) is not None


def _is_exact(integers: Array, old: Array, new: Array) -> Array:
    """Which integers a float dtype holds exactly. ``old`` are the integers as floats, which may be
    rounded, and ``new`` are the results of the cast. What is not finite is not exact."""
    import numpy as np

    if integers.dtype.itemsize < 8:
        exact: Array = old == new
        return exact
    # Back as integers. A float that no such integer has would become any integer.
    info = np.iinfo(integers.dtype)
    inside = (new >= info.min) & (new < 2.0 ** info.max.bit_length())
    back = np.where(inside, new, 0).astype(integers.dtype)
    found: Array = inside & (back == integers)
    return found
