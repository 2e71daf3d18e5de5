"""Names of whole models: which part of the other side's model a model is.

The file of a model that is called ``encoder`` may go into a model that has a part of this name, and
a model that is called ``decoder`` may be restored from the file of a model that has such a part.
Automatic names begin with the name of the model: ``encoder/dense_4/kernel``. That of a part is
among the names that people gave. Some sources record the name of their model beside those of its
arrays, and some targets have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from initreg.names import normalise
from initreg.plan.name_parts import (
    end,
    given_of,
    names_of,
    pair_by_names,
    parts_of,
    positions_of,
)
from initreg.plan.places import Alignment
from initreg.plan.renamed import is_renamed
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec

Entry = ArraySpec | VariableSpec
_Entry = TypeVar("_Entry", bound=Entry)


def names_of_wholes(
    arrays: Iterable[ArraySpec], variables: Iterable[VariableSpec]
) -> tuple[set[str], set[str]]:
    """What may be the name of all of the source, and of all of the target.

    It is in front of each of the automatic names, or is recorded as such.
    """
    sides: tuple[list[Entry], list[Entry]] = list(arrays), list(variables)
    theirs, ours = (
        _shared(fronts(each) for each in side if each.automatic) | recorded_name(side)
        for side in sides
    )
    return theirs, ours


def recorded_name(side: Iterable[Entry]) -> set[str]:
    """What somebody called the model that all of a side is of, if that is recorded."""
    return _shared({each.model} for each in side) - {""}


def common_name(
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    wholes: tuple[set[str], set[str]],
) -> str:
    """What one side calls all of its model, and the other side the part that was paired with it.

    Args:
        pairs: the index of the array for the index of each variable.
        arrays: the arrays of the source.
        variables: the variables of the target.
        wholes: what :func:`names_of_wholes` finds.

    Returns:
        The name, "" if there is none, or if no person gave it.
    """
    theirs, ours = wholes
    found = set()
    if theirs:
        found |= theirs & _shared(_given_parts(variables[v]) for v in pairs)
    if ours:
        found |= ours & _shared(_given_parts(arrays[a]) for a in pairs.values())
    return min(found, default="")


def called_alike(
    found: Iterable[Alignment],
    arrays: Sequence[ArraySpec],
    places: Sequence[Sequence[str]],
    variables: Sequence[VariableSpec],
) -> list[tuple[Alignment, str]]:
    """The ways to lay all of one side upon the part of the other side that has its name.

    It is this part only if nothing outside of it is called so, and if the names that people gave to
    the layers in it do not say otherwise.

    Args:
        found: ways to lay the source upon the target.
        arrays: the arrays of the source.
        places: the places of each array.
        variables: the variables of the target.

    Returns:
        Each with the name. One that is contained in another one is left out.
    """
    wholes = names_of_wholes(arrays, variables)
    if not any(wholes) or recorded_name(arrays) & recorded_name(variables):
        return []  # two models of one name are the same one, and neither is a part
    named: list[tuple[Alignment, str]] = []
    for each in found:
        if not (each.above or each.below or each.is_in_order):
            continue
        name = common_name(each.pairs, arrays, variables, wholes)
        if not name:
            continue
        if not each.is_in_order:
            if each.above and name in wholes[1] and not _is_all(name, each.above, arrays, places):
                continue
            ours = [entry.places for entry in variables]
            if each.below and name in wholes[0] and not _is_all(name, each.below, variables, ours):
                continue
            if _is_other(each, name, arrays, variables):
                continue
        named.append((each, name))
    return [
        one
        for one in named
        if not any(one[0].pairs.items() < other.pairs.items() for other, _ in named)
    ]


def _is_all(
    name: str, prefix: str, entries: Sequence[Entry], places: Sequence[Sequence[str]]
) -> bool:
    """Whether just what is under a place is in the part of this name, as far as it has names."""
    for entry, at in zip(entries, places, strict=True):
        is_inside = any(normalise(place).startswith(prefix) for place in at)
        parts = _given_parts(entry)
        if parts and (name in parts) is not is_inside:
            return False
    return True


def _is_other(
    found: Alignment, name: str, arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> bool:
    """Whether the names that people gave to the layers of a part pair them otherwise."""
    theirs = {a: _within(arrays[a], name, found.above) for a in found.pairs.values()}
    ours = {v: _within(variables[v], name, found.below) for v in found.pairs}
    by_names = pair_by_names(map(given_of, ours.values()), map(given_of, theirs.values()))
    numbers, indices = list(ours), list(theirs)
    if any(found.pairs[numbers[v]] != indices[a] for v, a in by_names.items()):
        return True
    return any(
        theirs[a].given and ours[v].given and is_renamed(ours[v], theirs[a], True)
        for v, a in found.pairs.items()
    )


def _within(entry: _Entry, name: str, prefix: str) -> _Entry:
    """An array or a variable as its part calls it, if that is the part of this name and place."""
    if not prefix:
        return entry
    places = tuple(place.removeprefix(prefix) for place in map(normalise, entry.places))
    given = dict.fromkeys(
        each.rpartition(f"{name}/")[2] if f"/{name}/" in f"/{each}" else each
        for each in given_of(entry)
        if not positions_of([each])
    )
    names = [*given, *places]
    automatic = tuple(each for each in entry.automatic if each not in given)
    aliases = tuple(dict.fromkeys([*names[1:], *automatic]))
    return replace(entry, name=names[0], aliases=aliases, places=places, automatic=automatic)


def part_name(entries: Iterable[Entry]) -> str:
    """The name that people gave to the part that all of these are in, "" if there is none."""
    firsts = [
        {name.split("/")[0].split(":")[0] for name in given_of(e) if end(name)} for e in entries
    ]
    return min(_shared(firsts), default="")


def fronts(entry: Entry) -> set[str]:
    """The first parts of the names of an array or a variable that have several."""
    return {name.split("/", 1)[0] for name in names_of(entry) if end(name).startswith("/")}


def _given_parts(entry: Entry) -> set[str]:
    return parts_of(name for name in given_of(entry) if end(name))


def _shared(each: Iterable[set[str]]) -> set[str]:
    found = list(each)
    return set.intersection(*found) if found else set()
