"""Variables that nobody named, by their numbers: ``scale/variable``, ``scale/variable_7``.

Keras counts the variables without a name that a program makes, in all layers together. So in
another program the same two weights of a layer are ``variable_1`` and ``variable_2``, and equal
numbers prove nothing. A source that has only names says two things of them that do not change: the
name of their layer, and their order in it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence

from initreg.errors import AmbiguousNames
from initreg.names import normalise
from initreg.option_spelling import option
from initreg.plan.judging import is_fit
from initreg.specs import ArraySpec, VariableSpec
from initreg.text.wording import plural

_UNNAMED = re.compile(r"(.+/variable)(?:_(\d{1,18}))?", re.DOTALL)

Group = list[tuple[int, int]]  # numbers, with the indices of the arrays or variables, in order


def with_unnamed(
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    label: str,
) -> dict[int, int]:
    """The pairs by names, with those of variables that nobody named by their order in their layer.

    If both sides have the same numbers in a layer, or a different count of them that begins alike,
    these are names as any other.

    Args:
        pairs: the index of the array for the index of each variable, by equal names.
        arrays: the arrays of a source that has only names.
        variables: the variables of the target.
        label: what to call the source.

    Raises:
        AmbiguousNames: numbers are equal that may not mean the same, and the order says nothing.
    """
    found = dict(pairs)
    ours = _grouped(
        (index, variable.name)
        for index, variable in enumerate(variables)
        if variable.automatic and variable.name in variable.automatic
    )
    if not ours:
        return found
    theirs = _grouped((index, array.name) for index, array in enumerate(arrays))
    for stem, own in ours.items():
        other = theirs.get(stem)
        if other is None or [number for number, _ in own] == [number for number, _ in other]:
            continue
        members = {array for _, array in other}
        by_name = {v: found.pop(v) for _, v in own if found.get(v) in members}
        if any(v in found for _, v in own) or members.intersection(found.values()):
            found |= by_name  # other names have said what some of them are
            continue
        in_order = {v: a for (_, v), (_, a) in zip(own, other, strict=False)}
        if len(own) == len(other) and all(
            is_fit(arrays[a], variables[v]) for v, a in in_order.items()
        ):
            found |= in_order
        elif own[0][0] == other[0][0]:
            found |= by_name
        elif by_name:
            raise _other_numbers(label, stem, [arrays[a].name for _, a in other], len(own))
    return found


def _grouped(names: Iterable[tuple[int, str]]) -> dict[str, Group]:
    """Those that nobody named, by their layers, in the order of their numbers."""
    groups: dict[str, Group] = {}
    for index, name in names:
        match = _UNNAMED.fullmatch(normalise(name)) if "/variable" in name else None
        if match is not None:
            groups.setdefault(match[1], []).append((int(match[2] or 0), index))
    for group in groups.values():
        group.sort()
    return groups


def _other_numbers(label: str, stem: str, names: Sequence[str], ours: int) -> AmbiguousNames:
    layer = stem.rpartition("/")[0]
    return AmbiguousNames(
        f"{label}: nothing was written, because it has {plural(len(names), 'weight')} without a "
        f"name in the layer {layer!r}, {', '.join(map(repr, names[:4]))}, and the target has "
        f"{ours}. Their numbers count what a program has made and begin elsewhere, so that equal "
        "ones may be other weights. Pass "
        + option("by", "name")
        + " to go by the numbers all the same, or "
        + option("drop", f"{glob.escape(stem)}*")
        + " to leave the weights as they are"
    )
