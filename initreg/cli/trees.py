"""Names as a tree of their parts, or to a depth of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from initreg.names import separator
from initreg.records import fresh, record

Key = Callable[[list[int]], Any]


class Branch(NamedTuple):
    """A line of a tree.

    Args:
        label: what is shown, indented by two spaces for each level.
        indices: which of the names it stands for.
        is_group: whether the names below it are its own, or it is one name.
    """

    label: str
    indices: list[int]
    is_group: bool


@record(frozen=False)
class _Node:
    index: int | None = None
    parts: dict[str, _Node] = fresh(factory=dict)

    def indices(self) -> list[int]:
        found = [] if self.index is None else [self.index]
        for node in self.parts.values():
            found += node.indices()
        return found


def tree(names: Sequence[str], depth: int | None = None, key: Key | None = None) -> list[Branch]:
    """The lines of a tree. A part that has only one other below it is on its line.

    Args:
        names: the names.
        depth: how many levels to show, or None for all.
        key: by what the parts of a level are sorted: a function of the indices of their names. By
            default they are in the order of the names.

    >>> [branch.label for branch in tree(["net/a/w", "net/a/b", "step"])]
    ['net/a/', '  w', '  b', 'step']
    """
    gap = separator(names)
    root = _Node()
    for index, name in enumerate(names):
        node = root
        for part in name.split(gap):
            node = node.parts.setdefault(part, _Node())
        node.index = index
    return list(_branches(root, gap, 0, depth, key))


def _branches(
    node: _Node, gap: str, level: int, depth: int | None, key: Key | None
) -> Iterator[Branch]:
    parts = list(node.parts.items())
    if key is not None:
        parts.sort(key=lambda each: key(each[1].indices()))
    for part, below in parts:
        label = "  " * level + part
        while below.index is None and len(below.parts) == 1:
            [(only, below)] = below.parts.items()
            label += gap + only
        if below.index is not None:
            yield Branch(label, [below.index], False)
        if below.parts:
            own = [] if below.index is None else [below.index]
            yield Branch(label + gap, below.indices()[len(own) :], True)
            if depth is None or level + 1 < depth:
                yield from _branches(below, gap, level + 1, depth, key)


def to_depth(names: Sequence[str], depth: int) -> list[Branch]:
    """One line for the names whose first parts are the same, as ``du -d`` does it.

    Args:
        names: the names.
        depth: how many parts.

    >>> [(branch.label, branch.indices) for branch in to_depth(["a/w", "a/b", "c"], 1)]
    [('a/', [0, 1]), ('c', [2])]
    """
    gap = separator(names)
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(gap.join(name.split(gap)[:depth]), []).append(index)
    return [
        Branch(label + gap, found, True)
        if len(found) > 1
        else Branch(names[found[0]], found, False)
        for label, found in groups.items()
    ]
