"""Which layers of a target come one after the other, as far as it is recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from initreg.bridge.layers import TargetLayer
from initreg.bridge.words import template


def is_recorded(one: TargetLayer, other: TargetLayer) -> bool:
    """Whether it is recorded if one layer comes before the other one."""
    if one.after is None or other.after is None:
        return False
    return not one.inside or one.inside != other.inside


def is_numbered(one: TargetLayer, other: TargetLayer) -> bool:
    a, b = template(one.name), template(other.name)
    return a[0] == b[0] and a[1] < b[1]


def counts_in_order(first: TargetLayer, last: TargetLayer) -> bool:
    """Whether the numbers of automatic names do not contradict the order of two layers."""
    a, b = template(first.name), template(last.name)
    words = [tuple(word for word in each if word != "#") for each, _ in (a, b)]
    return words[0] != words[1] or a[1] <= b[1]


def reachable(targets: Sequence[TargetLayer]) -> dict[str, set[str]]:
    """The layers that come before each one, by name."""
    found: dict[str, set[str]] = {}
    # Weights with names of their own, by the paths of their layers.
    parts: dict[str, list[str]] = {}
    for layer in sorted(targets, key=lambda each: each.position):
        before: set[str] = set()
        for name in layer.after or ():
            before |= {name, *parts.get(name, ()), *found.get(name, ())}
        found[layer.name] = before
        if layer.path:
            parts.setdefault(layer.path, []).append(layer.name)
            found.setdefault(layer.path, before)
    return found


def is_sorted(names: Sequence[str]) -> bool:
    """Whether arrays are in the order of their names, as in many formats of files. Then their order
    says nothing about the model.

    Args:
        names: the names of all arrays.
    """
    orders: tuple[Callable[[str], object], ...] = (
        lambda name: name,
        str.casefold,
        lambda name: re.split(r"[./]", name),
        lambda name: [(part.isdecimal(), int(part) if part.isdecimal() else 0, part)
                      for part in re.split(r"(\d+)", name)],
    )  # fmt: skip
    ordered = (list(map(order, names)) for order in orders)
    return any(list(each) == sorted(each) for each in ordered)  # type: ignore[type-var]
