"""Which layers of a target come one after the other, as far as it is recorded."""

from __future__ import annotations

from collections.abc import Sequence

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


def reachable(targets: Sequence[TargetLayer]) -> dict[str, set[str]]:
    """The layers that come before each one, by name."""
    found: dict[str, set[str]] = {}
    for layer in sorted(targets, key=lambda each: each.position):
        before: set[str] = set()
        for name in layer.after or ():
            before.add(name)
            before |= found.get(name, set())
        found[layer.name] = before
    return found
