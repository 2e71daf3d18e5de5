"""Arrays that are a second copy of one that is restored, because the model has one variable at two
places: ``self.tied = self.embedding.embeddings``, or a layer that two models share.

Keras writes such a variable at each of its places. A plan does not read values, so that it takes
the copies for equal. Before anything is written, they are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from initreg.names import normalise
from initreg.plan.plan import Plan
from initreg.plan.renamed import is_renamed
from initreg.plan.rows import RESTORED, Kind
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec


class SecondCopy(NamedTuple):
    """The index of the row of a copy, and that of the row of what is restored."""

    row: int
    of: int


def mark_second_copies(
    plan: Plan, sources: Sequence[Iterable[ArraySpec]], variables: Sequence[VariableSpec]
) -> tuple[Plan, list[SecondCopy]]:
    """The same plan, in which such arrays are not needed, and these copies.

    An array is one if each of its places that the target has is one of the same variable, and that
    variable is restored from another place of it in the same source.

    Args:
        plan: a plan for a target.
        sources: the arrays of each source.
        variables: the variables of the target.
    """
    if not any(variable.places for variable in variables):
        return plan, []  # before rows are made
    unused = [(i, row) for i, row in plan.indexed((Kind.ONLY_IN_SOURCE,)) if not row.expected]
    if not unused:
        return plan, []
    specs = [{spec.origin: spec for spec in source} for source in sources]
    owners: dict[str, set[int]] = {}
    for index, variable in enumerate(variables):
        for place in map(normalise, variable.places):
            owners.setdefault(place, set()).add(index)
    by_name = {normalise(variable.name): index for index, variable in enumerate(variables)}
    restored = {(row.source, by_name.get(row.name)): i for i, row in plan.indexed(RESTORED)}
    found = []
    for at, row in unused:
        array = specs[row.source or 0].get(row.array or "")
        if array is None:
            continue
        theirs: set[int] = set().union(*(owners.get(place, ()) for place in _places(array)))
        index = theirs.pop() if len(theirs) == 1 else -1
        of = restored.get((row.source, index))
        if of is None:
            continue
        used = specs[row.source or 0].get(plan[of].array or "")
        if used is not None and _is_copy(array, used, variables[index], owners):
            found.append(SecondCopy(at, of))
    why = "the same variable as {!r}"
    marked = {
        at: replace(plan[at], kind=Kind.NOT_NEEDED, reason=why.format(plan[of].array))
        for at, of in found
    }
    return plan.with_rows(marked), found


def _is_copy(
    array: ArraySpec, used: ArraySpec, variable: VariableSpec, owners: dict[str, set[int]]
) -> bool:
    return (
        (array.shape, array.dtype) == (used.shape, used.dtype)
        and any(place in owners for place in _places(used))
        and not is_renamed(variable, array, True)
    )


def _places(array: ArraySpec) -> Iterator[str]:
    return map(normalise, array.places or (array.name, *array.aliases))


def without_copy(plan: Plan, copy: SecondCopy) -> Plan:
    """The same plan, in which a copy is reported, because it has other values."""
    row, of = plan[copy.row], plan[copy.of].array
    why = f"not equal to {of!r}, which is the same variable in the target"
    return plan.with_rows({copy.row: replace(row, kind=Kind.ONLY_IN_SOURCE, reason=why)})
