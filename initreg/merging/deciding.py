"""What each array of a merge becomes: merged, kept because it is equal, or a fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from initreg import dtypes
from initreg.arrays.differences import compare
from initreg.arrays.lazy_array import LazyArray
from initreg.errors import RuleError
from initreg.merging.combined import Combined, Method, Settings
from initreg.merging.inputs import Input, Seen
from initreg.merging.parameters import Parameters, named
from initreg.merging.plan import FAULT, KEPT, LEFT_OUT, MERGED, TAKEN, MergePart, MergeRow
from initreg.option_spelling import either, option
from initreg.text.wording import printable, shape_text

Value = LazyArray | Combined
Row = Callable[..., MergeRow]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user wants where arrays cannot simply be merged.

    Args:
        on_missing: ``"error"``, ``"keep"`` or ``"drop"``: arrays that some sources lack.
        on_conflict: ``"error"``, ``"first"`` or ``"last"``: arrays that cannot be combined, and
            differ.
        dtype: the dtype of the floats of the result, None for that of the first source.
    """

    on_missing: str = "error"
    on_conflict: str = "error"
    dtype: str | None = None


class Deciding:
    """Decides for each name.

    Args:
        method: the method.
        parameters: its parameters.
        labels: what messages call the sources, the base first if there is one.
        choices: what the user wants.
        states: why an array is no weight of the model, by the names of the first source.
        seen: notes the values that are not finite.
    """

    def __init__(
        self,
        method: Method,
        parameters: Parameters,
        labels: Sequence[str],
        choices: Choices,
        states: Mapping[str, str],
        seen: Seen,
    ) -> None:
        self._method = method
        self._parameters = parameters
        self._labels = labels
        self._choices = choices
        self._states = states
        self._seen = seen
        self._offset = 1 if method.needs_base else 0  # of the numbers of sources with weights

    def decide(
        self, sources: Sequence[Mapping[str, LazyArray]]
    ) -> Iterator[tuple[MergeRow, Value | None]]:
        """The rows, each with the array of the result. None if there is no such array.

        Args:
            sources: the arrays of each source, by their names in the result.
        """
        names = dict.fromkeys(name for source in sources for name in source)
        for name in names:
            have = {i: source[name] for i, source in enumerate(sources) if name in source}
            yield self._decided(name, have)

    def _decided(self, name: str, have: dict[int, LazyArray]) -> tuple[MergeRow, Value | None]:
        first = next(iter(have.values()))
        lacking = [label for i, label in enumerate(self._labels) if i not in have]

        def row(kind: str, note: str = "", remedy: str = "", dtype: str = "") -> MergeRow:
            parts = tuple(
                MergePart(i, array.name, self._weight(name, i), array.spec.dtype)
                for i, array in have.items()
            )
            kept = self._kept_dtype(first)
            return MergeRow(kind, name, first.shape, dtype or kept, parts, note, remedy)

        if lacking:
            texts = ", ".join(map(printable, lacking))
            some = ", ".join(printable(self._labels[i]) for i in have)
            if self._choices.on_missing == "error":
                remedy = (
                    "If names differ, rename arrays of one source. To merge what there is, pass "
                    + option("on_missing", "keep")
                    + ", and to leave such arrays out, "
                    + option("on_missing", "drop")
                )
                return row(FAULT, f"in {some}, not in {texts}", remedy), None
            if self._choices.on_missing == "drop":
                return row(LEFT_OUT, f"not in {texts}"), None
        if len({array.shape for array in have.values()}) > 1:
            note = ", ".join(
                f"{shape_text(a.shape)} in {printable(self._labels[i])}" for i, a in have.items()
            )
            remedy = "Give the arrays one shape with rules, or drop them"
            return row(FAULT, note, remedy), None
        if len(have) == 1:
            [number] = have
            return row(KEPT, f"only in {printable(self._labels[number])}"), first
        why = self._why_not(name, have)
        if why:
            return self._chosen(name, have, why, row)
        own = first.spec.dtype
        dtype = own if dtypes.is_complex(own) else self._choices.dtype or own
        return row(MERGED, dtype=dtype), self._combined(name, have, dtype)

    def _kept_dtype(self, array: LazyArray) -> str:
        own = array.spec.dtype
        return self._choices.dtype or own if dtypes.is_float(own) else own

    def _weight(self, name: str, number: int) -> float | None:
        if "weight" not in self._method.takes or number < self._offset:
            return None
        return self._parameters.weight.of(name)[number - self._offset]

    def _why_not(self, name: str, have: Mapping[int, LazyArray]) -> str:
        """Why arrays are not combined, "" if they are."""
        if name in self._states:
            return self._states[name]
        specs = [array.spec for array in have.values()]
        if any(spec.state is not None for spec in specs):
            return "state of an optimizer"
        for spec in specs:
            if spec.unreadable or spec.opaque is not None:
                return f"{spec.dtype}, whose values numpy cannot read"
            if dtypes.is_raw(spec.dtype):
                return f"raw bytes ({spec.dtype})"
            if dtypes.is_complex(spec.dtype) and self._method.is_signed:
                return f"{spec.dtype}, which have no sign"
            if not (dtypes.is_float(spec.dtype) or dtypes.is_complex(spec.dtype)):
                return f"{spec.dtype}, not floats"
        if len({dtypes.is_complex(spec.dtype) for spec in specs}) > 1:
            return "complex numbers in some sources only"
        if self._offset and 0 not in have:
            return "not in the base, so that there are no changes"
        return ""

    def _chosen(
        self, name: str, have: Mapping[int, LazyArray], why: str, row: Row
    ) -> tuple[MergeRow, Value | None]:
        """One array of several that are not combined: any if they are equal."""
        first = next(iter(have.values()))
        unreadable = [array for array in have.values() if array.spec.unreadable]
        if unreadable:
            return row(FAULT, unreadable[0].spec.unreadable), None
        if all(_are_equal(first, other) for other in list(have.values())[1:]):
            return row(KEPT, "equal in all sources"), first
        if self._choices.on_conflict == "error":
            remedy = (
                "To have those of the first or of the last source, pass "
                + option("on_conflict", "first")
                + " or "
                + option("on_conflict", "last")
                + ". To leave them out, drop them with a rule"
            )
            hint = ""
            if any(dtypes.is_raw(array.spec.dtype) for array in have.values()):
                hint = "Raw bytes may be bfloat16, which numpy saves so: pass "
                remedy = hint + option("view", "bfloat16") + ". " + remedy
            return row(FAULT, f"{why}, and the values differ", remedy), None
        number = list(have)[0 if self._choices.on_conflict == "first" else -1]
        note = f"{why}: from {printable(self._labels[number])}"
        return row(TAKEN, note), have[number]

    def _combined(self, name: str, have: Mapping[int, LazyArray], dtype: str) -> Combined:
        inputs = {i: Input(array, self._labels[i]) for i, array in have.items()}
        base = inputs.pop(0) if self._offset else None
        given = self._parameters
        numbers = [i - self._offset for i in inputs]
        weights = given.weight.of(name)
        densities = given.density.of(name)
        settings = Settings(
            tuple(weights[i] for i in numbers),
            tuple(densities[i] for i in numbers),
            given.t.of(name)[0],
            given.decay.of(name)[0],
            given.normalize,
            given.factor.of(name)[0],
            given.rescale,
            given.seed,
            tuple(numbers),
        )
        if self._method.name == "average" and given.normalize and _is_zero(settings.weights):
            raise RuleError(
                named("weight", list(settings.weights))
                + f": the weights for {printable(name)} add up to 0, and the average is divided by "
                "that. Give others, or pass " + either("normalize=False", "--normalize no")
            )
        shape = next(iter(have.values())).shape
        inputs_ = tuple(inputs.values())
        return Combined(name, self._method.name, inputs_, base, settings, shape, dtype, self._seen)


def _is_zero(weights: Sequence[float]) -> bool:
    """Whether weights add up to 0, as 0.1, 0.2 and -0.3 do but for the rounding."""
    return abs(math.fsum(weights)) <= 1e-12 * math.fsum(map(abs, weights))


def _are_equal(one: LazyArray, other: LazyArray) -> bool:
    """Whether two arrays have the same values."""
    if one.shape != other.shape:
        return False
    if (one.spec.opaque is None) != (other.spec.opaque is None):
        return False
    if one.spec.opaque is not None:
        if one.spec.dtype != other.spec.dtype:
            return False
        one, other = one.as_bytes(), other.as_bytes()
    found = compare(one, other, 0.0, 0.0)
    return found.is_equal or not found.differing
