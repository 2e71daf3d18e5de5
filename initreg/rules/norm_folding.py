"""Folding a batch normalization into the kernel and the bias of the layer before it.

In inference, ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`` is one number times ``x``
plus another for each channel. So a layer with other weights computes the same.
"""

from __future__ import annotations

import math
import operator
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
from initreg.rules.structure_rules import refuse_same_names
from initreg.specs import ArraySpec
from initreg.text.wording import printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]

OPTION = "fold_batch_norm"
_NORM = ("mean", "variance", "gamma", "beta")  # the arrays of the normalization
_FIELDS = ("axis", "epsilon", "bias", *_NORM)
_LEAST = 5  # of the fields; gamma and beta may be left out


@record(kw_only=True)
class Fold(Combining):
    """The kernel or the bias of the layer, with the normalization folded into it.

    Args:
        roles: what the arrays are that it needs, in their order: of :data:`_NORM`.
        epsilon: what the normalization adds to the variance.
        axis: the axis of the output channels, None for a bias.
        is_new: whether the layer had no bias, so that the array is that of the means.
    """

    takes_apart: ClassVar[bool] = False
    roles: tuple[str, ...]
    epsilon: float
    axis: int | None = None
    is_new: bool = False

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        if not dtypes.is_float(dtype):
            raise ValueError(f"an array of {dtype} cannot be folded")
        axis = 0 if self.axis is None else self.axis
        if not -len(shape) <= axis < len(shape) or (self.axis is None and len(shape) != 1):
            raise ValueError(f"shape {shape_text(shape)} has no axis {axis}, or more than a bias")
        for need in self.needs:
            spec = need.spec
            if spec.dtype != dtype:
                raise ValueError(
                    f"it is of {dtype}, and {spec.name!r} of {spec.dtype}. Cast one of them first"
                )
            if spec.shape != (shape[axis],):
                raise ValueError(
                    f"axis {axis} of shape {shape_text(shape)} has {shape[axis]:,} channels, and "
                    f"{spec.name!r} has the shape {shape_text(spec.shape)}"
                )
        return shape, dtype

    def text(self, shape: Shape, dtype: str) -> str:
        names = ", ".join(need.spec.origin for need in self.needs)
        new = ", for a layer without a bias" if self.is_new else ""
        return f"batch norm folded from {names}{new}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        wide = np.dtype("f8")
        read = [astype(other.read(), wide) for other in self.others]
        norm = dict(zip(self.roles, read, strict=True))
        variance = norm["variance"] + self.epsilon
        if not (variance > 0).all():
            raise RuleError(
                f"{printable(name)}: a variance is negative or NaN, or 0 without an epsilon, so "
                "the batch norm cannot be folded"
            )
        factor = norm.get("gamma", 1.0) / np.sqrt(variance)
        given = astype(array, wide)
        with np.errstate(all="ignore"):
            if self.axis is None:
                shifted = -given if self.is_new else given - norm["mean"]
                found = shifted * factor + norm.get("beta", 0.0)
            else:
                along = [1] * array.ndim
                along[self.axis] = -1
                found = given * np.reshape(factor, along)
        return rounded(found, given, array.dtype, name, "folded")


@record()
class _Spec:
    """What one clause says: the names of all arrays by their roles, the axis, and the epsilon."""

    clause: str
    names: Mapping[str, Template]
    axis: int
    epsilon: float


