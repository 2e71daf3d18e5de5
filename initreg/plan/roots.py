"""Names of whole models: which part of the other side's model a model is.

The file of a model that is called ``encoder`` may go into a model that has a part of this name, and
a model that is called ``decoder`` may be restored from the file of a model that has such a part.
Automatic names begin with the name of the model: ``encoder/dense_4/kernel``. That of a part is
among the names that people gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from initreg.plan.name_parts import end, given_of, names_of, parts_of
from initreg.specs import ArraySpec, VariableSpec

Entry = ArraySpec | VariableSpec


def names_of_wholes(
    arrays: Iterable[ArraySpec], variables: Iterable[VariableSpec]
) -> tuple[set[str], set[str]]:
    """What may be the name of all of the source, and of all of the target.

    It is in front of each of the automatic names.
    """
    theirs, ours = (
        _shared(fronts(each) for each in side if each.automatic) for side in (arrays, variables)
    )
    return theirs, ours


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
