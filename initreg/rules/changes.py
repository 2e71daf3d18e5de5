"""Changes to the values of one array: cast, view, permute, reshape, slice, pad, split, unstack.

A change can tell the shape and dtype of its result without the values, so that a plan is made
before anything is read. If it cannot be applied, it raises a ValueError that says why.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from initreg import dtypes
from initreg.errors import RuleError
from initreg.option_spelling import option
from initreg.records import record
from initreg.rules.casting import astype, cast_values, losses_of, why_not
from initreg.text.wording import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


class Change(Protocol):
    """The contract of a change.

    ``takes_apart`` says whether the result is one of the parts that an array is taken apart into.

    A change of which a part of the result needs only a part of the array has two more methods:
    ``region(starts, stops, shape)`` says which region of an array of this shape a region of the
    result is made of. ``apply_to_region(array, name)`` makes it of that.
    """

    takes_apart: ClassVar[bool]

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The shape and dtype of the result for an array of this shape and dtype.

        Raises:
            ValueError: the change cannot be applied to such an array.
        """
        ...

    def text(self, shape: Shape, dtype: str) -> str:
        """What a plan says about the change of an array of this shape and dtype, "" for nothing."""
        ...

    def part(self, ndim: int) -> tuple[slice | int, ...] | None:
        """The index of the part that is left, if that is all that the change does, else None."""
        ...

    def apply(self, array: Array, name: str) -> Array:
        """The changed array. It may share memory with the given one, but keeps no other memory.

        Raises:
            RuleError: the change cannot be applied to these values.
        """
        ...


@record()
class Cast:
    """A cast to another dtype, which is a name as in :mod:`initreg.dtypes`."""

    takes_apart: ClassVar[bool] = False
    dtype: str

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        reason = why_not(dtype, self.dtype)
        if reason:
            raise ValueError(reason)
        return shape, self.dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return "" if dtype == self.dtype else f"cast from {dtype}"

    def part(self, ndim: int) -> None:
        return None

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        return starts, stops

    def apply(self, array: Array, name: str) -> Array:
        return cast_values(array, dtypes.to_numpy(self.dtype), name)


@record()
class View:
    """The same bits as another dtype, whose elements have as many bytes.

    For files that do not say of what dtype an array is. numpy saves bfloat16 as raw bytes, and
    other programs save it as uint16.
    """

    takes_apart: ClassVar[bool] = False
    dtype: str

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        wrong = f"{dtype} cannot be viewed as {self.dtype}"
        for each in (dtype, self.dtype):
            if not (dtypes.is_number(each) or dtypes.is_raw(each)):
                raise ValueError(f"{wrong}: {each} is not a dtype of numbers, or raw bytes")
        if self.dtype == "bool" != dtype:
            raise ValueError(f"{wrong}: not all bits are a bool. Use " + option("cast"))
        have, want = dtypes.itemsize(dtype), dtypes.itemsize(self.dtype)
        if have != want:
            raise ValueError(
                f"{wrong}: an element of {dtype} has {_bytes(have)}, and one of {self.dtype} has "
                + _bytes(want)
            )
        return shape, self.dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return "" if dtype == self.dtype else f"viewed from {dtype}"

    def part(self, ndim: int) -> None:
        return None

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        return starts, stops

    def apply_to_region(self, array: Array, name: str) -> Array:
        return self.apply(array, name)

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        viewed = np.asarray(array, order="C").view(dtypes.to_numpy(self.dtype))
        # The dtypes of less than a byte leave bits unused, which are never set in their values.
        bits = dtypes.bits_in_a_byte(self.dtype)
        odd = int(np.count_nonzero(viewed.view("u1") >> bits)) if bits < 8 else 0
        if odd:
            count = plural(odd, "element")
            raise RuleError(
                f"{printable(name)}: {count} cannot be {self.dtype}, because bits are set that it "
                f"does not have. Is the array {self.dtype}?"
            )
        return viewed


def _bytes(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else plural(count, "byte")


@record()
class Permute:
    """Another order of the axes. Axis ``i`` of the result is axis ``axes[i]`` of the array.

    ``axes=None`` reverses all axes.
    """

    takes_apart: ClassVar[bool] = False
    axes: tuple[int, ...] | None

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axes = self.order(len(shape))
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"{self.axes} are not the axes of shape {shape_text(shape)}")
        return tuple(shape[axis] for axis in axes), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"permuted {self.order(len(shape))} from {shape_text(shape)}"

    def part(self, ndim: int) -> None:
        return None

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        order = self.order(len(shape))
        at = [order.index(axis) for axis in range(len(shape))]
        return tuple(starts[i] for i in at), tuple(stops[i] for i in at)

    def apply_to_region(self, array: Array, name: str) -> Array:
        return self.apply(array, name)

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        # Not ascontiguousarray, which adds an axis to an array without axes.
        return np.asarray(array.transpose(self.order(array.ndim)), order="C")

    def order(self, ndim: int) -> Shape:
        """The axes of an array in their new order, each counted from the front."""
        if self.axes is None:
            return tuple(reversed(range(ndim)))
        return tuple(axis + ndim if -ndim <= axis < 0 else axis for axis in self.axes)


