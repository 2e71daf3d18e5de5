"""Whether people gave other names to what is at the same place."""

from __future__ import annotations

from collections.abc import Sequence

from initreg.names import normalise
from initreg.plan.name_parts import (
    alike,
    differ_in_front,
    end,
    given_of,
    labels_of,
    leaves_parts_out,
    names_of,
    parts_of,
    positions_of,
    same_end,
    starts_within,
    without_underscores,
)
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec


def is_other_within(v: VariableSpec, a: ArraySpec) -> bool:
    """Whether only a model within the model has the same name on both sides, as the label
    ``left: weight 0 of 8`` of a legacy file, and the layer in it has another one."""
    common = set(given_of(v)).intersection(given_of(a))
    return common == set(positions_of(common)) and _differ(v, a, False, False)


def is_renamed(v: VariableSpec, a: ArraySpec, is_whole: bool) -> bool:
    """Whether people gave the variable and the array different names, or only one of them.

    Args:
        v: the variable.
        a: the array.
        is_whole: whether neither is a part of the other, so that labels have to be equal.
    """
    a = _without_model(a)
    if not v.given and not a.given:
        return False
    if not a.places and set(map(normalise, v.places)).intersection(given_of(a)):
        return False  # a rule gave the array the place of the variable as its name
    return any(_differ(v, a, is_whole, positions) for positions in (False, True))


def _without_model(a: ArraySpec) -> ArraySpec:
    """The array without names that are its place behind the name of a model. The format cannot know
    whether a framework made that name up, and it says nothing of layers."""
    passing = {name for name in a.automatic if name.partition("/")[2] in a.places}
    if not passing:
        return a
    return replace(
        a,
        aliases=tuple(name for name in a.aliases if name not in passing),
        automatic=tuple(name for name in a.automatic if name not in passing),
    )


def _differ(v: VariableSpec, a: ArraySpec, is_whole: bool, positions: bool) -> bool:
    """Whether names differ. Only those are compared that end alike: ``head/w``, ``tail/w``.

    Args:
        v: the variable.
        a: the array.
        is_whole: whether neither is a part of the other, so that labels have to be equal.
        positions: whether labels with a position count, such as ``head: weight 0 of 2``.
    """

    def compared(names: Sequence[str]) -> list[str]:
        plain = map(without_underscores, names)
        return [name for name in plain if positions or not positions_of([name])]

    ours = compared(given_of(v))
    is_automatic = any(name in v.automatic for name in (v.name, *v.aliases))
    # A name that lacks layers of the path that the variable may have had says nothing of those.
    theirs = [
        name
        for name in compared(given_of(a))
        if not any(leaves_parts_out(whole, name) for whole in v.automatic)
    ]
    one_side, other_side = compared(names_of(v)), compared(names_of(a))
    # An automatic name that agrees with another one, or with the end of one, proves nothing.
    made_up = {*v.automatic, *a.automatic}
    both = {*v.automatic}.intersection(a.automatic)
    for one in one_side:
        for two in other_side:
            short = min(one, two, key=len)
            if one == two and short not in both:
                return False
            is_cut = is_whole and len(labels_of((one, two))) == 2
            if one != two and same_end(one, two) and short not in made_up and not is_cut:
                return False
    if a.automatic and any(map(end, ours)) and not is_automatic:  # a name of one part has no layer
        return True
    if is_automatic and (theirs or a.automatic):
        return _differ_in_part(v, a, ours, theirs)
    if any(leaves_parts_out(one, two) for one in ours for two in theirs):
        return False
    known = {end(name) for name in ours}
    return any(end(name) in known for name in theirs)


def _differ_in_part(
    v: VariableSpec, a: ArraySpec, ours: Sequence[str], theirs: Sequence[str]
) -> bool:
    """Whether a part that people named differs, where other parts of names are automatic."""
    # The format may not know that a name is automatic, as that of a layer of the user's.
    all_own = [normalise(name) for name in v.automatic]
    own = [name for name in all_own if not positions_of([name])]  # those say too little of layers
    others = [*theirs, *map(normalise, a.automatic)]
    kept = parts_of(ours) - parts_of(v.places)
    known = bool(theirs and not a.automatic) or bool(kept & parts_of(own))
    if known and not any(alike(one, two, kept) for one in own for two in others):
        return True
    named, labels = labels_of(ours), labels_of(theirs)
    if not labels and {end(name)[0] for name in named} & {end(n)[0] for n in labels_of(others)}:
        return True  # only the variable is in a model with a name
    if labels and not named:
        return not any(starts_within(label, one) for label in labels for one in all_own)
    return any(differ_in_front(one, two) for one in ours for two in theirs)
