"""The contract of a rule, and what rules are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from initreg.records import record

if TYPE_CHECKING:
    from initreg.rules.changes import Change
    from initreg.specs import ArraySpec


@record()
class Entry:
    """One array on its way through the rules.

    Args:
        index: its position in the array map.
        spec: its name, shape and dtype after the rules that were applied so far.
        changes: what to do with its values when they are read, in order.
        join: how it is put together from other arrays, before the changes. ``index`` is then the
            position of the first of them.
    """

    index: int
    spec: ArraySpec
    changes: tuple[Change, ...] = ()
    join: Join | None = None

    @property
    def indices(self) -> list[int]:
        """The positions in the array map of all arrays that it is made of."""
        if self.join is None:
            return [self.index]
        return [index for part in self.join.parts for index in part.indices]


@record()
class Join:
    """How one array is put together from several.

    Args:
        parts: the arrays, in order.
        axis: the axis along which they lie, counted from the front.
        is_stack: whether that is an axis of its own, which the parts do not have.
        spec: the array, before changes.
    """

    parts: tuple[Entry, ...]
    axis: int
    is_stack: bool
    spec: ArraySpec


@record(frozen=False)
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
