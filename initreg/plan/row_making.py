"""Makes the rows of a plan, once it is known which array of which source each variable has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from initreg.names import normalise
from initreg.plan.expectations import Expectations, SourceSpecs
from initreg.plan.judging import judge
from initreg.plan.naming import Naming
from initreg.plan.row import Kind, Row
from initreg.plan.row_list import RowList, row_of
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec

# Takes the names on one side only and the names of the restored variables, and returns the variable
# of each name that is a slot.
SlotFinder = Callable[[Collection[str], Collection[str]], Mapping[str, str]]

_ONE_SIDED = (Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE)


@dataclass(slots=True)
class Paired:
    """One source of a chain, with the variables that its arrays were paired with.

    Args:
        number: its number in the chain.
        source: the source.
        naming: how its arrays were paired.
        pairs: the index of the array for the index of each variable that has one.
        copies: arrays of states that are saved once more elsewhere, from where they are restored.
    """

    number: int
    source: SourceSpecs
    naming: Naming
    pairs: Mapping[int, int]
    copies: Collection[int]


def make_rows(
    names: Sequence[str],
    variables: Sequence[VariableSpec],
    sources: Sequence[Paired],
    expectations: Expectations,
    slots: SlotFinder,
) -> RowList:
    """The rows of all variables, and then those of the arrays that no variable has.

    Args:
        names: the names of the variables, normalised.
        variables: the variables.
        sources: the sources, in order.
        expectations: what the user expects to be on one side only.
        slots: finds the slots of an optimiser among names.
    """
    rows = RowList()
    restored: set[str] = set()
    last_first = sources[::-1]
    special = _in_several(sources).union(*(paired.naming.renamed for paired in sources))
    # State that an optimizer alone lacks is as missing as a weight that a model lacks.
    has_model = any(variable.state is None for variable in variables)
    for index, (name, variable) in enumerate(zip(names, variables, strict=True)):
        for paired in last_first:
            if index in paired.pairs:
                break
        else:
            if variable.state is None and not expectations.of_variables:
                rows.add(Kind.ONLY_IN_TARGET, name, variable, None, None)
                continue
            row = expectations.of_variable(row_of(Kind.ONLY_IN_TARGET, name, variable), variable)
            if variable.state is not None and (has_model or variable.state.optional):
                row = _as_state(row, variable)
            rows.add_row(row)
            continue
        array = paired.source.arrays[paired.pairs[index]]
        kind, reason = judge(array, variable)
        if reason or index in special:
            found = _rows_of(name, variable, index, last_first)
            if found[0].kind is Kind.PASSED_OVER:  # and so are all others
                for row in found:
                    rows.add_row(expectations.skipped(row, variable))
                continue
            paired = sources[found[0].source or 0]
            array = paired.source.arrays[paired.pairs[index]]
            for row in found:
                rows.add_row(row)
        else:  # most of them
            rows.add(kind, name, variable, array, paired.number)
        restored.update((name, array.name))
        if variable.aliases:
            restored.update(map(normalise, variable.aliases))
    for paired in sources:
        _add_arrays(rows, paired, expectations)
    _mark_slots(rows, restored, slots)
    return rows


def _in_several(sources: Sequence[Paired]) -> set[int]:
    """The indices of the variables that more than one source has."""
    once: set[int] = set()
    several: set[int] = set()
    for paired in sources:
        several |= once & paired.pairs.keys()
        once |= paired.pairs.keys()
    return several


def _rows_of(
    name: str, variable: VariableSpec, index: int, last_first: Sequence[Paired]
) -> list[Row]:
    """The rows of one variable: first its supplier, then the skipped and overridden arrays.

    Args:
        name: its name, normalised.
        variable: the variable.
        index: its index.
        last_first: the sources. The last one comes first.
    """
    rows: list[Row] = []
    supplier: int | None = None
    for paired in last_first:
        position = paired.pairs.get(index)
        if position is None:
            continue
        array, number = paired.source.arrays[position], paired.number
        if supplier is not None:
            rows.append(row_of(Kind.OVERRIDDEN, name, variable, array, number, by=supplier))
            continue
        kind, reason = judge(array, variable)
        if reason and paired.source.ignore_mismatch and kind is Kind.MISMATCHED:
            rows.append(row_of(Kind.PASSED_OVER, name, variable, array, number, reason))
            continue
        supplier = number
        row = row_of(kind, name, variable, array, number, reason)
        called = paired.naming.renamed.get(index)
        rows.insert(0, row if called is None else replace(row, called=called))
    return rows


def _add_arrays(rows: RowList, paired: Paired, expectations: Expectations) -> None:
    """Add the rows of the arrays of a source that no variable has."""
    source, number = paired.source, paired.number
    used = set(paired.pairs.values())
    unused = [position for position in range(len(source.arrays)) if position not in used]
    has_states = paired.naming.has_states
    if has_states or source.ignored or source.expected:
        for position in unused:
            array = source.arrays[position]
            row = row_of(Kind.ONLY_IN_SOURCE, array.name, None, array, number)
            row = expectations.of_array(row, array, position)
            if array.state is not None and has_states:
                row = _as_state(row, array, position in paired.copies)
            rows.add_row(row)
    else:
        rows.add_arrays(Kind.ONLY_IN_SOURCE, [source.arrays[i] for i in unused], number)
    rows.add_arrays(Kind.DROPPED, source.dropped, number)


def _as_state(row: Row, entry: ArraySpec | VariableSpec, is_copy: bool = False) -> Row:
    """Give state on one side only a kind of its own, unless the user expects it there."""
    if entry.state is None or row.expected or row.kind not in _ONE_SIDED:
        return row
    return replace(row, kind=Kind.STATE, expected=is_copy)


def _mark_slots(rows: RowList, restored: set[str], slots: SlotFinder) -> None:
    """Give slots of restored variables a kind of their own, if they are on one side only."""
    one_sided = rows.indices(_ONE_SIDED)
    names = {rows.names[index] for index in one_sided}
    of = slots(names, restored) if names else {}
    for index in one_sided if of else ():
        variable = of.get(rows.names[index])
        if variable is not None:
            rows.mark(index, Kind.SLOT, f"of {variable}")
