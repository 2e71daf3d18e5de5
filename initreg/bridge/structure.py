"""Which layers of two models are numbered alike.

``layer1.0.conv3`` to ``layer4.2.conv3`` are sixteen layers, and so are ``conv2_block1_3_conv`` to
``conv5_block3_3_conv``. If the first fits the first, and each next one the next, that is a sign
that these are the same layers: the stronger, the more there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from initreg.bridge.words import template

_MOST_NUMBERS = 5  # of a name, of which each may count layers or tell them apart
_MOST_COMPARED = 200_000  # pairs of groups

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Layers whose names differ in some of their numbers alone.

    Args:
        members: the indices of the layers, in the order of their numbers.
        numbers: the numbers that differ, for each member.
    """

    members: tuple[int, ...]
    numbers: tuple[tuple[int, ...], ...]


def groups(names: Sequence[str], keys: Sequence[Iterable[Key]]) -> list[Group]:
    """All groups of two and more layers.

    Args:
        names: the names of the layers. One without a number is the first of those that have one.
        keys: for each layer, what it must share with the others of a group. It may be in several.
    """
    by_template: dict[tuple[object, ...], list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    numbered = {template(name)[0] for name in names}
    for index, name in enumerate(names):
        words, numbers = _counted(*template(name), numbered)
        for key in keys[index]:
            by_template[words, key].append((index, numbers))
    found: dict[tuple[object, ...], Group] = {}
    for layers in by_template.values():
        if len(layers) < 2:
            continue
        count = len(layers[0][1])
        candidates = range(max(0, count - _MOST_NUMBERS), count)
        differing = [at for at in candidates if len({numbers[at] for _, numbers in layers}) > 1]
        for size in range(1, len(differing) + 1):
            for free in combinations(differing, size):
                for part in (layers, *_alike(layers, free)):
                    for group in _with_free(part, free):
                        found.setdefault(group.members, group)
    return list(found.values())


def _counted(
    words: tuple[str, ...], numbers: tuple[int, ...], numbered: Collection[tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """A name with the number that it lacks: ``dense`` is the one before ``dense_1``."""
    for at in range(len(words), 0, -1):
        longer = (*words[:at], "#", *words[at:])
        if longer in numbered:
            count = words[:at].count("#")
            return longer, (*numbers[:count], 0, *numbers[count:])
    return words, numbers


_Layers = Sequence[tuple[int, tuple[int, ...]]]


def _alike(layers: _Layers, free: tuple[int, ...]) -> Iterator[_Layers]:
    """The layers without those whose number at one place is that of fewer layers than the others.

    In ``block1_0_conv`` to ``block9_3_conv`` only some blocks may have a 0: their shortcut.
    """
    for at in free:
        blocks: dict[int, set[tuple[int, ...]]] = defaultdict(set)
        for _, numbers in layers:
            blocks[numbers[at]].add((*numbers[:at], *numbers[at + 1 :]))
        sizes = sorted({len(each) for each in blocks.values()})
        for size in sizes[1:]:
            kept = {number for number, each in blocks.items() if len(each) >= size}
            yield [layer for layer in layers if layer[1][at] in kept]


def _with_free(layers: _Layers, free: tuple[int, ...]) -> list[Group]:
    """The groups in which the numbers at ``free`` differ, and the others do not."""
    by_fixed: dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for index, numbers in layers:
        fixed = tuple(number for at, number in enumerate(numbers) if at not in free)
        by_fixed[fixed].append((tuple(numbers[at] for at in free), index))
    found = []
    for members in by_fixed.values():
        if len(members) < 2:
            continue
        members.sort()
        indices, numbers_of = [i for _, i in members], [n for n, _ in members]
        found.append(Group(tuple(indices), tuple(numbers_of)))
    return found


def likeness(
    sources: Sequence[Group],
    targets: Sequence[Group],
    fits: Callable[[int, int], bool],
    alike: Callable[[int, int], tuple[int, int]],
) -> dict[tuple[int, int], float]:
    """How strongly the numbers say that two layers are the same, for the pairs of which they do.

    Args:
        sources: the groups of the source.
        targets: the groups of the target.
        fits: whether a layer of the source, by its index, fits one of the target.
        alike: how many layers of the source are like this one and fit the one of the target, and
            how many of the target, if that is to count: two of three prove nothing where the
            numbers of the target only count layers. (0, 0) if it is not.
    """
    by_size: dict[int, list[Group]] = defaultdict(list)
    for group in sources:
        by_size[len(group.members)].append(group)
    found: dict[tuple[int, int], float] = {}
    compared = 0
    for target in sorted(targets, key=lambda group: -len(group.members)):
        for source in by_size.get(len(target.members), ()):
            compared += 1
            if compared > _MOST_COMPARED:
                return found
            pairs = list(zip(source.members, target.members, strict=True))
            if not all(fits(s, t) for s, t in pairs):
                continue
            if not _is_whole(pairs, alike):
                continue
            score = 0.5 * math.log2(len(pairs))
            score += 0.3 if _shifted(source.numbers, target.numbers) else 0.0
            for pair in pairs:
                found[pair] = max(found.get(pair, 0.0), score)
    return found


def _is_whole(
    pairs: Sequence[tuple[int, int]], alike: Callable[[int, int], tuple[int, int]]
) -> bool:
    """Whether all layers that are like these are in groups as large as this one."""
    by_shape: dict[tuple[int, int], int] = defaultdict(int)
    for s, t in pairs:
        by_shape[alike(s, t)] += 1
    return all(
        mine == theirs and count % (mine or 1) == 0 for (mine, theirs), count in by_shape.items()
    )


def _shifted(one: Sequence[tuple[int, ...]], other: Sequence[tuple[int, ...]]) -> bool:
    """Whether the numbers differ by the same on all layers: 0, 1, 2 and 1, 2, 3."""
    if len(one[0]) != len(other[0]):
        return False
    shifts = {
        tuple(theirs - ours for ours, theirs in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    }
    return len(shifts) == 1
