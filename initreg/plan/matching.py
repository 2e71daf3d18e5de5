"""Matching: compares the names, shapes and dtypes of a chain with those of a target.

It makes the plan from specs alone, without numpy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from initreg import dtypes
from initreg.errors import DuplicateName
from initreg.names import NO_PATTERNS, Patterns, normalise
from initreg.plan.expectations import Expectations, SourceSpecs
from initreg.plan.plan import Plan
from initreg.plan.rows import Kind, Policy, Row
from initreg.specs import ArraySpec, VariableSpec
from initreg.spelling import either

# Takes the names on one side only and the names of the restored variables, and returns the variable
# of each name that is a slot.
SlotFinder = Callable[[Collection[str], Collection[str]], Mapping[str, str]]


@dataclass(slots=True)
class _Names:
    """The names of one side, each with the index of its array or variable.

    Args:
        by_name: the primary names.
        by_alias: the aliases that are no primary name and that only one array or variable has.
    """

    by_name: dict[str, int] = field(default_factory=dict)
    by_alias: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[ArraySpec | VariableSpec], label: str) -> _Names:
        names = cls()
        aliases: Counter[str] = Counter()
        entries = list(entries)
        for index, entry in enumerate(entries):
            name = normalise(entry.name)
            if name in names.by_name:
                raise DuplicateName(
                    f"{label}: two variables are called {name!r}, so they cannot be told apart by "
                    "name. Give them different names, or pass only one of them"
                )
            names.by_name[name] = index
        for index, entry in enumerate(entries):
            for alias in {normalise(alias) for alias in entry.aliases}:
                if alias not in names.by_name:
                    aliases[alias] += 1
                    names.by_alias[alias] = index
        for alias, count in aliases.items():
            if count > 1:
                del names.by_alias[alias]
        return names


def _pair(
    source: SourceSpecs,
    variables: Sequence[VariableSpec],
    theirs: _Names,
    ours: _Names,
) -> dict[int, int]:
    """Find the array of one source for each variable.

    Pairs are made in this order:

    1. The primary name of each side is an alias of the other side. Then name and place agree.
    2. The primary names are equal.
    3. An alias of the variable is the primary name of the array. Such an alias is the place of the
       variable in its model.
    4. An alias of the variable is an alias of the array.
    5. An alias of the array is the primary name of the variable. This comes last, because an alias
       of an array may contain a number that counts the models of a process.

    An alias matches only what the primary names left over, so that no array goes into two
    variables.

    Returns:
        The index of the array for the index of each variable that has one.

    Raises:
        DuplicateName: primary names and aliases contradict each other.
    """
    arrays = source.arrays
    pairs: dict[int, int] = _in_both_ways(arrays, variables, theirs)
    taken = set(pairs.values())
    also_called = {alias: each for each in arrays for alias in each.aliases}
    for name, variable in ours.by_name.items():
        array = theirs.by_name.get(name)
        if array is None or array in taken or variable in pairs:
            continue
        other = also_called.get(name)
        _refuse_contradiction(name, arrays[array], other, variables[variable], source.label)
        pairs[variable] = array
    if not theirs.by_alias and not ours.by_alias:
        return pairs
    taken = set(pairs.values())
    names = [[normalise(spec.name)] for spec in variables]
    aliases = [
        [a for a in map(normalise, spec.aliases) if ours.by_alias.get(a) == index]
        for index, spec in enumerate(variables)
    ]
    # Finish each step for all variables before the next one, so that better matches go first.
    for wanted, by in (
        (aliases, theirs.by_name),
        (aliases, theirs.by_alias),
        (names, theirs.by_alias),
    ):
        for index, tries in enumerate(wanted):
            for name in tries if index not in pairs else ():
                array = by.get(name)
                if array is not None and array not in taken:
                    pairs[index] = array
                    taken.add(array)
                    break
    return pairs


def _in_both_ways(
    arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec], theirs: _Names
) -> dict[int, int]:
    """The pairs in which the primary name of each side is an alias of the other side."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for index, spec in enumerate(variables):
        if not spec.aliases:
            continue
        name = normalise(spec.name)
        for alias in map(normalise, spec.aliases):
            array = theirs.by_name.get(alias)
            if alias == name or array is None or array in taken:
                continue
            if name in arrays[array].aliases:
                pairs[index] = array
                taken.add(array)
                break
    return pairs


