"""Orders that differ: what positions still say if a layer has other weights, or if one is new.

A legacy file of Keras says ``#layer 0 of 3, weight 1 of 2``, and a folder that a model was exported
to says ``#variables/1 of 6``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from initreg.names import normalise
from initreg.plan.name_parts import given_of, parts_of, without_underscores
from initreg.plan.roots import Entry, fronts
from initreg.specs import ORDER

_WEIGHT = re.compile(r"(#layer (\d+) of \d+), weight (\d+) of \d+")
_COUNTED = re.compile(r"(#(?:layer |variables/)\d+) of (\d+)(.*)", re.DOTALL)
_NUMBER = re.compile(r"_(\d+)\Z")
_LIST = re.compile(rf"{ORDER}\w+/")
_LEGACY = f"{ORDER}layer "


def within_layers(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Positions of layers with the names of the weights in them: ``#layer 0 of 2, dense/kernel``.

    A layer has more weights with LoRA, and they are in another order then.
    """
    groups: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        for place in entry.places:
            match = _WEIGHT.fullmatch(place)
            if match is not None:
                groups.setdefault(match[1], []).append(index)
    return _renumbered(entries, groups)


def within_model(entries: Sequence[Entry], name: str) -> list[tuple[str, ...]]:
    """The names below the name of a model, with numbers that count in that model alone."""
    members = [index for index, entry in enumerate(entries) if name in fronts(entry)]
    return _renumbered(entries, {f"{ORDER}in {name}": members})


def names_of_models(*sides: Iterable[Entry]) -> list[str]:
    """The names that people gave to models, and that are in front of other names on both sides."""
    given = {name for side in sides for entry in side for name in parts_of(given_of(entry))}
    both = set.intersection(*({name for e in side for name in fronts(e)} for side in sides))
    return sorted(given & both)


def without_counts(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Positions without how many there are: ``#layer 0, weight 1 of 2``."""
    return [
        tuple(match[1] + match[3] for match in map(_COUNTED.fullmatch, entry.places) if match)
        for entry in entries
    ]


def is_any_in(positions: Iterable[str], entries: Iterable[Entry]) -> bool:
    """Whether one of the entries has a position in one of the orders of these positions.

    It may have one in another order alone: a legacy file of Keras has only what is in layers.
    """
    found = set(map(order_of, positions)) - {""}
    return not all(found.isdisjoint(map(order_of, entry.places)) for entry in entries)


def order_of(place: str) -> str:
    """Which order a position is in: that of a legacy file of Keras, or the list that it names. ""
    for a place that is no position.

    >>> order_of("#variables/1 of 6"), order_of("#top level, weight 0 of 1"), order_of("fc/kernel")
    ('#variables/', '#layer ', '')
    """
    if not place.startswith(ORDER):
        return ""
    match = _LIST.match(place)
    return _LEGACY if match is None else match[0]


def count_of(entries: Iterable[Entry], sort: str) -> int:
    """How many there are of a sort, ``"#layer "`` or ``"#variables/"``, as its positions say."""
    counts = [
        int(match[2])
        for entry in entries
        for match in map(_COUNTED.fullmatch, entry.places)
        if match is not None and match[1].startswith(sort)
    ]
    return max(counts, default=0)


def _renumbered(entries: Sequence[Entry], groups: dict[str, list[int]]) -> list[tuple[str, ...]]:
    """For each entry, the group with the last two parts of its name, and which of those it is.

    What has equal parts is in the order of its numbers. If the order in the file is another one,
    nothing is said.
    """
    found: list[list[str]] = [[] for _ in entries]
    for group, members in groups.items():
        alike: dict[str, list[int]] = {}
        for index in members:
            alike.setdefault(_stem(entries[index]), []).append(index)
        for stem, indices in alike.items():
            indices.sort(key=lambda index: _position(entries[index]))
            numbers = [_numbers(entries[index]) for index in indices]
            if all(one < two for one, two in itertools.pairwise(numbers)):
                for at, index in enumerate(indices):
                    found[index].append(f"{group}, {stem} {at} of {len(indices)}")
    return list(map(tuple, found))


def _position(entry: Entry) -> tuple[int, int]:
    """Where a file has it, or would have it: the numbers of its layer and of its weight there."""
    for match in map(_WEIGHT.fullmatch, entry.places):
        if match is not None:
            return int(match[2]), int(match[3])
    return 0, 0


def _parts(entry: Entry) -> list[str]:
    return without_underscores(normalise(entry.name)).split("/")


def _stem(entry: Entry) -> str:
    *layers, last = _parts(entry)
    return "/".join((*(_NUMBER.sub("", layer) for layer in layers[-1:]), last))


def _numbers(entry: Entry) -> list[int]:
    matches = map(_NUMBER.search, _parts(entry)[:-1])
    return [0 if match is None else int(match[1]) for match in matches]
