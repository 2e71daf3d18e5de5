"""The contract of a rule, and what rules are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from initreg.rules.changes import Change

if TYPE_CHECKING:
    from initreg.specs import ArraySpec


@dataclass(frozen=True, slots=True)
class Entry:
    """One array on its way through the rules.

    Args:
        index: its position in the array map.
        spec: its name, shape and dtype after the rules that were applied so far.
        changes: what to do with its values when they are read, in order.
    """

    index: int
    spec: ArraySpec
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What the rules make of an array map.

    Args:
        entries: the arrays that are left, in the order of the map.
        dropped: the specs of the arrays that were dropped.
        touched: the clauses that matched an array.
    """

    entries: list[Entry]
    dropped: list[ArraySpec]
    touched: set[str]


class Rule(Protocol):
    """Something that changes the arrays of a map, by name."""

    @property
    def clauses(self) -> Sequence[str]:
        """The parts of the rule that must each match an array, as the user typed them."""
        ...

    def apply(self, outcome: Outcome) -> None:
        """Change the outcome.

        Raises:
            RuleError: the rule cannot be applied.
        """
        ...
