"""What a rule is: something that changes the entries of a map, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from initreg.rules.changes import Change

if TYPE_CHECKING:
    from initreg.specs import ArraySpec


@dataclass(frozen=True, slots=True)
class Entry:
    """One array on its way through the rules: which of the map's it is, what it has become, and
    what has to be done to its values once they are read."""

    index: int
    spec: ArraySpec
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What rules made of a map: ``entries`` in its order, and the specs of what they left out.
    ``touched`` are the clauses that matched a name of it."""

    entries: list[Entry]
    dropped: list[ArraySpec]
    touched: set[str]


class Rule(Protocol):
    """``clauses``: each thing the user typed that must touch some array, as it was typed."""

    @property
    def clauses(self) -> Sequence[str]: ...

    def apply(self, outcome: Outcome) -> None:
        """Change the outcome. Raises RuleError."""
        ...
