"""Places that count: what their numbers mean if one side has more of a sort, or others.

``layers/dense_1`` in a file of Keras and ``layer_with_weights-3`` in a checkpoint are members of a
*family*, which the number tells apart. The number is that of the layer among those that were saved.
In a model with one more layer, it may be that of another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from initreg.plan.places import Alignment
from initreg.specs import ORDER, ArraySpec, VariableSpec

_MOST_MEMBERS = 512  # of a family that are compared
# "dense" and "dense_1", "layer_with_weights-3", or "3" in a list.
_NUMBERED = re.compile(r"(.*?)(?:(?:_|-|^)(\d{1,9}))?", re.DOTALL)
_Shape = tuple[int | None, ...] | None
_Key = tuple[str, str]  # of a family: the place that has it, and its name
# For each member of a family, by its number, the shapes by the rest of the place.
_Members = dict[int, dict[str, _Shape]]
_Pairs = set[tuple[int, int]]  # of numbers, ours with theirs


@dataclass(frozen=True, slots=True)
class Shift:
    """A family whose numbers may mean something else in the target than in the source.

    Args:
        family: what the places have in common: ``"layers/dense"``.
        ours: how many members the target has.
        theirs: how many the source has.
    """

    family: str
    ours: int
    theirs: int


def find_shift(
    found: Alignment,
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    sure: Mapping[int, int],
    pairs: Mapping[int, int],
) -> Shift | None:
    """Find a family whose members differ, and whose numbers therefore may mean something else.

    Members are believed to keep their order. So the numbers are believed if the members fit in one
    way in this order, and if that is what the numbers say. The shapes decide whether members fit,
    and names that say which member is which.

    Args:
        found: the pairs by place.
        arrays: the arrays of the source.
        variables: the variables of the target.
        sure: the pairs that names confirm.
        pairs: the pairs that are to be restored.
    """
    taken = set(found.pairs.values())
    alone = [*_placed((a for i, a in enumerate(arrays) if i not in taken), found.above)]
    alone += _placed((v for i, v in enumerate(variables) if i not in found.pairs), found.below)
    keys = {each.key for place, _ in alone for each in _numbered(place)}
    if not keys or not found.pairs:
        return None
    theirs = _members(_placed(arrays, found.above), keys)
    ours = _members(_placed(variables, found.below), keys)
    fixed = _pairs(sure, found, arrays, variables, keys, by_name=True)
    paired = _pairs(found.pairs, found, arrays, variables, keys)
    wanted = _pairs(pairs, found, arrays, variables, keys)
    for key, mine in ours.items():
        others, known = theirs.get(key, {}), fixed.get(key, set())
        if others and mine != others and not wanted.get(key, set()) <= known:
            found_pairs = readings(mine, others, known)
            if found_pairs is None or not found_pairs <= paired.get(key, set()):
                return Shift("/".join(filter(None, key)), len(mine), len(others))
    return None


def with_dropped(
    found: Alignment, first: int, dropped: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> Alignment:
    """The alignment with arrays that rules left out, where they have the place of a variable.

    Args:
        found: the alignment of the others.
        first: the index of the first of them.
        dropped: the arrays that were left out.
        variables: the variables of the target.
    """
    theirs = {place: n for n, each in enumerate(dropped, first) for place in each.places}
    more: dict[int, int] = {}
    for index, variable in enumerate(variables if theirs else ()):
        for place in variable.places if index not in found.pairs else ():
            array = theirs.get(found.above + place.removeprefix(found.below))
            if array is not None and not place.startswith(ORDER):
                more[index] = array
                break
    return replace(found, pairs=found.pairs | more)


def find_moved(
    found: Alignment, arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> tuple[str, str] | None:
    """Find a layer of the source and one of the target that fit each other, but were not paired.

    So the structure is another one, and what is at equal places may be something else, too. Layers
    to which people gave names on both sides are left out, because the names say that they differ.

    Returns:
        Their places.
    """
    taken = set(found.pairs.values())
    theirs = _layers(a for i, a in enumerate(arrays) if i not in taken)
    ours = _layers(v for i, v in enumerate(variables) if i not in found.pairs)
    kinds: dict[frozenset[tuple[str, _Shape]], list[_Layer]] = {}
    for layer in theirs:
        kinds.setdefault(layer.kind, []).append(layer)
    for layer in ours:
        for other in kinds.get(layer.kind, ()):
            if not (layer.is_named and other.is_named):
                return other.place, layer.place
    return None


class _Layer(NamedTuple):
    """What has a common place, up to the last part of the places."""

    place: str
    kind: frozenset[tuple[str, _Shape]]
    is_named: bool


def _layers(entries: Iterable[ArraySpec | VariableSpec]) -> list[_Layer]:
    kinds: dict[str, set[tuple[str, _Shape]]] = {}
    named: set[str] = set()
    for entry in entries:
        for place, shape in _placed([entry], ""):
            above, slash, last = place.rpartition("/")
            if slash:
                kinds.setdefault(above, set()).add((last, shape))
                if entry.given:
                    named.add(above)
    return [_Layer(place, frozenset(kind), place in named) for place, kind in kinds.items()]


def _placed(
    entries: Iterable[ArraySpec | VariableSpec], prefix: str
) -> Iterator[tuple[str, _Shape]]:
    """The places below a prefix, without it, and the shapes."""
    for entry in entries:
        for place in entry.places:
            if place.startswith(prefix) and not place.startswith(ORDER):
                yield place[len(prefix) :], entry.shape


class _Member(NamedTuple):
    """A family that a place belongs to, the number of its member, the rest of the place, and where
    the member begins in it."""

    key: _Key
    number: int | None
    rest: str
    start: int


def _numbered(place: str) -> Iterator[_Member]:
    start = 0
    while start <= len(place):
        end = place.find("/", start)
        end = len(place) if end < 0 else end
        match = _NUMBERED.fullmatch(place[start:end])
        # The variables of one layer, ``dense/vars/0``, are not members of a family.
        if match is not None and (match[1] or not place.endswith("vars/", 0, start)):
            number = None if match[2] is None else int(match[2])
            yield _Member((place[: max(0, start - 1)], match[1]), number, place[end:], start)
        start = end + 1


def _members(placed: Iterable[tuple[str, _Shape]], keys: set[_Key]) -> dict[_Key, _Members]:
    """The members of the families. Names that are numbered by people have no first one without a
    number (``block_1`` and ``block_2``), and do not count."""
    found: dict[_Key, dict[int | None, dict[str, _Shape]]] = {}
    for place, shape in placed:
        for key, number, rest, _ in _numbered(place):
            if key in keys:
                found.setdefault(key, {}).setdefault(number, {})[rest] = shape
    return {
        key: {(0 if n is None else n): rests for n, rests in members.items()}
        for key, members in found.items()
        if None in members or not key[1] or key[1].endswith(("weights", "layer"))
    }


def _pairs(
    pairs: Mapping[int, int],
    found: Alignment,
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    keys: set[_Key],
    by_name: bool = False,
) -> dict[_Key, _Pairs]:
    """The members of each family that belong together, as these pairs of variables and arrays say.

    Args:
        by_name: whether names say so. Then the end of a place that is a part of the name, too,
            proves nothing: ``layers/dense_1/vars/0`` in ``encoder/layers/dense_1/vars/0``.
    """
    result: dict[_Key, _Pairs] = {}
    for index, position in pairs.items():
        variable, array = variables[index], arrays[position]
        names = set(variable.given) & set(array.given) if by_name else set()
        theirs = dict(_numbers(array, found.above, keys, names))
        for key, number in _numbers(variable, found.below, keys, names):
            if key in theirs:
                result.setdefault(key, set()).add((number, theirs[key]))
    return result


def _numbers(
    entry: ArraySpec | VariableSpec, prefix: str, keys: set[_Key], names: set[str]
) -> Iterator[tuple[_Key, int]]:
    for place, _ in _placed([entry], prefix):
        for key, number, _, start in _numbered(place):
            if key in keys and (
                not names or any(not name.endswith(place[start:]) for name in names)
            ):
                yield key, number or 0


def readings(ours: _Members, theirs: _Members, fixed: _Pairs) -> _Pairs | None:
    """How the members of both sides belong together, if they keep their order and fit.

    As many as possible are paired. None if there are several ways to do that.

    Args:
        ours: for each member of the target, by its number, the shapes by the rest of the place.
        theirs: the same of the source.
        fixed: the numbers that are known to belong together, ours with theirs.
    """
    if max(len(ours), len(theirs)) > _MOST_MEMBERS:
        return None
    rows, columns = sorted(ours), sorted(theirs)
    known = {row for row, _ in fixed}, {column for _, column in fixed}
    # For the first members of ours and of theirs: how many can be paired, and in how many ways.
    most = [[0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    ways = [[1] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            free = row not in known[0] and column not in known[1]
            fits = (free or (row, column) in fixed) and _alike(ours[row], theirs[column])
            best = max(most[i][j + 1], most[i + 1][j], most[i][j] + 1 if fits else 0)
            count = ways[i][j + 1] if most[i][j + 1] == best else 0
            count += ways[i + 1][j] if most[i + 1][j] == best else 0
            count -= ways[i][j] if most[i][j] == best else 0  # it was counted twice
            count += ways[i][j] if fits and most[i][j] + 1 == best else 0
            most[i + 1][j + 1], ways[i + 1][j + 1] = best, count
    if ways[-1][-1] != 1:
        return None
    pairs: _Pairs = set()
    i, j = len(rows), len(columns)
    while i and j:
        if most[i - 1][j] == most[i][j]:
            i -= 1
        elif most[i][j - 1] == most[i][j]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.add((rows[i], columns[j]))
    return pairs


def _alike(one: Mapping[str, _Shape], other: Mapping[str, _Shape]) -> bool:
    both = one.keys() & other.keys()
    return bool(both) and all(_same(one[rest], other[rest]) for rest in both)


def _same(one: _Shape, other: _Shape) -> bool:
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=True)
    )