class _Folded:
    """The rule of one option ``fold_batch_norm=``."""

    def __init__(self, specs: Sequence[_Spec]) -> None:
        self._specs = specs
        self.clauses = [spec.clause for spec in specs]

    def apply(self, outcome: Outcome) -> None:
        entries = outcome.entries
        new: dict[int, list[Entry]] = {}  # what takes the place of an array
        taken: dict[int, str] = {}
        made: dict[str, str] = {}  # by the name of an array, the clause that made it
        for spec in self._specs:
            for stars, at in self._groups(spec, entries).items():
                for position in at.values():
                    if position in taken:
                        raise RuleError(
                            join(" and ", [taken[position], spec.clause])
                            + f" are both about the array {entries[position].spec.name!r}"
                        )
                    taken[position] = spec.clause
                found = {role: entries[position] for role, position in at.items()}
                kernel, bias = self._folded(spec, stars, found)
                made[bias.spec.name] = spec.clause
                new |= {at[role]: [] for role in _NORM if role in at}
                if "bias" in at:
                    new |= {at["kernel"]: [kernel], at["bias"]: [bias]}
                else:
                    new[at["kernel"]] = [kernel, bias]
                outcome.touched.add(spec.clause)
        left = [each for i, entry in enumerate(entries) for each in new.get(i, [entry])]
        clauses = {i: made[e.spec.name] for i, e in enumerate(left) if e.spec.name in made}
        refuse_same_names(left, clauses)
        outcome.entries = left

    def _groups(
        self, spec: _Spec, entries: Sequence[Entry]
    ) -> dict[tuple[str, ...], dict[str, int]]:
        """The positions of the arrays of each layer, by their roles."""
        found: dict[tuple[str, ...], dict[str, int]] = {}
        for position, entry in enumerate(entries):
            for role, template in spec.names.items():
                match = template.found_in(entry.spec)
                if match is None:
                    continue
                group = found.setdefault(match[0], {})
                if role in group:
                    both = [entries[each].spec.name for each in (group[role], position)]
                    raise RuleError(
                        spec.clause + f": {both[0]!r} and {both[1]!r} are both the {role}"
                    )
                group[role] = position
        for stars, group in found.items():
            for role, template in spec.names.items():
                if role not in group and role != "bias":
                    there = entries[next(iter(group.values()))].spec.name
                    raise RuleError(
                        spec.clause + f": there is {there!r}, but no array "
                        f"{template.filled(stars)!r}, which is its {role}"
                    )
        return found

    def _folded(
        self, spec: _Spec, stars: Sequence[str], found: Mapping[str, Entry]
    ) -> tuple[Entry, Entry]:
        """The kernel and the bias."""
        for entry in found.values():
            refuse_unreadable(entry.spec, spec.clause)
        roles = tuple(role for role in _NORM if role in found)
        change = Fold(
            roles=tuple(role for role in roles if role in ("variance", "gamma")),
            needs=tuple(found[role] for role in roles if role in ("variance", "gamma")),
            epsilon=spec.epsilon,
            axis=spec.axis,
        )
        kernel = _changed(spec, found["kernel"], change)
        is_new = "bias" not in found
        base = found["mean"] if is_new else found["bias"]
        others = tuple(role for role in roles if not (is_new and role == "mean"))
        change = Fold(
            roles=others,
            needs=tuple(found[role] for role in others),
            epsilon=spec.epsilon,
            is_new=is_new,
        )
        bias = _changed(spec, base, change)
        if bias.spec.shape != (kernel.spec.shape[spec.axis],):
            raise RuleError(
                spec.clause + f": {kernel.spec.name!r} has {kernel.spec.shape[spec.axis]:,} "
                f"channels, and {base.spec.name!r} has the shape {shape_text(bias.spec.shape)}"
            )
        if is_new:
            name = spec.names["bias"].filled(stars)
            spec_of_bias = ArraySpec(
                name,
                bias.spec.shape,
                bias.spec.dtype,
                origin=" + ".join(each.spec.origin for each in (base, *change.needs)),
                changes=bias.spec.changes,
                made_of=bias.spec.made_of,
            )
            bias = replace(bias, spec=spec_of_bias)
        return kernel, bias


def _changed(spec: _Spec, entry: Entry, change: Fold) -> Entry:
    array = entry.spec
    try:
        change.announce(array.shape, array.dtype)
    except ValueError as error:
        raise RuleError(spec.clause + f": array {array.name!r}: {error}") from error
    new: ArraySpec = replace(
        array,
        changes=(*array.changes, change.text(array.shape, array.dtype)),
        made_of=made_of(array, *(need.spec for need in change.needs)),
    )
    return replace(entry, spec=new, changes=(*entry.changes, change))


_USAGE = either(
    "(axis, epsilon, bias, mean, variance, gamma, beta): the axis of the kernel's output channels, "
    "what the normalization adds to its variance, and the names of the other arrays. If there is "
    "no such bias, it is made. gamma and beta may be None or left out",
    "AXIS,EPSILON,BIAS,MEAN,VARIANCE,GAMMA,BETA: the axis of the kernel's output channels, "
    "what the normalization adds to its variance, and the names of the other arrays. If there is "
    "no such BIAS, it is made. GAMMA and BETA may be left out",
)


def fold_rule(given: Any) -> _Folded:
    """The rule of ``fold_batch_norm=``.

    Raises:
        RuleError: it has another value than it can have.
    """
    if not isinstance(given, Mapping):
        raise RuleError(option_text(OPTION, given) + ": give a dict with a value for each kernel")
    return _Folded([_spec(name, value) for name, value in given.items()])


def _spec(name: Any, value: Any) -> _Spec:
    clause = option_text(OPTION, {name: value})
    usage = RuleError(clause + ": give " + _USAGE)
    if isinstance(value, Mapping):
        if set(value) - set(_FIELDS) or set(_FIELDS[:_LEAST]) - set(value):
            raise usage
        value = [value.get(field) for field in _FIELDS]
    if not isinstance(value, (tuple, list)) or not _LEAST <= len(value) <= len(_FIELDS):
        raise usage
    fields = dict(zip(_FIELDS, value, strict=False))
    axis, epsilon = fields.pop("axis"), fields.pop("epsilon")
    names = {"kernel": name, **{r: text for r, text in fields.items() if text is not None}}
    try:
        axis = operator.index(axis)
    except TypeError as error:
        raise usage from error
    is_number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
    if not is_number or not math.isfinite(epsilon) or epsilon < 0:
        raise usage
    needed = {"kernel", *_FIELDS[2:_LEAST]}
    if needed - set(names) or not all(isinstance(each, str) and each for each in names.values()):
        raise usage
    templates = {role: Template(text, clause) for role, text in names.items()}
    stars = templates["kernel"].stars
    for template in templates.values():
        if template.stars != stars or template.is_numbered:
            raise RuleError(
                clause + f": {name!r} and {template.text!r} must have as many *, and no {{i}}"
            )
    if len({template.text for template in templates.values()}) < len(templates):
        raise RuleError(clause + ": two of the arrays have the same name")
    return _Spec(clause, templates, axis, float(epsilon))
