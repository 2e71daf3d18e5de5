"""Arrays that are combined by a method: average, interpolation, task arithmetic, TIES, DARE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initreg.arrays.regions import Box
from initreg.merging import formulas
from initreg.merging.formulas import is_finite
from initreg.merging.inputs import (
    IN_RESULT,
    Input,
    Seen,
    computed_in,
    read_together,
    size_of,
    start_of,
)
from initreg.merging.trimming import Trim, find_trims

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to merge, and what it takes.

    Args:
        name: what the user calls it.
        words: what it does, for messages.
        needs_base: whether it is about changes of a base.
        count: how many sources it takes besides the base. None for any number.
        takes: the parameters that it has.
        is_signed: whether it elects signs, or measures angles, for which numbers must be real.
    """

    name: str
    words: str
    needs_base: bool = False
    count: int | None = None
    takes: frozenset[str] = frozenset()
    is_signed: bool = False


_DELTAS = frozenset({"weight", "normalize", "factor"})
_DARE = _DELTAS | {"density", "seed", "rescale"}
METHODS = {
    each.name: each
    for each in (
        Method("average", "average", takes=frozenset({"weight", "normalize"})),
        Method("ema", "exponential moving average", takes=frozenset({"decay", "as_given"})),
        Method("lerp", "linear interpolation", count=2, takes=frozenset({"t"})),
        Method("slerp", "spherical interpolation", False, 2, frozenset({"t"}), True),
        Method("task", "task arithmetic", True, takes=_DELTAS),
        Method("ties", "TIES", True, None, _DELTAS | {"density"}, True),
        Method("dare-linear", "DARE, linear", True, None, _DARE),
        Method("dare-ties", "DARE, with TIES", True, None, _DARE, True),
        Method("lora", "LoRA", True, None, frozenset({"weight", "alpha", "fan_in_fan_out"})),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of a method for one array.

    Args:
        weights: one for each source.
        densities: the part of the changes that is kept, one for each source.
        t: where between the two sources, from 0 to 1.
        decay: of the moving average.
        normalize: whether the sum is divided by the weights.
        factor: what the sum of the changes is multiplied by.
        rescale: how DARE makes up for what it drops: ``"density"``, ``"l1"`` or ``"none"``.
        seed: of what DARE drops.
        numbers: the number of each source, which decides with the seed what is dropped.
    """

    weights: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    t: float = 0.5
    decay: float = 0.0
    normalize: bool = True
    factor: float = 1.0
    rescale: str = "density"
    seed: int = 0
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """The value of an array that is combined from arrays of one shape.

    Args:
        name: the name of the array.
        method: the name of the method.
        inputs: the arrays of the sources, in order.
        base: that of the base, if the method is about changes of one.
        settings: the parameters.
        shape: the shape of all of them.
        dtype: the dtype of the result, a name as in :mod:`initreg.dtypes`.
        seen: notes the values that are not finite.
    """

    name: str
    method: str
    inputs: tuple[Input, ...]
    base: Input | None
    settings: Settings
    shape: tuple[int, ...]
    dtype: str
    seen: Seen

    @property
    def used(self) -> tuple[Input, ...]:
        """All arrays that go into it, the base first."""
        return self.inputs if self.base is None else (self.base, *self.inputs)

    def values(self) -> Iterator[tuple[Box, Array]]:
        """The result in pieces, in the dtype in which it is computed."""
        import numpy as np

        used = self.used
        dtype = computed_in([*(each.array.spec.dtype for each in used), self.dtype])
        self.seen.forget(self.name)
        with np.errstate(all="ignore"):  # what is not finite is reported
            combine = _combiner(self, dtype)
            for box, found in read_together(used, dtype):
                for each, values in zip(used, found, strict=True):
                    self.seen.look(self.name, each.source, values)
                result = combine(box, found)
                if not is_finite(result):
                    result = self._mended(result, found)
                yield box, result

    def _mended(self, result: Array, found: Sequence[Array]) -> Array:
        """A result in which values that are not finite are only those that have to be.

        An attention mask is infinite, or the largest number that there is, in all sources. What
        all sources agree on is kept, and a mean of finite numbers does not overflow on the way.
        What is still infinite or NaN, while the sources are finite there, is noted.
        """
        import numpy as np

        bad = ~np.isfinite(result)
        same = bad & np.logical_and.reduce([each == found[0] for each in found])
        if self.method == "slerp" or (self.method == "average" and not self.settings.normalize):
            same &= np.isinf(found[0])  # equal values may become another one
        result = np.where(same, found[0], result)
        bad &= ~same & np.logical_and.reduce([np.isfinite(each) for each in found])
        if not bad.any():
            return result
        weights = formulas.mean_weights(self.method, self.settings, len(found))
        if weights is not None:
            wide = np.result_type(result, np.float64)
            mean = formulas.weighted_sum(
                [each.astype(wide) for each in found], weights, normalize=False
            ).astype(result.dtype)
            result = np.where(bad, mean, result)
        self.seen.look(self.name, IN_RESULT, result[bad])
        return result


def _combiner(wanted: Combined, dtype: np.dtype[Any]) -> Any:
    """What makes a piece of the result of pieces of the inputs. It may read them all first."""
    settings, method = wanted.settings, wanted.method
    if method == "average":
        return lambda box, found: formulas.weighted_sum(
            found, settings.weights, normalize=settings.normalize
        )
    if method == "ema":
        return lambda box, found: formulas.moving_average(found, settings.decay)
    if method == "lerp":
        return lambda box, found: formulas.between(found[0], found[1], settings.t)
    if method == "slerp":
        a, b = _spherical(wanted, dtype)
        return lambda box, found: formulas.weighted_sum(found, (a, b), normalize=False)
    sparse = _sparse(wanted, dtype)
    formula = formulas.task_sum if method in ("task", "dare-linear") else formulas.disjoint_sum

    def combine(box: Box, found: list[Array]) -> Array:
        base, *others = found
        return formula(
            base,
            sparse(box, [formulas.change(base, other) for other in others]),
            settings.weights,
            normalize=settings.normalize,
            factor=settings.factor,
        )

    return combine


def _spherical(wanted: Combined, dtype: np.dtype[Any]) -> tuple[float, float]:
    """What the two arrays are multiplied by, from their lengths and the angle between them."""
    import numpy as np

    largest = np.zeros(2)
    for _, found in read_together(wanted.inputs, dtype):
        largest = np.maximum(largest, [np.abs(v).max(initial=0) for v in found])
    scales = [float(each) if np.isfinite(each) and each else 1.0 for each in largest]
    squares, dot = [0.0, 0.0], 0.0
    for _, found in read_together(wanted.inputs, dtype):
        # Divided by the largest value, so that no square is too large or too small.
        a, b = (
            (v.astype(np.float64) / scale).reshape(-1)
            for v, scale in zip(found, scales, strict=True)
        )
        squares[0] += float(a @ a)
        squares[1] += float(b @ b)
        dot += float(a @ b)
    lengths = [float(np.sqrt(square)) for square in squares]
    cosine = dot / (lengths[0] * lengths[1]) if lengths[0] and lengths[1] else 0.0
    return formulas.spherical_weights(
        max(-1.0, min(1.0, cosine)) if cosine == cosine else cosine,
        wanted.settings.t,
        *(length * scale for length, scale in zip(lengths, scales, strict=True)),
    )


def _sparse(wanted: Combined, dtype: np.dtype[Any]) -> Any:
    """What leaves out a part of the changes of each source."""
    settings, method = wanted.settings, wanted.method
    if method == "task":
        return lambda box, deltas: deltas
    if method == "ties":
        return _trimming(wanted, dtype)
    drop = _dropping(wanted)
    if settings.rescale == "none":
        return drop
    if settings.rescale == "density":
        return lambda box, deltas: [
            delta if density >= 1 else delta / dtype.type(density)
            for delta, density in zip(drop(box, deltas), settings.densities, strict=True)
        ]
    factors = _as_large_as_before(wanted, dtype, drop)
    return lambda box, deltas: [
        delta * dtype.type(factor) for delta, factor in zip(drop(box, deltas), factors, strict=True)
    ]


def _deltas(wanted: Combined, dtype: np.dtype[Any]) -> Iterator[tuple[Box, list[Array]]]:
    for box, (base, *others) in read_together(wanted.used, dtype):
        yield box, [formulas.change(base, other) for other in others]


def _trimming(wanted: Combined, dtype: np.dtype[Any]) -> Any:
    densities = wanted.settings.densities
    size = size_of(wanted.shape)
    counts = [formulas.count_kept(size, density) for density in densities]
    trimmed = [i for i, count in enumerate(counts) if count < size]
    found = (
        find_trims(
            lambda: ([deltas[i] for i in trimmed] for _, deltas in _deltas(wanted, dtype)),
            [counts[i] for i in trimmed],
            dtype.itemsize,
        )
        if trimmed
        else []
    )
    trims = {i: Trim(*each) for i, each in zip(trimmed, found, strict=True)}
    return lambda box, deltas: [
        trims[i].keep(delta) if i in trims else delta for i, delta in enumerate(deltas)
    ]


def _dropping(wanted: Combined) -> Any:
    import numpy as np

    settings = wanted.settings

    def drop(box: Box, deltas: Sequence[Array]) -> list[Array]:
        found = []
        start = start_of(box, wanted.shape)
        for delta, density, number in zip(
            deltas, settings.densities, settings.numbers, strict=True
        ):
            if density < 1:
                kept = formulas.kept_at_random(
                    settings.seed, number, wanted.name, start, delta.size, density
                )
                delta = np.where(kept.reshape(delta.shape), delta, delta.dtype.type(0))
            found.append(delta)
        return found

    return drop


def _as_large_as_before(wanted: Combined, dtype: np.dtype[Any], drop: Any) -> list[float]:
    """What gives the changes that are left the sum of magnitudes that all of them had."""
    import numpy as np

    before = np.zeros(len(wanted.inputs))
    after = np.zeros(len(wanted.inputs))
    for box, deltas in _deltas(wanted, dtype):
        before += [np.abs(each).sum(dtype=np.float64) for each in deltas]
        after += [np.abs(each).sum(dtype=np.float64) for each in drop(box, deltas)]
    return [
        float(one / other) if one >= 1e-7 and other >= 1e-7 else 1.0
        for one, other in zip(before, after, strict=True)
    ]
