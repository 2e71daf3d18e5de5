"""Matching: compares the names, shapes and dtypes of a chain with those of a target.

It makes the plan from specs alone, without numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from initreg import dtypes
from initreg.names import NO_PATTERNS, Patterns, normalise
from initreg.plan.axes import hidden_order, squeeze
from initreg.plan.expectations import Expectations, SourceSpecs
from initreg.plan.in_order import numbered, pair_in_order
from initreg.plan.naming import Naming, choose, in_all, is_structured
from initreg.plan.plain_names import Names, pair_by, pair_plain
from initreg.plan.plan import Plan
from initreg.plan.rows import ASKED, By, Kind, Policy, Row, Way
from initreg.plan.states import States, only_whole, pair_states
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec

# Takes the names on one side only and the names of the restored variables, and returns the variable
# of each name that is a slot.
SlotFinder = Callable[[Collection[str], Collection[str]], Mapping[str, str]]


_MATCHED = Kind.MATCHED, ""


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None or shape == wanted:
        return True
    return len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def judge(array: ArraySpec, variable: VariableSpec) -> tuple[Kind, str]:
    """Whether an array fits a variable, and how.

    The shapes must be equal, or differ only by axes of length 1. If such an array also fits with
    its axes in the order of the other framework, and its values would be in other places then, it
    does not fit, because nothing says which is meant. A rule that puts the axes in order does.
    The dtypes must be equal, or both be floats, or both be integers, with that of the variable
    being the wider one.

    Returns:
        MATCHED, RESHAPED, CAST or MISMATCHED, and for MISMATCHED the reason in words. An array that
        cannot be read is MISMATCHED.
    """
    if array.unreadable:
        return Kind.MISMATCHED, "it cannot be read: " + array.unreadable
    shape, wanted = array.shape, variable.shape
    if shape == wanted and array.dtype == variable.dtype:  # most of them
        return _MATCHED
    same = _fits(shape, wanted)
    squeezable = not same and squeeze(shape) == squeeze(wanted or ())
    reasons = []
    if not same and not squeezable:
        reasons.append(f"shape {shape} does not fit {wanted}")
    elif squeezable:
        hidden = _hidden(array, variable)
        reasons += [f"shape {shape} fits {wanted} in two ways: {hidden}"] if hidden else []
    if array.dtype != variable.dtype and not dtypes.can_cast(array.dtype, variable.dtype):
        note = dtypes.note_on_cast(array.dtype, variable.dtype)
        reasons.append(f"dtype {array.dtype} is not cast to {variable.dtype}{note}")
    if reasons:
        return Kind.MISMATCHED, " and ".join(reasons)
    if squeezable:
        return Kind.RESHAPED, ""
    if array.dtype != variable.dtype:
        return Kind.CAST, ""
    return Kind.MATCHED, ""


def _hidden(array: ArraySpec, variable: VariableSpec) -> str:
    """The two ways in which an array fits by axes of length 1, "" if there is only one."""
    found = None
    if array.axes is None:
        shape, wanted = array.shape, variable.shape or ()
        found = hidden_order(shape, wanted, normalise(variable.name), array.origin)
    if found is None:
        return ""
    framework, axes = found
    return f"reshaped, or with the axes in the order {axes}, as if from {framework}"


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
        DuplicateName: two variables have the same name.
        AmbiguousNames: the names of a source can be read in several ways.
        RuleError: a source was to be matched in a way that it does not allow.

    >>> source = SourceSpecs("a.npz", [ArraySpec("w", (2,), "float32")])
    >>> [row.kind.value for row in match([source], [VariableSpec("w", (2,), "float32")], "model")]
    ['matched']
    """
    target_names = Names.of(variables, target)
    expectations = Expectations(sources, expect_missing)
    namings = [_named(source, variables, target_names, target) for source in sources]
    namings = _with_whole_states(sources, variables, namings)
    pairs = [
        expectations.without_ignored(number, naming.pairs, variables)
        for number, naming in enumerate(namings)
    ]
    states = [
        pair_states(
            sources[number].arrays,
            variables,
            replace(naming, pairs=pairs[number]),
            is_fit,
            sources[number].by,
            number,
        )
        if naming.has_states
        else States(notes=list(naming.states))
        for number, naming in enumerate(namings)
    ]
    for number, found in enumerate(states):
        pairs[number] = pairs[number] | expectations.without_ignored(number, found.pairs, variables)

    # State that an optimizer alone lacks is as missing as a weight that a model lacks.
    has_model = any(variable.state is None for variable in variables)
    rows: list[Row] = []
    restored: set[str] = set()
    last_first = [(number, sources[number], pairs[number]) for number in range(len(sources))][::-1]
    renamed = any(naming.renamed for naming in namings)
    for name, (index, variable) in zip(target_names.by_name, enumerate(variables), strict=True):
        of_variable = _rows_of(name, variable, index, last_first)
        if not of_variable:
            row = _variable_row(name, variable)
            row = expectations.of_variable(row, variable)
            if variable.state is not None and (has_model or variable.state.optional):
                row = _as_state(row, variable)
            rows.append(row)
            continue
        first = of_variable[0]
        supplier = first.source or 0
        if renamed and (called := namings[supplier].renamed.get(index)) is not None:
            of_variable[0] = replace(first, called=called)
        if first.kind is not Kind.PASSED_OVER:
            restored.update((name, sources[supplier].arrays[pairs[supplier][index]].name))
            restored.update(map(normalise, variable.aliases))
        else:  # and so are all others
            of_variable = [expectations.skipped(row, variable) for row in of_variable]
        rows += of_variable
    for number, source in enumerate(sources):
        used = set(pairs[number].values())
        for position, array in enumerate(source.arrays):
            if position not in used:
                row = _array_row(Kind.ONLY_IN_SOURCE, array, number)
                row = expectations.of_array(row, array, position)
                if array.state is not None and namings[number].has_states:
                    row = _as_state(row, array, position in states[number].copies)
                rows.append(row)
        rows += [_array_row(Kind.DROPPED, array, number) for array in source.dropped]
    return Plan(
        _mark_slots(rows, restored, slots),
        [source.label for source in sources],
        target,
        on_missing=on_missing,
        on_unused=[source.on_unused for source in sources],
        unmet=expectations.unmet(),
        ways=[naming.way for naming in namings],
        states=[note for found in states for note in found.notes],
    )


