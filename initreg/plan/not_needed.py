"""Variables that no source supplies, and that need no array; and arrays that no variable needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from initreg.names import normalise
from initreg.plan.plan import Plan
from initreg.plan.rows import ON_BOTH_SIDES, Kind, Row
from initreg.records import replace
from initreg.specs import VariableSpec


def mark_not_needed(plan: Plan, variables: Sequence[VariableSpec]) -> Plan:
    """The same plan, in which such variables have a kind of their own, so that none is missing.

    A target knows of them. A layer of Keras sets the factors of LoRA to zero if only its kernel is
    restored, for instance. If the user expects the variable to be missing, its row stays as it is.

    If the variable keeps a value that may be wrong, its kind is another one, of which there is a
    warning: a layer keeps the vocabulary of another text, for instance.

    Args:
        plan: a plan for a target.
        variables: the variables of the target.
    """
    special = {normalise(each.name): each for each in variables if each.not_needed}
    if not special:
        return plan
    restored = {row.name for row in plan.restored}
    marked: dict[int, Row] = {}
    for index, row in plan.indexed((Kind.ONLY_IN_TARGET,)):
        variable = special.get(row.name)
        if variable is None or row.expected:
            continue
        if not restored.isdisjoint(map(normalise, variable.kept_with)):
            reason, remedy = variable.not_needed, variable.remedy
            marked[index] = replace(row, kind=Kind.KEPT, reason=reason, remedy=remedy)
            continue
        names = map(normalise, variable.not_needed_with)
        if not variable.not_needed_with or not restored.isdisjoint(names):
            marked[index] = replace(row, kind=Kind.NOT_NEEDED, reason=variable.not_needed)
    return plan.with_rows(marked)


def mark_unneeded(
    plan: Plan,
    reasons: Sequence[Mapping[str, str]],
    copies: Sequence[Mapping[str, str]],
) -> Plan:
    """The same plan, in which arrays that may stay unused have a kind of their own.

    A format knows of them: the state of metrics, or a second copy. Of an array and its copies, only
    one has to be used. If none is, the array is reported, and the copies are not.

    Args:
        plan: a plan for a target.
        reasons: for each source, the arrays that may stay unused, with the reason in words.
        copies: for each source, the arrays that are copies, with the names of the others.
    """
    if not any((*reasons, *copies)):
        return plan
    used = {(row.source, row.array) for row in plan.of(*ON_BOTH_SIDES)} if any(copies) else set()
    replaced = {
        (number, other): name
        for number, found in enumerate(copies)
        for name, other in found.items()
        if (number, name) in used
    }

    marked: dict[int, Row] = {}
    for index, row in plan.indexed((Kind.ONLY_IN_SOURCE,)):
        if row.expected:
            continue
        number, name = row.source or 0, row.array or ""
        other = copies[number].get(name) or replaced.get((number, name))
        reason = f"a copy of {other!r}" if other is not None else reasons[number].get(name)
        if reason is not None:
            marked[index] = replace(row, kind=Kind.NOT_NEEDED, reason=reason)
    return plan.with_rows(marked)