def _refuse_contradiction(
    name: str, found: ArraySpec, other: ArraySpec | None, variable: VariableSpec, label: str
) -> None:
    """Raise DuplicateName if two arrays may be meant for a variable.

    ``found`` has the name as its primary name, and has aliases. ``other`` has the name as an alias.
    So ``w`` may be the place of the one array, and the name that a person gave to the other.
    """
    if other is None or other is found or not found.aliases or variable.aliases:
        return
    aliases = ("alias " if len(found.aliases) == 1 else "aliases ") + ", ".join(
        map(repr, found.aliases)
    )
    raise DuplicateName(
        f"{label}: two arrays may be meant for {name!r}: the array of this name, with the "
        f"{aliases}, and the array {other.name!r}, with the alias "
        f"{name!r}. To match by primary names alone, "
        + either("pass initreg.load(source)", "convert the source first, with 'initreg convert'")
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def judge(array: ArraySpec, variable: VariableSpec) -> tuple[Kind, str]:
    """Whether an array fits a variable, and how.

    The shapes must be equal, or differ only by axes of length 1. The dtypes must be equal, or both
    be floats, or both be integers, with that of the variable being the wider one.

    Returns:
        MATCHED, RESHAPED, CAST or MISMATCHED, and for MISMATCHED the reason in words.
    """
    shape, wanted = array.shape, variable.shape
    same = _fits(shape, wanted)
    squeezable = not same and _squeeze(shape) == _squeeze(wanted or ())
    reasons = []
    if not same and not squeezable:
        reasons.append(f"shape {shape} does not fit {wanted}")
    if not dtypes.can_cast(array.dtype, variable.dtype):
        reasons.append(f"dtype {array.dtype} is not cast to {variable.dtype}")
    if reasons:
        return Kind.MISMATCHED, " and ".join(reasons)
    if squeezable:
        return Kind.RESHAPED, ""
    if array.dtype != variable.dtype:
        return Kind.CAST, ""
    return Kind.MATCHED, ""


def _squeeze(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(axis for axis in shape if axis != 1)


def no_slots(names: Collection[str], variables: Collection[str]) -> Mapping[str, str]:
    """A :data:`SlotFinder` that finds no slots."""
    return {}


def match(
    sources: Sequence[SourceSpecs],
    variables: Sequence[VariableSpec],
    target: str,
    *,
    on_missing: Policy = Policy.WARN,
    expect_missing: Patterns = NO_PATTERNS,
    slots: SlotFinder = no_slots,
) -> Plan:
    """Make the plan for a whole chain.

    The last source that has the name of a variable supplies it. The arrays that it overrides are
    not checked. If the source has ``ignore_mismatch``, an array that does not fit is skipped.

    Args:
        sources: the sources of the chain, in order.
        variables: the variables of the target.
        target: the label of the target.
        on_missing: the policy for variables that no source supplies.
        expect_missing: names of variables that are expected to be missing.
        slots: finds the slots of an optimiser among names. The default finds none.

    Raises:
        DuplicateName: two variables have the same name, or the names of arrays contradict their
            aliases.

    >>> source = SourceSpecs("a.npz", [ArraySpec("w", (2,), "float32")])
    >>> [row.kind.value for row in match([source], [VariableSpec("w", (2,), "float32")], "model")]
    ['matched']
    """
    target_names = _Names.of(variables, target)
    expectations = Expectations(sources, expect_missing)
    pairs: list[dict[int, int]] = []
    for number, source in enumerate(sources):
        source_names = _Names.of(source.arrays, source.label)
        found = _pair(source, variables, source_names, target_names)
        pairs.append(expectations.without_ignored(number, found, variables))

    rows: list[Row] = []
    restored: set[str] = set()
    for index, variable in enumerate(variables):
        name = normalise(variable.name)
        of_variable = _rows_of(name, variable, index, sources, pairs)
        rows += of_variable
        if not of_variable:
            row = Row(Kind.ONLY_IN_TARGET, name, variable.shape, variable.dtype)
            rows.append(expectations.of_variable(row, variable))
        elif all(row.kind is Kind.PASSED_OVER for row in of_variable):
            rows[-len(of_variable) :] = [expectations.skipped(r, variable) for r in of_variable]
        for row in of_variable:
            if row.kind not in (Kind.OVERRIDDEN, Kind.PASSED_OVER):
                supplier = row.source or 0
                restored.update((name, *map(normalise, variable.aliases)))
                restored.add(sources[supplier].arrays[pairs[supplier][index]].name)
    for number, source in enumerate(sources):
        used = set(pairs[number].values())
        for position, array in enumerate(source.arrays):
            if position not in used:
                row = _array_row(Kind.ONLY_IN_SOURCE, array, number)
                rows.append(expectations.of_array(row, array, position))
        rows += [_array_row(Kind.DROPPED, array, number) for array in source.dropped]
    return Plan(
        _mark_slots(rows, restored, slots),
        [source.label for source in sources],
        target,
        on_missing=on_missing,
        on_unused=[source.on_unused for source in sources],
        unmet=expectations.unmet(),
    )


def _rows_of(
    name: str,
    variable: VariableSpec,
    index: int,
    sources: Sequence[SourceSpecs],
    pairs: Sequence[Mapping[int, int]],
) -> list[Row]:
    """The rows of one variable: first its supplier, then the skipped and overridden arrays."""
    rows: list[Row] = []
    supplier: int | None = None
    for number in reversed(range(len(sources))):
        position = pairs[number].get(index)
        if position is None:
            continue
        array = sources[number].arrays[position]
        if supplier is not None:
            rows.append(_pair_row(Kind.OVERRIDDEN, name, variable, array, number, "", supplier))
            continue
        kind, reason = judge(array, variable)
        if kind is Kind.MISMATCHED and sources[number].ignore_mismatch:
            rows.append(_pair_row(Kind.PASSED_OVER, name, variable, array, number, reason))
            continue
        supplier = number
        rows.insert(0, _pair_row(kind, name, variable, array, number, reason))
    return rows


def _pair_row(
    kind: Kind,
    name: str,
    variable: VariableSpec,
    array: ArraySpec,
    source: int,
    reason: str,
    by: int | None = None,
) -> Row:
    return Row(
        kind,
        name,
        variable.shape,
        variable.dtype,
        source,
        array.origin,
        array.shape,
        array.dtype,
        by,
        reason,
        array.changes,
    )


def _array_row(kind: Kind, array: ArraySpec, source: int) -> Row:
    return Row(
        kind,
        array.name,
        source=source,
        array=array.origin,
        array_shape=array.shape,
        array_dtype=array.dtype,
        changes=array.changes,
    )


def _mark_slots(rows: Sequence[Row], restored: set[str], slots: SlotFinder) -> list[Row]:
    """Give slots of restored variables a kind of their own, if they are on one side only."""
    one_sided = (Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE)
    names = {row.name for row in rows if row.kind in one_sided}
    of = slots(names, restored) if names else {}
    return [
        replace(row, kind=Kind.SLOT, reason=f"of {of[row.name]}")
        if row.name in of and row.kind in one_sided
        else row
        for row in rows
    ]
