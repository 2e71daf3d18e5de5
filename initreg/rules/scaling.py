"""Multiplying arrays by numbers, or by other arrays: the scales of quantised weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from initreg import dtypes
from initreg.errors import RuleError
from initreg.option_spelling import either, join
from initreg.option_spelling import option as option_text
from initreg.records import record, replace
from initreg.rules.casting import astype
from initreg.rules.combining import Combining, made_of, refuse_unreadable, rounded
from initreg.rules.name_templates import Template
from initreg.rules.rule import Entry, Outcome
from initreg.specs import ArraySpec
from initreg.text.wording import shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


@record(kw_only=True)
class Scale(Combining):
    """A multiplication of an array by a number, or by the other array that it needs.

    Args:
        factor: the number, or None.
        block: for each axis, how many elements share one of the other array's, () if the axes of
            the other array are as long or of length 1.
    """

    takes_apart: ClassVar[bool] = False
    factor: float | None
    block: tuple[int, ...] = ()

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        integers = dtypes.integer_bits(dtypes.QUANTISED.get(dtype, dtype))
        if not (dtypes.is_float(dtype) or (self.needs and integers)):
            raise ValueError(f"an array of {dtype} cannot be scaled")
        if not self.needs:
            return shape, dtype
        scale = self.needs[0].spec
        what = f"the scale {scale.name!r} of shape {shape_text(scale.shape)}"
        if not dtypes.is_float(scale.dtype):
            raise ValueError(f"{what} is of {scale.dtype}, and not of floats")
        is_larger = (dtypes.itemsize(scale.dtype) or 0) > (dtypes.itemsize(dtype) or 0)
        if scale.dtype != dtype and not is_larger:
            raise ValueError(
                f"{what} is of {scale.dtype}, which may hold less than {dtype}. Cast one of them "
                "first"
            )
        if self.block and len(self.block) != len(shape):
            raise ValueError(
                f"shape {shape_text(shape)} has not the {len(self.block)} axes of blocks"
            )
        wanted = tuple(-(-n // size) for n, size in zip(shape, self.block, strict=False))
        fits = (
            scale.shape == wanted
            if self.block
            else math.prod(scale.shape) == 1
            or (
                len(scale.shape) == len(shape)
                and all(a in (1, n) for a, n in zip(scale.shape, shape, strict=True))
            )
        )
        if not fits:
            expected = (
                f"{shape_text(wanted)} for blocks of {shape_text(self.block)}"
                if self.block
                else "one number, or an axis for each, as long or of length 1"
            )
            raise ValueError(f"{what} does not fit {shape_text(shape)}: it must have {expected}")
        return shape, scale.dtype

    def text(self, shape: Shape, dtype: str) -> str:
        by = self.needs[0].spec.origin if self.needs else self.factor
        return f"scaled by {by}" + (f" from {dtype}" if self.needs else "")

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        if not self.others:
            scale: Any = np.asarray(self.factor)
            dtype = array.dtype
        else:
            scale = self.others[0].read()
            dtype = scale.dtype
            scale = scale.reshape(()) if scale.size == 1 and not self.block else scale
            for axis, size in enumerate(self.block):
                scale = np.repeat(scale, size, axis)
                scale = scale[(*[slice(None)] * axis, slice(array.shape[axis]))]
        wide = array if array.dtype == dtype else astype(array, dtype)
        with np.errstate(all="ignore"):
            found = wide * astype(scale, dtype)
        return rounded(found, wide, dtype, name, "scaled")


class _Scaled:
    """The rule of one option ``scale=``."""

    def __init__(self, specs: Sequence[_Spec]) -> None:
        self._specs = specs
        self.clauses = [spec.clause for spec in specs]

    def apply(self, outcome: Outcome) -> None:
        entries: list[Entry | None] = list(outcome.entries)
        scaled: dict[int, str] = {}
        for spec in self._specs:
            if spec.by is None:
                pairs: list[tuple[int, int | None]] = [
                    (position, None)
                    for position, entry in enumerate(outcome.entries)
                    if spec.name.found_in(entry.spec) is not None
                ]
            else:
                pairs = self._pairs(spec, spec.by, outcome)
            for position, scale in pairs:
                entry = outcome.entries[position]
                if position in scaled:
                    raise RuleError(
                        join(" and ", [scaled[position], spec.clause])
                        + f" are both about the array {entry.spec.name!r}"
                    )
                scaled[position] = spec.clause
                by = None if scale is None else outcome.entries[scale]
                entries[position] = self._entry(spec, entry, by)
                if scale is not None:
                    entries[scale] = None
                outcome.touched.add(spec.clause)
        outcome.entries = [entry for entry in entries if entry is not None]

    def _pairs(self, spec: _Spec, by: Template, outcome: Outcome) -> list[tuple[int, int | None]]:
        """The positions of each array and of its scale."""
        scales = {}
        for position, entry in enumerate(outcome.entries):
            match = by.found_in(entry.spec)
            if match is not None:
                scales[match[0]] = position
        found: list[tuple[int, int | None]] = []
        left = dict(scales)
        for position, entry in enumerate(outcome.entries):
            match = spec.name.found_in(entry.spec)
            if match is None or position in scales.values():
                continue
            if match[0] in scales:
                found.append((position, left.pop(match[0])))
            elif dtypes.itemsize(entry.spec.dtype) == 1:
                raise RuleError(
                    spec.clause
                    + f": array {entry.spec.name!r} is of {entry.spec.dtype}, but there "
                    f"is no array {by.filled(match[0])!r} to scale it by"
                )
        for stars, position in left.items():
            raise RuleError(
                spec.clause + f": there is {outcome.entries[position].spec.name!r}, but no array "
                f"{spec.name.filled(stars)!r} that it scales"
            )
        return found

    def _entry(self, spec: _Spec, entry: Entry, by: Entry | None) -> Entry:
        array = entry.spec
        needs = (by,) if by is not None else ()
        change = Scale(factor=spec.factor, needs=needs, block=spec.block_of(len(array.shape)))
        for each in (array, *(need.spec for need in needs)):
            refuse_unreadable(each, spec.clause)
        try:
            shape, dtype = change.announce(array.shape, array.dtype)
        except ValueError as error:
            raise RuleError(spec.clause + f": array {array.name!r}: {error}") from error
        text = change.text(array.shape, array.dtype)
        new: ArraySpec = replace(
            array,
            shape=shape,
            dtype=dtype,
            changes=(*array.changes, text),
            made_of=made_of(array, by.spec) if by is not None else array.made_of,
        )
        return replace(entry, spec=new, changes=(*entry.changes, change))


@record()
class _Spec:
    """What one clause says: what is scaled, by which number or array, and in which blocks."""

    clause: str
    name: Template
    factor: float | None
    by: Template | None
    block: int | tuple[int, ...] | None

    def block_of(self, ndim: int) -> tuple[int, ...]:
        if self.block is None:
            return ()
        return (self.block,) * ndim if isinstance(self.block, int) else self.block


_USAGE = either(
    "a number, the name of another array, or (name, block), where block is how many elements share "
    "a scale: a number, or one for each axis",
    "NUMBER, the NAME of another array, or NAME,BLOCK,..., where BLOCK is how many elements share "
    "a scale, on all axes or on each",
)


def scale_rule(given: Any) -> _Scaled:
    """The rule of ``scale=``.

    Raises:
        RuleError: it has another value than it can have.
    """
    if not isinstance(given, Mapping):
        raise RuleError(option_text("scale", given) + ": give a dict with a value for each array")
    return _Scaled([_spec(name, value) for name, value in given.items()])


def _spec(name: Any, value: Any) -> _Spec:
    clause = option_text("scale", {name: value})
    usage = RuleError(clause + ": give " + _USAGE)
    by, block = value, None
    if isinstance(value, (tuple, list)):
        if not 1 < len(value) < 3 or not isinstance(value[0], str):
            raise usage
        by, block = value
        sizes = [block] if isinstance(block, int) else block
        if not isinstance(sizes, (list, tuple)) or not sizes:
            raise usage
        if any(type(size) is not int or size < 1 for size in sizes):
            raise usage
        block = block if isinstance(block, int) else tuple(block)
    if not isinstance(name, str) or not name:
        raise usage
    template = Template(name, clause)
    if isinstance(by, str) and by:
        other = Template(by, clause)
        if other.stars != template.stars or other.is_numbered or template.is_numbered:
            raise RuleError(clause + f": {name!r} and {by!r} must have as many *, and no {{i}}")
        return _Spec(clause, template, None, other, block)
    if isinstance(by, bool) or not isinstance(by, (int, float)) or not math.isfinite(by):
        raise usage
    return _Spec(clause, template, float(by), None, None)
