"""Rules that keep or drop arrays."""

from __future__ import annotations

from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.rules.rule import Outcome


class Select:
    """keep and drop. A glob can match any name of an array, aliases too."""

    def __init__(self, patterns: Patterns, keep: bool) -> None:
        self._patterns = patterns
        self._keep = keep
        self.clauses = [patterns.clause(glob) for glob in patterns]
        if keep and not patterns:
            raise RuleError("keep=() would keep no array. Give names or globs, or None")

    def apply(self, outcome: Outcome) -> None:
        left = []
        for entry in outcome.entries:
            hits = self._patterns.hits(entry.spec.name, *entry.spec.aliases)
            outcome.touched.update(map(self._patterns.clause, hits))
            if bool(hits) is self._keep:
                left.append(entry)
            else:
                outcome.dropped.append(entry.spec)
        outcome.entries = left
