"""Places: where arrays and variables are in the structures that they belong to.

A checkpoint may hold more than the target, as ``model/encoder/kernel`` for ``encoder/kernel``. So
the two structures are laid upon each other first: a prefix of the source's places is looked for,
under which they are those of the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from initreg.plan.name_parts import unique
from initreg.records import fresh, record
from initreg.specs import ORDER

_MOST_CUTS = 16  # parts of a place at which a prefix may end
_MOST_PARTS = 8  # of a checkpoint that have the same place in them
# Not a part of the structure, which has another name on each side: state, and lists of variables.
_LISTS = re.compile(r"(?:.*/)?\w*(?:optimizer|variables)/", re.DOTALL)


@record(frozen=False)
class Alignment:
    """One way to lay the structure of a source upon that of a target.

    Args:
        pairs: the index of the array for the index of each variable that has one.
        by: the place in the target by which each variable was paired.
        above: what comes before the target's places in the source: ``"model/"``.
        below: what comes before the source's places in the target.
    """

    pairs: dict[int, int] = fresh(factory=dict)
    by: dict[int, str] = fresh(factory=dict)
    above: str = ""
    below: str = ""

    @property
    def is_in_order(self) -> bool:
        """Whether positions in an order were compared, which are not places in a structure."""
        return any(place.startswith(ORDER) for place in self.by.values())

    def contradicts(self, other: Alignment) -> bool:
        """Whether the other one would put another array into a variable, or an array elsewhere."""
        if any(other.pairs.get(v, a) != a for v, a in self.pairs.items()):
            return True
        theirs = {a: v for v, a in other.pairs.items()}
        return any(theirs.get(a, v) != v for v, a in self.pairs.items())


def alignments(
    arrays: Sequence[Sequence[str]], variables: Sequence[Sequence[str]]
) -> list[Alignment]:
    """The ways to lay a source upon a target, the one with the most pairs first.

    The one without any prefix is tried first. If it pairs everything, it is the only one.

    Args:
        arrays: the places of each array.
        variables: the places of each variable, the most reliable first.
    """
    theirs = unique(arrays)
    ours = unique(variables)
    plain = Alignment()
    for index, places in enumerate(variables):
        for place in places:
            array = theirs.get(place)
            if array is not None and ours[place] == index:
                plain.pairs[index], plain.by[index] = array, place
                break
    _once(plain)
    with_places = sum(map(bool, arrays)), sum(map(bool, variables))
    if (len(plain.pairs), len(plain.pairs)) == with_places:
        return [plain]
    rank = {place: n for places in variables for n, place in enumerate(places)}
    found = {("", ""): plain}

    def add(above: str, below: str, variable: int, array: int, place: str) -> None:
        each = found.setdefault((above, below), Alignment(above=above, below=below))
        known = each.by.get(variable)
        if known is None or rank[place] < rank[known]:
            each.pairs[variable], each.by[variable] = array, place

    parts: dict[str, list[tuple[str, int]]] = {}  # without what the root of a checkpoint calls them
    for place, array in theirs.items():
        for number, (above, rest) in enumerate(_cuts(place)):
            if rest in ours:
                add(above, "", ours[rest], array, rest)
            if not number and not _LISTS.match(above):
                parts.setdefault(rest, []).append((above, array))
    for place, variable in ours.items():
        for below, rest in _cuts(place):
            if rest in theirs:
                add("", below, variable, theirs[rest], place)
            for above, array in parts.get(rest, ())[:_MOST_PARTS]:
                if above != below and not _LISTS.match(below):
                    add(above, below, variable, array, place)
    for each in found.values():
        _once(each)
    return sorted(filter(lambda each: each.pairs, found.values()), key=lambda e: -len(e.pairs))


def _once(each: Alignment) -> None:
    """Keep an array for the first of the variables that it is paired with."""
    taken: set[int] = set()
    for variable, array in sorted(each.pairs.items()):
        if array in taken:
            del each.pairs[variable], each.by[variable]
        taken.add(array)


def _cuts(place: str) -> Iterator[tuple[str, str]]:
    """A place in two parts: what may be a prefix, and the rest."""
    if place.startswith(ORDER):
        return
    at = -1
    for _ in range(_MOST_CUTS):
        at = place.find("/", at + 1)
        if at < 0:
            return
        yield place[: at + 1], place[at + 1 :]
