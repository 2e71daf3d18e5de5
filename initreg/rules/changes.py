"""Changes to the values of one array: cast, permute, slice, pad.

A change can tell the shape and dtype of its result without the values, so that a plan is made
before anything is read. If it cannot be applied, it raises a ValueError that says why.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from initreg import dtypes
from initreg.errors import CastWarning, RuleError, warn
from initreg.spelling import option
from initreg.wording import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


class Change(Protocol):
    """The contract of a change."""

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The shape and dtype of the result for an array of this shape and dtype.

        Raises:
            ValueError: the change cannot be applied to such an array.
        """
        ...

    def text(self, shape: Shape, dtype: str) -> str:
        """What a plan says about the change of an array of this shape and dtype, "" for nothing."""
        ...

    def part(self, ndim: int) -> tuple[slice, ...] | None:
        """The index of the part that is left, if that is all that the change does, else None."""
        ...

    def apply(self, array: Array, name: str) -> Array:
        """The changed array. It may share memory with the given one, but keeps no other memory.

        Raises:
            RuleError: the change cannot be applied to these values.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cast:
    """A cast to another dtype, which is a name as in :mod:`initreg.dtypes`."""

    dtype: str

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        if dtype != self.dtype and not (_is_number(dtype) and _is_number(self.dtype)):
            raise ValueError(f"{dtype} cannot be cast to {self.dtype}")
        if dtype.startswith("complex") and not self.dtype.startswith("complex"):
            raise ValueError(f"{dtype} cast to {self.dtype} would lose its imaginary part")
        return shape, self.dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return "" if dtype == self.dtype else f"cast from {dtype}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        return cast_values(array, dtypes.to_numpy(self.dtype), name)


@dataclass(frozen=True, slots=True)
class Permute:
    """Another order of the axes. Axis ``i`` of the result is axis ``axes[i]`` of the array.

    ``axes=None`` reverses all axes.
    """

    axes: tuple[int, ...] | None

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axes = self._axes(len(shape))
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"{self.axes} are not the axes of shape {shape_text(shape)}")
        return tuple(shape[axis] for axis in axes), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"permuted {self._axes(len(shape))} from {shape_text(shape)}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        # Not ascontiguousarray, which adds an axis to an array without axes.
        return np.asarray(array.transpose(self._axes(array.ndim)), order="C")

    def _axes(self, ndim: int) -> Shape:
        if self.axes is None:
            return tuple(reversed(range(ndim)))
        return tuple(axis + ndim if -ndim <= axis < 0 else axis for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Slice:
    """Elements ``start`` to ``stop`` of one axis. ``stop=None`` is the end of the axis."""

    axis: int
    start: int
    stop: int | None

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        stop = shape[axis] if self.stop is None else self.stop
        if not 0 <= self.start < stop <= shape[axis]:
            raise ValueError(
                f"the slice {self.start}:{stop} is empty or out of range for axis {self.axis} of "
                f"shape {shape_text(shape)}"
            )
        return (*shape[:axis], stop - self.start, *shape[axis + 1 :]), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"sliced from {shape_text(shape)}"

    def part(self, ndim: int) -> tuple[slice, ...]:
        index = [slice(None)] * ndim
        index[self.axis] = slice(self.start, self.stop)
        return tuple(index)

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        # A copy, so that the rest of the array does not stay in memory.
        return np.array(array[self.part(array.ndim)], order="C", copy=True)


@dataclass(frozen=True, slots=True)
class Pad:
    """One axis made ``length`` long. It is filled with ``fill``, or the mean along the axis."""

    axis: int
    length: int
    fill: Any = 0

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        if not _is_number(dtype) and dtype != "bool":
            raise ValueError(f"an array of {dtype} cannot be padded")
        if self.length < shape[axis]:
            raise ValueError(
                f"axis {self.axis} of shape {shape_text(shape)} is already longer than "
                f"{self.length}: shorten it with " + option("slice")
            )
        if self.fill == "mean" and not (dtypes.is_float(dtype) and shape[axis]):
            raise ValueError(
                f"an array of {dtype} of shape {shape_text(shape)} cannot be padded with its mean"
            )
        if self.fill != "mean":
            self._filling(dtypes.to_numpy(dtype))
        return (*shape[:axis], self.length, *shape[axis + 1 :]), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"padded from {shape_text(shape)}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        axis = self.axis % array.ndim
        shape = (*array.shape[:axis], self.length, *array.shape[axis + 1 :])
        head = (*[slice(None)] * axis, slice(array.shape[axis]))
        tail = (*[slice(None)] * axis, slice(array.shape[axis], None))
        padded = np.empty(shape, array.dtype)
        padded[head] = array
        if self.fill == "mean":
            mean = array.mean(axis=axis, keepdims=True, dtype=np.float64)
            padded[tail] = mean.astype(array.dtype)
        else:
            padded[tail] = self._filling(array.dtype)
        return padded

    def _filling(self, dtype: np.dtype[Any]) -> Any:
        """The value to fill in, which may be rounded. Raises ValueError if it is out of range."""
        import numpy as np

        value = np.asarray(self.fill)
        wrong = f"cannot pad {dtype} with {self.fill!r}, which is not a value of this dtype"
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, about a lost imaginary part
            try:
                filling = _astype(value, dtype)
                back = filling.astype(complex)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{wrong}: {error}") from error
        is_float = dtypes.is_float(dtypes.name_of(dtype)) or dtype.kind == "c"
        if is_float:  # it may be rounded, but not to infinity and not to a real number
            same = np.isfinite(back) == np.isfinite(value)
            same = same and (dtype.kind == "c" or complex(value).imag == 0)
        else:
            same = back == value
        if not same:
            raise ValueError(wrong)
        return filling


def _axis(axis: int, shape: Shape) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"shape {shape_text(shape)} has no axis {axis}")
    return axis % len(shape)


def _is_number(dtype: str) -> bool:
    return dtype != dtypes.STRING and dtypes.itemsize(dtype) is not None and dtype != "object"


def cast_values(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """The array in another dtype of numbers. Values are cast; bits are never reinterpreted.

    A CastWarning is given for floats that become infinite or lose their fraction, and for
    integers that a float dtype cannot hold exactly.

    Args:
        array: the values.
        dtype: the dtype to cast to.
        name: what to call the array in an error or a warning.

    Raises:
        RuleError: a value is out of the range of an integer or bool dtype.
    """
    import numpy as np

    if array.dtype == dtype:
        return array
    have, want = dtypes.name_of(array.dtype), dtypes.name_of(dtype)
    if dtypes.integer_bits(want) or want == "bool":
        _refuse_beyond(array, want, name)
    with np.errstate(all="ignore"):
        cast = _astype(array, dtype)
        lost, how = _lost(array, cast, have, want)
    if lost:
        text = f"{printable(name)}: {plural(lost, 'value')} of {have} {how}"
        warn(text, CastWarning)
    return cast


def _astype(array: Array, dtype: np.dtype[Any]) -> Array:
    """``array.astype``. If there is no such cast, by way of a dtype that has every value."""
    try:
        return array.astype(dtype)
    except TypeError:  # ml_dtypes cannot cast between some of its own dtypes
        between = "int64" if dtypes.integer_bits(dtypes.name_of(dtype)) else "float64"
        return array.astype(between).astype(dtype)


def _lost(array: Array, cast: Array, have: str, want: str) -> tuple[int, str]:
    """How many values are lost by more than the rounding of a float, and in which way."""
    import numpy as np

    if dtypes.is_float(have) and dtypes.integer_bits(want):
        return int((array != np.trunc(array)).sum()), f"cast to {want} lost their fraction"
    inexact = dtypes.is_float(want) or want.startswith("complex")
    wider = (dtypes.itemsize(want) or 0) > (dtypes.itemsize(have) or 0) and not (
        dtypes.integer_bits(have) or want.startswith("complex")
    )
    if not inexact or wider:
        return 0, ""
    finite = np.isfinite(cast)
    if not finite.all():
        # Some float8 dtypes have no infinity. What is out of their range becomes NaN.
        what = "infinite" if np.isinf(cast).any() else "NaN"
        was = int(np.isfinite(array).sum()) if array.dtype.kind not in "iub" else array.size
        lost = was - int(finite.sum())
        return lost, f"beyond the range of {want} became {what}"
    if want.startswith(("float4_", "float6_")):  # no infinity and no NaN: the largest value
        large = np.abs(array.astype("f8")) > float(np.abs(cast.astype("f8")).max())
        return int(large.sum()), f"beyond the range of {want} became its largest value"
    if dtypes.integer_bits(have):
        back = _astype(cast.real, array.dtype)
        return int((back != array).sum()), f"are not exact in {want}"
    return 0, ""


def _refuse_beyond(array: Array, want: str, name: str) -> None:
    """Raise RuleError if a value is out of the range of the integer or bool dtype."""
    if not array.size:
        return
    signed, bits = dtypes.integer_bits(want) or (False, 1)
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    is_float = dtypes.is_float(dtypes.name_of(array.dtype))
    number = float if is_float else int
    low, high = number(array.min()), number(array.max())  # both are NaN if there is a NaN
    # A cast to an integer cuts off the fraction. A cast to bool makes True of any fraction.
    cut = math.trunc if want != "bool" else number
    fits = math.isfinite(low) and math.isfinite(high) and least <= cut(low) and cut(high) <= most
    if want == "bool" and fits:
        fits = bool(((array == 0) | (array == 1)).all())
    if not fits:
        raise RuleError(
            f"{printable(name)}: values from {low} to {high} do not fit into {want}, so it is not "
            "cast. Drop the array, or cast it to another dtype"
        )
