"""The plan of a restore: its rows, what it says about them, and the error if it cannot be done."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from initreg.errors import MismatchError, MissingError, NothingMatched, PlanError, UnusedError
from initreg.plan import text
from initreg.plan.rows import RESTORED, Hint, Kind, Row, Rows, StateNote
from initreg.records import replace

_PLAIN: dict[str, Any] = {"ensure_ascii": False}
_AT_A_TIME = 50  # rows in JSON, so few that the garbage collector is not called for them


class Plan(Rows):
    """What :meth:`initreg.SmartInit.init` will do: a sequence of rows, and the verdict on them.

    ``print(plan)`` folds long lists of names to fit a screen. ``plan.to_text(limit=None)`` shows
    all names, folded without loss. ``plan.to_dict()`` has one row for each name.

    >>> plan = SmartInit("base.npz").plan(model)  # doctest: +SKIP
    >>> plan.ok, len(plan.restored), plan.missing("warn")  # doctest: +SKIP
    """

    def with_hints(self, hints: Sequence[Hint]) -> Plan:
        """The same plan with these hints."""
        plan = copy.copy(self)
        plan.hints = tuple(hints)
        return plan

    def with_rows(self, rows: Mapping[int, Row]) -> Plan:
        """The same plan, in which some rows are others, by their indices."""
        if not rows:
            return self
        plan = copy.copy(self)
        plan._rows = self._rows.with_rows(rows)
        return plan

    def with_doubts(self, doubts: Mapping[int, str]) -> Plan:
        """The same plan with these doubts, each by the index of its row."""
        return self.with_rows({i: replace(self[i], doubt=doubt) for i, doubt in doubts.items()})

    def without_state(self, note: StateNote, why: str) -> Plan:
        """The same plan, in which the state that a note is about is not restored."""
        left_out = {
            index: replace(row, kind=Kind.STATE, reason=why)
            for index, row in self.indexed(RESTORED)
            if row.name in note.variables and row.source == note.source
        }
        plan = copy.copy(self.with_rows(left_out))
        text = f"the state of an optimizer is not restored: {why}"
        found = StateNote(note.source, text, note.variables)
        plan.states = tuple(found if each is note else each for each in self.states)
        return plan

    def done(self) -> Plan:
        """The same plan, after it was carried out."""
        plan = copy.copy(self)
        plan.carried_out = True
        return plan

    @property
    def verdict(self) -> str:
        """What would fail, in one line, "" if the plan is ok."""
        return text.verdict_text(self)

    def error(self) -> PlanError | None:
        """The error that ``init`` raises because of the plan.

        Returns:
            One error that lists everything that is wrong, or None if the plan is ok. Its class is
            the first that applies of NothingMatched, MismatchError, MissingError, UnusedError.
        """
        if self.ok:
            return None
        kinds = (NothingMatched, MismatchError, MissingError, UnusedError)
        wrong = (self.matches_nothing, *self.faults)
        kind = next(kind for kind, found in zip(kinds, wrong, strict=True) if found)
        return kind(text.failure_text(self), self)

    def to_dict(self) -> dict[str, Any]:
        """The whole plan as plain dicts, lists and strings."""
        return {**self._without_rows(), "rows": [row.to_dict() for row in self]}

    def _without_rows(self) -> dict[str, Any]:
        return {
            "sources": list(self.sources),
            "target": self.target,
            "ok": self.ok,
            "verdict": str(self.verdict),
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "on_missing": self.on_missing.value,
            "on_unused": [policy.value for policy in self.on_unused],
            "unmet": list(self.unmet),
            "ways": [way.to_dict() for way in self.ways],
            "states": [note.to_dict() for note in self.states],
            "hints": [hint.to_dict() for hint in self.hints],
        }

    def to_json(self, indent: int | None = None) -> str:
        """:meth:`to_dict` as JSON."""
        if indent is None and self:
            texts = (
                json.dumps([row.to_dict() for row in self[start : start + _AT_A_TIME]], **_PLAIN)
                for start in range(0, len(self), _AT_A_TIME)
            )
            rows = ", ".join(text[1:-1] for text in texts)
            return f'{json.dumps(self._without_rows(), **_PLAIN)[:-1]}, "rows": [{rows}]}}'
        return json.dumps(self.to_dict(), indent=indent, **_PLAIN)

    def to_text(self, limit: int | None = 20) -> str:
        """The plan as text.

        Args:
            limit: at most so many lines for each kind of row. With None there are as many as it
                takes, and :func:`initreg.folding.expand` gives back exactly the names of the rows.

        Raises:
            RuleError: the limit is not a number of lines.
        """
        return text.plan_text(self, limit)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {kind.value}" for kind, count in self.counts.items())
        if not self.ok:
            return f"<Plan for {self.target}{text.refusal(self)} ({counts or 'no rows'})>"
        return f"<Plan for {self.target}: {counts or 'nothing to do'}>"

    def _repr_html_(self) -> str:
        """The plan as HTML, which a notebook shows."""
        from initreg.plan.html import html

        return html(self)

    def __rich__(self) -> Any:
        """The plan as ``rich.print(plan)`` shows it. Only rich calls this."""
        from initreg.plan.terminal import rich_table

        return rich_table(self)
