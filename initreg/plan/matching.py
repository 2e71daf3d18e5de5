"""Matching: compares the names, shapes and dtypes of a chain with those of a target.

It makes the plan from specs alone, without numpy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from initreg.names import NO_PATTERNS, Patterns
from initreg.plan.expectations import Expectations, SourceSpecs
from initreg.plan.in_order import numbered, pair_in_order
from initreg.plan.judging import is_fit
from initreg.plan.naming import Naming, choose, in_all, is_structured
from initreg.plan.plain_names import Names, pair_by, pair_plain
from initreg.plan.plan import Plan
from initreg.plan.row_making import Paired, SlotFinder, make_rows
from initreg.plan.rows import ASKED, By, Policy, Way
from initreg.plan.states import States, only_whole, pair_states
from initreg.plan.unnamed import with_unnamed
from initreg.records import replace
from initreg.specs import VariableSpec


def no_slots(names: Collection[str], variables: Collection[str]) -> Mapping[str, str]:
    """A :data:`initreg.plan.row_making.SlotFinder` that finds no slots."""
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

    paired = [
        Paired(number, source, namings[number], pairs[number], states[number].copies)
        for number, source in enumerate(sources)
    ]
    names = list(target_names.by_name)
    return Plan(
        make_rows(names, variables, paired, expectations, slots),
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
    pairs = pair_plain(source.arrays, variables, theirs, names, source.label)
    return Naming(with_unnamed(pairs, source.arrays, variables, source.label))
