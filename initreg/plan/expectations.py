"""Names that the user expects to be on one side only, and names that are to be ignored."""

from __future__ import annotations

from collections.abc import Sequence

from initreg.names import NO_PATTERNS, Patterns, normalise
from initreg.plan.rows import By, Kind, Policy, Row
from initreg.records import record, replace
from initreg.specs import ArraySpec, VariableSpec


@record()
class SourceSpecs:
    """One source of a chain, as planning needs it.

    Args:
        label: what to call the source.
        arrays: its arrays, without their values.
        ignore_mismatch: whether an array that does not fit is skipped.
        dropped: the arrays that rules left out.
        on_unused: the policy for its arrays that no variable takes.
        expected: names that are expected to be unused.
        ignored: names that are not restored even though they match.
        by: by which of their names the arrays are matched, if the user chose.
    """

    label: str
    arrays: Sequence[ArraySpec]
    ignore_mismatch: bool = False
    dropped: Sequence[ArraySpec] = ()
    on_unused: Policy = Policy.WARN
    expected: Patterns = NO_PATTERNS
    ignored: Patterns = NO_PATTERNS
    by: By | None = None


class Expectations:
    """Marks the rows that the user expects, and remembers which patterns matched.

    Args:
        sources: the sources of the chain, with their patterns.
        missing: names of variables that are expected to be missing.

    Attributes:
        of_variables: the patterns that say anything about variables.
    """

    def __init__(self, sources: Sequence[SourceSpecs], missing: Patterns) -> None:
        self._sources = sources
        self._missing = missing
        self._ignored = [source.ignored for source in sources if source.ignored]
        self.of_variables = [patterns for patterns in (missing, *self._ignored) if patterns]
        self._clauses = [
            patterns.clause(glob)
            for patterns in (self._missing, *(p for s in sources for p in (s.expected, s.ignored)))
            for glob in patterns
        ]
        self._matched: set[str] = set()
        self._ignored_pairs: dict[tuple[int, int], str] = {}

    def unmet(self) -> list[str]:
        """The patterns that matched nothing, as they were typed."""
        return [clause for clause in dict.fromkeys(self._clauses) if clause not in self._matched]

    def _hits(self, patterns: Patterns, *names: str) -> str:
        """The first clause that matches, "" if none does."""
        clauses = [patterns.clause(glob) for glob in patterns.hits(*names)] if patterns else ()
        self._matched.update(clauses)
        return clauses[0] if clauses else ""

    def without_ignored(
        self, number: int, pairs: dict[int, int], variables: Sequence[VariableSpec]
    ) -> dict[int, int]:
        """The pairs of source ``number`` that ``ignore`` does not leave out."""
        source = self._sources[number]
        if not source.ignored:
            return pairs
        left = {}
        for index, position in pairs.items():
            names = (*_all_names(variables[index]), *_all_names(source.arrays[position]))
            clause = self._hits(source.ignored, *names)
            if clause:
                self._ignored_pairs[number, position] = clause
            else:
                left[index] = position
        return left

    def of_variable(self, row: Row, variable: VariableSpec) -> Row:
        """Mark the row of a variable that no source supplies, if it is expected."""
        for patterns in self.of_variables:
            clause = self._hits(patterns, *_all_names(variable))
            if clause:
                return replace(row, expected=True, reason=clause)
        return row

    def skipped(self, row: Row, variable: VariableSpec) -> Row:
        """Mark the row of a skipped array whose variable no other array is restored to."""
        if not self._hits(self._missing, *_all_names(variable)):
            return row
        return replace(row, expected=True)

    def of_array(self, row: Row, array: ArraySpec, position: int) -> Row:
        """Mark the row of an array that no variable takes, if it is expected or ignored."""
        number = row.source or 0
        source = self._sources[number]
        if not (source.ignored or source.expected):
            return row
        clause = self._ignored_pairs.get((number, position))
        clause = clause or self._hits(source.ignored, *_all_names(array))
        if clause:
            return replace(row, kind=Kind.DROPPED, reason=clause)
        clause = self._hits(source.expected, *_all_names(array))
        return replace(row, expected=True, reason=clause) if clause else row


def _all_names(entry: ArraySpec | VariableSpec) -> list[str]:
    names = [entry.name, *entry.aliases]
    if entry.state is not None:  # so that ``optimizer/*`` matches all state of the optimizer
        places = [place for place in entry.state.optimizer.places if place]
        names += [f"{place}/{at}" for place in places for at in entry.state.at]
    return list(map(normalise, names))