@record()
class Slice:
    """Elements ``start`` to ``stop`` of one axis. ``stop=None`` is the end of the axis."""

    takes_apart: ClassVar[bool] = False
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

    def part(self, ndim: int) -> tuple[slice | int, ...]:
        index: list[slice | int] = [slice(None)] * ndim
        index[self.axis] = slice(self.start, self.stop)
        return tuple(index)

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        axis = self.axis % len(shape)
        return _moved(starts, axis, self.start), _moved(stops, axis, self.start)

    def apply_to_region(self, array: Array, name: str) -> Array:
        return array

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        # A copy, so that the rest of the array does not stay in memory.
        return np.array(array[self.part(array.ndim)], order="C", copy=True)


class Part(Slice):
    """One of the parts that an array is split into along an axis."""

    takes_apart: ClassVar[bool] = True

    def text(self, shape: Shape, dtype: str) -> str:
        return f"split from {shape_text(shape)}"


@record()
class Pick:
    """What an array has at one index of an axis, without that axis."""

    takes_apart: ClassVar[bool] = True
    axis: int
    index: int

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        return (*shape[:axis], *shape[axis + 1 :]), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return f"unstacked from {shape_text(shape)}"

    def part(self, ndim: int) -> tuple[slice | int, ...]:
        index: list[slice | int] = [slice(None)] * ndim
        index[self.axis] = self.index
        return tuple(index)

    def region(self, starts: Shape, stops: Shape, shape: Shape) -> tuple[Shape, Shape]:
        axis = self.axis % len(shape)
        first = self.index % shape[axis]
        return (
            (*starts[:axis], first, *starts[axis:]),
            (*stops[:axis], first + 1, *stops[axis:]),
        )

    def apply_to_region(self, array: Array, name: str) -> Array:
        return array.squeeze(self.axis)

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        return np.array(array[self.part(array.ndim)], order="C", copy=True)


@record()
class Reshape:
    """Another shape with as many elements, in the same order. One axis may be -1."""

    takes_apart: ClassVar[bool] = False
    shape: Shape

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        wrong = f"shape {shape_text(shape)} cannot become {shape_text(self.shape)}"
        if any(axis < -1 for axis in self.shape) or self.shape.count(-1) > 1:
            raise ValueError(
                f"{wrong}: only one axis may be -1, and none any other negative number"
            )
        have, want = math.prod(shape), math.prod(axis for axis in self.shape if axis != -1)
        if -1 not in self.shape:
            if have != want:
                raise ValueError(f"{wrong}: {have:,} elements are not {want:,}")
            return self.shape, dtype
        if not want or have % want:
            raise ValueError(f"{wrong}: {have:,} elements are not a multiple of {want:,}")
        return tuple(have // want if axis == -1 else axis for axis in self.shape), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        return "" if shape == self.shape else f"reshaped from {shape_text(shape)}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        return array.reshape(self.announce(array.shape, "")[0])


@record()
class Pad:
    """One axis made ``length`` long. It is filled with ``fill``, or the mean along the axis."""

    takes_apart: ClassVar[bool] = False
    axis: int
    length: int
    fill: Any = 0

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = _axis(self.axis, shape)
        if not dtypes.is_number(dtype) and dtype not in dtypes.QUANTISED:
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
            self.filling(dtypes.to_numpy(dtype))
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
            padded[tail] = self.filling(array.dtype)
        return padded

    def filling(self, dtype: np.dtype[Any]) -> Any:
        """The value to fill in, which may be rounded. Raises ValueError if it is out of range."""
        import numpy as np

        value = np.asarray(self.fill)
        name = dtypes.name_of(dtype)
        wrong = f"cannot pad {dtype} with {self.fill!r}, which is not a value of this dtype"
        if value.dtype.kind == "c" and not dtypes.is_complex(name):
            if value.imag != 0:
                raise ValueError(wrong)
            value = value.real  # else numpy warns, and no thread can silence that for itself alone
        with np.errstate(all="ignore"):
            try:
                filling = astype(value, dtype)
                back = filling.astype(complex)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{wrong}: {error}") from error
        if dtypes.is_float(name):  # it may be rounded
            same = complex(value).imag == 0 and not losses_of(value.real.astype("f8"), filling)
        elif dtypes.is_complex(name):
            same = not losses_of(value.astype(complex), filling)
        else:
            same = back == value
        if not same:
            raise ValueError(wrong)
        return filling


def _moved(at: Shape, axis: int, by: int) -> Shape:
    return (*at[:axis], at[axis] + by, *at[axis + 1 :])


def _axis(axis: int, shape: Shape) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"shape {shape_text(shape)} has no axis {axis}")
    return axis % len(shape)
