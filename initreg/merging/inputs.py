"""What goes into one merged array: read in pieces, in the dtype in which it is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from initreg import dtypes
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.pieces import pieces
from initreg.arrays.regions import Box, whole

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PIECE = 8 << 20  # bytes of an array that are looked at at a time
_TOGETHER = 48 << 20  # bytes of all inputs together, if these are fewer
_LEAST = 1 << 20
IN_RESULT = "the result, of finite values"  # what Seen calls the source of what overflows


class Input(NamedTuple):
    """One array that goes into a merged array.

    Args:
        array: the array.
        source: what messages call its source.
    """

    array: LazyArray
    source: str


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Values of a source of a merge that are NaN or infinite.

    Args:
        name: the name of the merged array.
        source: what messages call the source.
        nan: how many values are NaN.
        inf: how many are infinite.
    """

    name: str
    source: str
    nan: int
    inf: int

    def to_dict(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return {"name": self.name, "source": self.source, "nan": self.nan, "inf": self.inf}


class Seen:
    """Notes the values that are NaN or infinite while arrays are merged."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    def look(self, name: str, source: str, values: Array) -> None:
        """Look at a piece of an array."""
        import numpy as np

        flat = values.reshape(-1)
        # The product is finite in nearly all cases, and takes no memory.
        with np.errstate(all="ignore"):
            if np.isfinite(np.vdot(flat, flat)):
                return
        nan, inf = (int(np.count_nonzero(is_(flat))) for is_ in (np.isnan, np.isinf))
        if nan or inf:
            had = self._counts.get((name, source), (0, 0))
            self._counts[name, source] = (had[0] + nan, had[1] + inf)

    def forget(self, name: str) -> None:
        """Forget what was seen of an array that is read once more."""
        for key in [key for key in self._counts if key[0] == name]:
            del self._counts[key]

    def found(self) -> tuple[NonFinite, ...]:
        """All that was seen."""
        return tuple(NonFinite(*key, *counts) for key, counts in self._counts.items())


def computed_in(names: Iterable[str]) -> np.dtype[Any]:
    """The dtype in which arrays of these dtypes are merged: float32, or a wider one of theirs.

    >>> computed_in(["bfloat16", "float32"]), computed_in(["float64", "float16"])
    (dtype('float32'), dtype('float64'))
    """
    import numpy as np

    found = np.dtype(np.float32)
    for name in names:
        dtype = dtypes.to_numpy(name)
        wide = dtype if dtype.isbuiltin == 1 and dtype.kind in "fc" else np.dtype(np.float32)
        if name == "bcomplex32" or dtypes.is_complex(name):
            wide = np.result_type(wide, np.complex64)
        found = np.result_type(found, wide)
    return found


def read_together(
    inputs: Sequence[Input], dtype: np.dtype[Any], region: Box | None = None
) -> Iterator[tuple[Box, list[Array]]]:
    """Read arrays of one shape side by side, in pieces.

    Args:
        inputs: the arrays.
        dtype: the dtype that their values are cast to.
        region: the region to read. By default, everything.

    Yields:
        The region of each piece, and the values of each array there.
    """
    shape = inputs[0].array.shape
    most = max(_LEAST, min(_PIECE, _TOGETHER // len(inputs)))
    # Arrays that take the same bytes in this dtype are cut at the same places.
    boxes = [whole(shape) if region is None else region]
    found = [pieces(each.array, boxes, most, dtype, is_all=region is None) for each in inputs]
    for each in zip(*found, strict=True):
        yield each[0][1], [values for _, _, _, values in each]


def start_of(box: Box, shape: tuple[int, ...]) -> int:
    """The index of the first element of a region in an array, in C order.

    >>> start_of(Box((1, 2), (2, 4), ()), (3, 4))
    6
    """
    found = 0
    for start, length in zip(box.starts, shape, strict=True):
        found = found * length + start
    return found


def size_of(shape: Sequence[int]) -> int:
    """The number of elements."""
    return math.prod(shape)
