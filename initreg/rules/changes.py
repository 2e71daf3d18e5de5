"""What a rule does to the values of one array: cast, permute, slice, pad.

A change knows what it makes of a shape and a dtype, so that a plan can be made before anything is
read, and raises ValueError, saying why, where it cannot be applied.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from initreg import dtypes
from initreg.errors import CastWarning, RuleError, warn
from initreg.text import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


class Change(Protocol):
    """One change. ``text`` says in the plan what an array of that shape and dtype went through."""

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The shape and dtype that come out. Raises ValueError if the change does not apply."""
        ...

    def text(self, shape: Shape, dtype: str) -> str: ...

    def part(self, ndim: int) -> tuple[slice, ...] | None:
        """The index of the part of an array that is left, if the change does nothing else."""
        ...

    def apply(self, array: Array, name: str) -> Array:
        """The changed array, which may share memory with the given one but no more than it needs.

        Raises RuleError if the values do not allow it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cast:
    """To another dtype, named as in :mod:`initreg.dtypes`."""

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
    """Axis ``i`` of the result is axis ``axes[i]`` of the array; None reverses them all."""

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

        # Not ascontiguousarray, which makes one axis of none.
        return np.asarray(array.transpose(self._axes(array.ndim)), order="C")

    def _axes(self, ndim: int) -> Shape:
        if self.axes is None:
            return tuple(reversed(range(ndim)))
        return tuple(axis + ndim if -ndim <= axis < 0 else axis for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Slice:
    """``start`` to ``stop`` of one axis; ``stop`` None is its end."""

    axis: int
    start: int
    stop: int | None

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        stop = shape[axis] if self.stop is None else self.stop
        if not 0 <= self.start < stop <= shape[axis]:
            raise ValueError(
                f"axis {self.axis} of shape {shape_text(shape)} has no slice {self.start}:{stop}"
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

        # A copy, so that what is left out is not kept in memory.
        return np.array(array[self.part(array.ndim)], order="C", copy=True)


@dataclass(frozen=True, slots=True)
class Pad:
    """One axis made ``length`` long; what is added is ``fill``, or the mean along the axis."""

    axis: int
    length: int
    fill: Any = 0

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        if not _is_number(dtype) and dtype != "bool":
            raise ValueError(f"an array of {dtype} cannot be padded")
        if self.length < shape[axis]:
            raise ValueError(
                f"axis {self.axis} of shape {shape_text(shape)} is longer than {self.length} "
                "already: slice it"
            )
        if self.fill == "mean" and not (dtypes.is_float(dtype) and shape[axis]):
            raise ValueError(f"shape {shape_text(shape)} of {dtype} has no mean to pad it with")
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
        """What is filled in, which may be rounded. Raises ValueError for what is out of range."""
        import numpy as np

        value = np.asarray(self.fill)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of an imaginary part that is lost
            try:
                filling = _astype(value, dtype)
                back = filling.astype(complex)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{self.fill!r} is no value of {dtype} to pad with") from error
        is_float = dtypes.is_float(dtypes.name_of(dtype)) or dtype.kind == "c"
        if is_float:  # it may round, but not out of its range nor to a real number
            same = np.isfinite(back) == np.isfinite(value)
            same = same and (dtype.kind == "c" or complex(value).imag == 0)
        else:
            same = back == value
        if not same:
            raise ValueError(f"{self.fill!r} is no value of {dtype} to pad with")
        return filling


def _axis(axis: int, shape: Shape) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"shape {shape_text(shape)} has no axis {axis}")
    return axis % len(shape)


def _is_number(dtype: str) -> bool:
    return dtype != dtypes.STRING and dtypes.itemsize(dtype) is not None and dtype != "object"


def cast_values(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """The array in another dtype of numbers; bits are never reinterpreted.

    Raises RuleError for values that an integer or bool dtype does not have. Warns, with a
    CastWarning, of floats that become infinite or lose their fraction, and of integers that a
    float cannot hold exactly.
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
    """``array.astype``; where there is no such cast, by way of a dtype that holds every value."""
    try:
        return array.astype(dtype)
    except TypeError:  # of ml_dtypes, between some of its own
        between = "int64" if dtypes.integer_bits(dtypes.name_of(dtype)) else "float64"
        return array.astype(between).astype(dtype)


def _lost(array: Array, cast: Array, have: str, want: str) -> tuple[int, str]:
    """How many values are no longer what they were, beyond a float's usual rounding, and how."""
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
        # Some float8 dtypes have no infinity, and make NaN of what they cannot hold.
        what = "infinite" if np.isinf(cast).any() else "NaN"
        was = int(np.isfinite(array).sum()) if array.dtype.kind not in "iub" else array.size
        lost = was - int(finite.sum())
        return lost, f"beyond the range of {want} became {what}"
    if want.startswith(("float4_", "float6_")):  # which have neither, and take their largest value
        large = np.abs(array.astype("f8")) > float(np.abs(cast.astype("f8")).max())
        return int(large.sum()), f"beyond the range of {want} became its largest"
    if dtypes.integer_bits(have):
        back = _astype(cast.real, array.dtype)
        return int((back != array).sum()), f"are not exact in {want}"
    return 0, ""


def _refuse_beyond(array: Array, want: str, name: str) -> None:
    """Raise RuleError for a value that the integer or bool dtype does not have."""
    if not array.size:
        return
    signed, bits = dtypes.integer_bits(want) or (False, 1)
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    is_float = dtypes.is_float(dtypes.name_of(array.dtype))
    number = float if is_float else int
    low, high = number(array.min()), number(array.max())  # NaN wins in both
    # A fraction is cut off by a cast to an integer, but makes True of every bool.
    cut = math.trunc if want != "bool" else number
    fits = math.isfinite(low) and math.isfinite(high) and least <= cut(low) and cut(high) <= most
    if want == "bool" and fits:
        fits = bool(((array == 0) | (array == 1)).all())
    if not fits:
        raise RuleError(
            f"{printable(name)}: values from {low} to {high} do not fit into {want}, so it is not "
            "cast. Drop the array, or cast it to another dtype"
        )
