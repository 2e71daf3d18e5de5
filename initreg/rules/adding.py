"""Adding: a number to an array, or several arrays into one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from initreg import dtypes
from initreg.records import record
from initreg.rules.casting import astype
from initreg.rules.combining import Combining, rounded

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


@record(kw_only=True)
class Add(Combining):
    """The sum of an array and of a number, or of the other arrays that it needs.

    It is computed in float64, or in complex128, and rounded once.

    Args:
        number: the number.
    """

    takes_apart: ClassVar[bool] = False
    number: float = 0.0

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        if not (dtypes.is_float(dtype) or dtypes.is_complex(dtype)):
            what = "summed" if self.needs else "added to"
            raise ValueError(f"an array of {dtype} cannot be {what}")
        return shape, dtype

    def text(self, shape: Shape, dtype: str) -> str:
        if self.needs:
            return "summed with " + ", ".join(need.spec.origin for need in self.needs)
        return f"added {self.number:g}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        is_complex = dtypes.is_complex(dtypes.name_of(array.dtype))
        wide = np.dtype("c16" if is_complex else "f8")
        found = astype(array, wide) + self.number
        with np.errstate(all="ignore"):
            for other in self.others:
                found += astype(other.read(), wide)
        return rounded(found, found, array.dtype, name, "summed")


def add(number: float) -> Add:
    """The change that adds a number.

    Raises:
        TypeError: it is not one.
        ValueError: it is not finite.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError
    if not math.isfinite(number):
        raise ValueError
    return Add(number=float(number))
