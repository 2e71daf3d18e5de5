"""Multiplying arrays by numbers, or by other arrays: the scales of quantised weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from initreg import dtypes
from initreg.errors import CastWarning, RuleError, warn
from initreg.option_spelling import either, join
from initreg.option_spelling import option as option_text
from initreg.rules.casting import astype
from initreg.rules.name_templates import Template
from initreg.rules.rule import Entry, Outcome
from initreg.specs import ArraySpec
from initreg.wording import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]


class Readable(Protocol):
    """An array of a source: :class:`initreg.LazyArray`."""

    @property
    def read_from(self) -> list[Any]: ...
    def read(self) -> Array: ...


@dataclass(frozen=True, slots=True)
class Scale:
    """A multiplication of an array by a number, or by another array.

    Args:
        factor: the number, or None.
        by: the other array, or None.
        block: for each axis, how many elements share one of the other array's, () if the axes of
            the other array are as long or of length 1.
        other: what reads the other array. It is known once the rules are applied to a source.
    """

    takes_apart: ClassVar[bool] = False
    factor: float | None
    by: Entry | None = None
    block: tuple[int, ...] = ()
    other: Readable | None = None

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        integers = dtypes.integer_bits(dtypes.QUANTISED.get(dtype, dtype))
        if not (dtypes.is_float(dtype) or (self.by is not None and integers)):
            raise ValueError(f"an array of {dtype} cannot be scaled")
        if self.by is None:
            return shape, dtype
        scale = self.by.spec
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
        by = self.factor if self.by is None else self.by.spec.origin
        return f"scaled by {by}" + (f" from {dtype}" if self.by is not None else "")

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        if self.other is None:
            scale: Any = np.asarray(self.factor)
            dtype = array.dtype
        else:
            scale = self.other.read()
            dtype = scale.dtype
            scale = scale.reshape(()) if scale.size == 1 and not self.block else scale
            for axis, size in enumerate(self.block):
                scale = np.repeat(scale, size, axis)
                scale = scale[(*[slice(None)] * axis, slice(array.shape[axis]))]
        wide = array if array.dtype == dtype else astype(array, dtype)
        with np.errstate(all="ignore"):
            found = astype(np.asarray(wide * astype(scale, dtype)), dtype)
            lost = np.count_nonzero(np.isfinite(wide) & ~np.isfinite(found))
        if lost:
            values = plural(int(lost), "value")
            warn(f"{printable(name)}: {values} scaled beyond the range of {dtype}", CastWarning)
        return found


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
        change = Scale(spec.factor, by, spec.block_of(len(array.shape)))
        for each in (array, *([by.spec] if by else [])):
            if each.opaque is not None or each.unreadable:
                reason = each.unreadable or f"numpy does not have its dtype {each.dtype}"
                raise RuleError(spec.clause + f": array {each.name!r} cannot be read: {reason}")
        try:
            shape, dtype = change.announce(array.shape, array.dtype)
        except ValueError as error:
            raise RuleError(spec.clause + f": array {array.name!r}: {error}") from error
        text = change.text(array.shape, array.dtype)
        made_of = array.made_of or (array.origin,)
        if by is not None:
            made_of = tuple(dict.fromkeys((*made_of, *(by.spec.made_of or (by.spec.origin,)))))
        new: ArraySpec = replace(
            array,
            shape=shape,
            dtype=dtype,
            changes=(*array.changes, text),
            made_of=made_of if by is not None else array.made_of,
        )
        return replace(entry, spec=new, changes=(*entry.changes, change))


@dataclass(frozen=True, slots=True)
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
