"""Errors where names can be read in several ways. Each shows the readings, with what to type."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence

from initreg.errors import AmbiguousNames
from initreg.option_spelling import join, option
from initreg.plan import orders
from initreg.plan.numbering import Shift
from initreg.plan.other_weights import (
    Fits,
    Misfit,
    OtherRole,
    Recount,
    find_other_role,
    find_recount,
)
from initreg.plan.places import Alignment
from initreg.plan.rows import By
from initreg.specs import ArraySpec, VariableSpec
from initreg.text.wording import names_text, plural

_MOST_PARTS = 4  # that are shown


def shifted(route: str, shift: Shift, found: Alignment, way: By) -> AmbiguousNames:
    """The numbers of a family may mean something else than they did in the source."""
    if shift.theirs == shift.ours:
        counts = f"the {shift.ours} members of {shift.family!r} differ in source and target"
    else:
        counts = f"the source has {shift.theirs} and the target {shift.ours} of {shift.family!r}"
    return _by_place(
        route,
        f"{counts}, without names that people gave. The numbers do not say which of them is new, "
        "and the shapes fit in several ways",
        found,
        way,
    )


def moved(route: str, array: str, variable: str, found: Alignment, way: By) -> AmbiguousNames:
    """Two layers that fit each other are at different places."""
    return _by_place(
        route,
        f"{array!r} of the source and {variable!r} of the target fit each other, but are at "
        "different places, without names that people gave. So other places may mean other layers",
        found,
        way,
    )


def _by_place(route: str, why: str, found: Alignment, way: By) -> AmbiguousNames:
    return AmbiguousNames(
        f"{route}: nothing was written, because {why}. Pass "
        + _laid_so(found, way)
        + f" to go by {way.value} all the same, or give the layers names"
    )


def contradiction(
    route: str,
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    sure: Mapping[int, int],
    found: Alignment,
    against: Sequence[int],
    way: By,
) -> AmbiguousNames:
    """Names that people gave say otherwise than places.

    Args:
        route: what to call source and target.
        arrays: the arrays of the source.
        variables: the variables of the target.
        sure: the pairs by name.
        found: the pairs by place.
        against: the variables for which they differ.
        way: by place, or by order.
    """
    by_array = {a: v for v, a in found.pairs.items()}
    entries = []
    for variable in against:
        array = sure[variable]
        other = found.pairs.get(variable)
        note = f"by name {arrays[array].name!r}, by {way.value} "
        if other is not None:
            note += repr(arrays[other].name)
        else:
            note += f"that goes into {variables[by_array[array]].name!r}"
        entries.append((variables[variable].name, note))
    lines = "".join(f"\n  {line}" for line in names_text(entries, gap=": "))
    return AmbiguousNames(
        f"{route}: names and {way.value}s contradict each other, and nothing was "
        f"written:{lines}\nPass "
        + option("by", "name")
        + " to go by the names that people gave, or "
        + _laid_so(found, way)
        + f" to go by {way.value}"
    )


def _laid_so(found: Alignment, way: By) -> str:
    """The options that lay the source upon the target in this way and no other."""
    options = []
    if found.above:
        options += [
            option("keep", f"{glob.escape(found.above)}*"),
            option("strip_prefix", found.above),
        ]
    if found.below:
        options.append(option("prefix", found.below))
    return join(", ", [*options, option("by", way.value)])


def other_count(
    route: str, found: Alignment, arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> AmbiguousNames:
    """There are more layers, or variables, on one side than on the other."""
    place = next(iter(found.by.values()))
    sort, what = ("#layer ", "layers") if place.startswith("#layer") else ("#variables/", "weights")
    theirs, ours = orders.count_of(arrays, sort), orders.count_of(variables, sort)
    if theirs == ours:
        counts = f"some of the {ours} {what} of the target have other weights than in the source"
    else:
        counts = f"the source has {theirs} and the target {ours} {what}"
    return _by_place(
        route,
        f"{counts}, without names that people gave. Their order does not say which of them is new",
        found,
        By.ORDER,
    )


def check_numbered(
    route: str,
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    dropped: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    fits: Fits,
) -> None:
    """Raise AmbiguousNames if numbered weights are paired that may be, or are, others.

    See :func:`find_recount` and :func:`find_other_role`.
    """
    recount = find_recount(pairs, [*arrays, *dropped], variables, fits)
    if recount is not None:
        raise _recounted(route, recount)
    other = find_other_role(pairs, arrays, variables)
    if other is not None:
        raise _other_role(route, other)


def _recounted(route: str, found: Recount) -> AmbiguousNames:
    """A layer has other weights than it had, and numbers are all that tells them apart."""
    return AmbiguousNames(
        f"{route}: nothing was written, because {found.place.removesuffix('/vars/')!r} has "
        f"{plural(found.theirs, 'weight')} in the source, and the layer of {found.variable!r} has "
        f"{found.ours}. They are only numbered, and the shapes do not say which ones are not in "
        "both. Build the layer with the options that it was saved with, or pass "
        + option("drop", f"{glob.escape(found.place)}*")
        + " to leave it as it is"
    )


def _other_role(route: str, found: OtherRole) -> AmbiguousNames:
    """A layer has another weight at the same number than it had."""
    return AmbiguousNames(
        f"{route}: nothing was written, because {found.array!r} of the source is "
        f"{found.theirs!r} in its layer, as the config in the file says, and {found.variable!r} of "
        f"the target is {found.ours!r}. Build the layer with the options that it was saved with, "
        "or pass " + option("drop", f"{glob.escape(found.place)}*") + " to leave it as it is"
    )


def misfit(route: str, found: Misfit, alignment: Alignment, way: By) -> AmbiguousNames:
    """Places, or positions in an order, pair what is recorded to be different things."""
    where = "position" if way is By.ORDER else "place"
    return AmbiguousNames(
        f"{route}: nothing was written, because {found.array!r} of the source and "
        f"{found.variable!r} of the target are at the same {where}, but {found.why}. Build the "
        "model as it was saved. If they are the same all the same, pass " + _laid_so(alignment, way)
    )


def several_parts(
    route: str, rivals: Sequence[Alignment], called: Sequence[tuple[str, str]], is_fit: bool
) -> AmbiguousNames:
    """Several parts of the source or of the target fit.

    Args:
        route: what to call source and target.
        rivals: how they can be paired.
        called: for each, what people called the part of the source, and that of the target.
        is_fit: whether all shapes fit. Otherwise there is nothing to type that would restore them.
    """
    lines: list[str] = []
    for each, (theirs, ours) in zip(rivals[:_MOST_PARTS], called, strict=False):
        parts = [f"{each.above!r} of the source{_called(theirs)}"] if each.above else []
        parts += [f"{each.below!r} of the target{_called(ours)}"] if each.below else []
        where = " in ".join(parts) or "all of the source"
        count = plural(len(each.pairs), "variable")
        line = f"\n  {where}, {count}"
        lines.append(f"{line}: " + _laid_so(each, By.PLACE) if is_fit else line)
    if len(rivals) > _MOST_PARTS:
        lines.append(f"\n  and {len(rivals) - _MOST_PARTS} more")
    if not is_fit:
        why = "several parts have the same places, not all of their shapes fit, and no name says "
        why += "which one is meant:"
    elif len(rivals) == 1:
        why = "a part of the source fits, but so may others, and no name says which one is meant:"
        if not rivals[0].above:
            why = "one reading fits, but so may others, and no name says which one is meant:"
    else:
        why = "several parts fit as well, and no name says which one is meant:"
    return AmbiguousNames(join("", [f"{route}: nothing was written, because {why}", *lines]))


def _called(name: str) -> str:
    return f", which is called {name!r}" if name else ""
