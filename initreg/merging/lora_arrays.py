"""Arrays of a model into which the low-rank updates of adapters are added: LoRA and DoRA.

Sources: Hu et al., "LoRA" (2021), arXiv:2106.09685. Liu et al., "DoRA" (2024), arXiv:2402.09353.
Kalajdzievski, "rsLoRA" (2023), arXiv:2312.03732. Where the factors of embeddings and convolutions
lie: ``peft/tuners/lora/layer.py`` of peft 0.21, and ``networks/lora.py`` of kohya's sd-scripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.regions import Box
from initreg.merging.formulas import is_finite
from initreg.merging.inputs import IN_RESULT, Input, Seen, computed_in, read_together

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What one adapter adds to one array.

    Args:
        source: what messages call the adapter.
        up: the factor with an axis for the outputs: (out, rank, ...). For a bias, what is added.
        down: the factor with an axis for the inputs: (rank, in, ...). None for a bias.
        scale: what the product is multiplied by.
        is_transposed: whether the array has its inputs first, as embeddings and the kernels of
            Keras do.
        magnitude: the lengths of the outputs, of DoRA. None for LoRA.
    """

    source: str
    up: LazyArray
    down: LazyArray | None
    scale: float
    is_transposed: bool = False
    magnitude: LazyArray | None = None

    @property
    def used(self) -> tuple[Input, ...]:
        """The arrays of the adapter that go into it."""
        found = (self.up, self.down, self.magnitude)
        return tuple(Input(each, self.source) for each in found if each is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Updated:
    """The value of an array of the base with the updates of adapters.

    Args:
        name: the name of the array.
        base: the array of the base.
        updates: what is added. Only a single one may have a magnitude.
        shape: the shape of the array.
        dtype: the dtype of the result, a name as in :mod:`initreg.dtypes`.
        seen: notes the values that are not finite.
    """

    name: str
    base: Input
    updates: tuple[Update, ...]
    shape: tuple[int, ...]
    dtype: str
    seen: Seen

    @property
    def used(self) -> tuple[Input, ...]:
        """All arrays that go into it, the base first."""
        return (self.base, *(each for update in self.updates for each in update.used))

    def values(self) -> Iterator[tuple[Box, Array]]:
        """The result in pieces, in the dtype in which it is computed."""
        import numpy as np

        dtype = computed_in([*(each.array.spec.dtype for each in self.used), self.dtype])
        self.seen.forget(self.name)
        with np.errstate(all="ignore"):  # what is not finite is reported
            factors = [_Factors(update, self.name, dtype, self.seen) for update in self.updates]
            magnitude = self._lengths(factors, dtype)
            given = [array for each in factors for array in each.arrays]
            given += [] if magnitude is None else [magnitude]
            for box, [values] in read_together([self.base], dtype):
                self.seen.look(self.name, self.base.source, values)
                result = self._updated(box, values, factors, magnitude)
                if not is_finite(result) and all(is_finite(each) for each in given):
                    self.seen.look(self.name, IN_RESULT, result[np.isfinite(values)])
                yield box, result

    def _updated(
        self, box: Box, values: Array, factors: list[_Factors], lengths: Array | None
    ) -> Array:
        total = None
        for each in factors:
            update = each.region(box)
            total = update if total is None else total + update
        values = values + total
        if lengths is None:
            return values
        axis = 1 if self.updates[0].is_transposed else 0
        part = lengths[box.starts[axis] : box.stops[axis]]
        shape = [1] * values.ndim
        shape[axis] = -1
        return values * part.reshape(shape)

    def _lengths(self, factors: list[_Factors], dtype: np.dtype[Any]) -> Array | None:
        """What each output is multiplied by, for DoRA: its magnitude by the length that it has."""
        import numpy as np

        magnitude = self.updates[0].magnitude
        if magnitude is None:
            return None
        axis = 1 if self.updates[0].is_transposed else 0
        squares = np.zeros(self.shape[axis])
        for box, [values] in read_together([self.base], dtype):
            values = self._updated(box, values, factors, None).astype(np.float64)
            others = tuple(i for i in range(values.ndim) if i != axis)
            squares[box.starts[axis] : box.stops[axis]] += np.square(values).sum(axis=others)
        lengths = np.sqrt(squares).astype(dtype)
        given = magnitude.read().astype(dtype).reshape(-1)
        self.seen.look(self.name, self.updates[0].source, given)
        found: Array = given / lengths
        # An output of length 0 has no direction.
        self.seen.look(self.name, f"{self.updates[0].source}, magnitudes by lengths", found)
        return found


class _Factors:
    """The two factors of an update, in memory."""

    def __init__(self, update: Update, name: str, dtype: np.dtype[Any], seen: Seen) -> None:
        self._update = update
        self._scale = dtype.type(update.scale)
        self._up = update.up.read().astype(dtype)
        seen.look(name, update.source, self._up)
        self._down: Array | None = None
        if update.down is not None:
            self._down = update.down.read().astype(dtype)
            seen.look(name, update.source, self._down)
            self._up = self._up.reshape(self._up.shape[0], -1)

    @property
    def arrays(self) -> list[Array]:
        """Its factors."""
        return [self._up] if self._down is None else [self._up, self._down]

    def region(self, box: Box) -> Array:
        """The update of a region of the array."""
        if self._down is None:
            found: Array = self._up[box.slices] * self._scale
            return found
        if self._update.is_transposed:
            first, last = box.slices
            product = self._down[:, first].T @ self._up[last].T
        else:
            outputs, *inputs = box.slices
            down = self._fitted(box)[(slice(None), *inputs)]
            product = self._up[outputs] @ down.reshape(len(down), -1)
        scaled: Array = product.reshape(box.shape) * self._scale
        return scaled

    def _fitted(self, box: Box) -> Array:
        """The lower factor with as many axes as the array, which a convolution of one pixel may
        have more or less of."""
        assert self._down is not None
        missing = len(box.shape) - self._down.ndim
        if missing >= 0:
            return self._down.reshape(*self._down.shape, *(1,) * missing)
        return self._down.reshape(self._down.shape[: len(box.shape)])