def _named(
    source: SourceSpecs, variables: Sequence[VariableSpec], names: Names, target: str
) -> Naming:
    """Find the variables of the arrays of one source, but for the state of optimizers if the source
    records which arrays are such state."""
    theirs = Names.of(source.arrays, source.label)
    route = f"{source.label} -> {target}"
    numbers = numbered(source.arrays) if source.by is By.ORDER else None
    if numbers is not None:
        pairs = pair_in_order(source.arrays, numbers, variables, is_fit, route)
        return Naming(pairs, Way(By.ORDER, ASKED))
    model = [index for index, each in enumerate(variables) if each.state is None]
    weights = [index for index, each in enumerate(source.arrays) if each.state is None]
    if len(weights) < len(source.arrays) and (
        len(model) < len(variables) or is_structured(source.arrays, variables)
    ):
        # State is not matched by names and places, but by what it is.
        own = replace(
            source,
            arrays=[source.arrays[i] for i in weights],
            dropped=[each for each in source.dropped if each.state is None],
        )
        ours = [variables[i] for i in model]
        naming = _without_states(own, ours, Names.of(ours, target), route)
        return replace(in_all(naming, weights, model), has_states=True)
    if len(model) < len(variables) and is_structured(source.arrays, [variables[i] for i in model]):
        ours = [variables[i] for i in model]
        naming = choose(source.arrays, ours, is_fit, source.by, route, source.dropped)
        return in_all(naming, range(len(source.arrays)), model)
    return _without_states(source, variables, names, route, theirs)


def _with_whole_states(
    sources: Sequence[SourceSpecs], variables: Sequence[VariableSpec], namings: Sequence[Naming]
) -> list[Naming]:
    """The namings without state of an optimizer that all sources together have only a part of.

    An optimizer alone may be given a part of its state.
    """
    if all(each.state is not None for each in variables):
        return list(namings)
    whole = []
    for number, naming in enumerate(namings):
        if not naming.has_states and sources[number].by is None:
            others = [n.pairs for i, n in enumerate(namings) if i != number]
            supplied = {index for each in others for index in each}
            kept, notes = only_whole(variables, naming.pairs, supplied, number)
            naming = replace(naming, pairs=kept, states=(*naming.states, *notes))
        whole.append(naming)
    return whole


def _without_states(
    source: SourceSpecs,
    variables: Sequence[VariableSpec],
    names: Names,
    route: str,
    theirs: Names | None = None,
) -> Naming:
    """Find the variables of arrays, none of which is known to be the state of an optimizer."""
    if is_structured(source.arrays, variables):
        return choose(source.arrays, variables, is_fit, source.by, route, source.dropped)
    if source.by is not None:
        pairs = pair_by(source.arrays, variables, source.by, route)
        return Naming(pairs, Way(source.by, ASKED))
    theirs = theirs or Names.of(source.arrays, source.label)
    return Naming(pair_plain(source.arrays, variables, theirs, names, source.label))


def is_fit(array: ArraySpec, variable: VariableSpec) -> bool:
    """Whether an array fits a variable, as :func:`judge` says."""
    return judge(array, variable)[0] is not Kind.MISMATCHED


def _rows_of(
    name: str,
    variable: VariableSpec,
    index: int,
    sources: Sequence[tuple[int, SourceSpecs, Mapping[int, int]]],
) -> list[Row]:
    """The rows of one variable: first its supplier, then the skipped and overridden arrays.

    Args:
        name: its name, normalised.
        variable: the variable.
        index: its index.
        sources: the number of each source, the source, and its pairs. The last source comes first.
    """
    rows: list[Row] = []
    supplier: int | None = None
    for number, source, pairs in sources:
        position = pairs.get(index)
        if position is None:
            continue
        array = source.arrays[position]
        if supplier is not None:
            rows.append(_pair_row(Kind.OVERRIDDEN, name, variable, array, number, "", supplier))
            continue
        kind, reason = judge(array, variable)
        if reason and source.ignore_mismatch and kind is Kind.MISMATCHED:
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
        made_of=array.made_of,
        parts=_boxes(variable) if variable.parts else (),
    )


def _variable_row(name: str, variable: VariableSpec) -> Row:
    boxes = _boxes(variable) if variable.parts else ()
    return Row(Kind.ONLY_IN_TARGET, name, variable.shape, variable.dtype, parts=boxes)


def _boxes(variable: VariableSpec) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    return tuple((part.at, part.shape) for part in variable.parts)


def _as_state(row: Row, entry: ArraySpec | VariableSpec, is_copy: bool = False) -> Row:
    """Give state on one side only a kind of its own, unless the user expects it there."""
    is_one_sided = row.kind in (Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE)
    if entry.state is None or row.expected or not is_one_sided:
        return row
    return replace(row, kind=Kind.STATE, expected=is_copy)


def _array_row(kind: Kind, array: ArraySpec, source: int) -> Row:
    return Row(
        kind,
        array.name,
        source=source,
        array=array.origin,
        array_shape=array.shape,
        array_dtype=array.dtype,
        changes=array.changes,
        made_of=array.made_of,
    )


def _mark_slots(rows: list[Row], restored: set[str], slots: SlotFinder) -> list[Row]:
    """Give slots of restored variables a kind of their own, if they are on one side only."""
    one_sided = (Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE)
    names = {row.name for row in rows if row.kind in one_sided}
    of = slots(names, restored) if names else {}
    if not of:
        return rows
    return [
        replace(row, kind=Kind.SLOT, reason=f"of {of[row.name]}")
        if row.name in of and row.kind in one_sided
        else row
        for row in rows
    ]
