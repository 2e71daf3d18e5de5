"""The plan of a restore: its rows, what it says about them, and the error if it cannot be done."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from initreg.errors import MismatchError, MissingError, NothingMatched, PlanError, UnusedError
from initreg.plan import text
from initreg.plan.rows import RESTORED, Hint, Kind, Row, Rows, StateNote
from initreg.records import replace


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

    def with_rows(self, rows: Iterable[Row]) -> Plan:
        """The same plan with these rows."""
        plan = copy.copy(self)
        plan.rows = tuple(rows)
        return plan

    def with_doubts(self, doubts: Mapping[int, str]) -> Plan:
        """The same plan with these doubts, each by the index of its row."""
        if not doubts:
            return self
        plan = copy.copy(self)
        plan.rows = tuple(
            replace(row, doubt=doubts[index]) if index in doubts else row
            for index, row in enumerate(self.rows)
        )
        return plan

    def without_state(self, note: StateNote, why: str) -> Plan:
        """The same plan, in which the state that a note is about is not restored."""
        plan = copy.copy(self)
        plan.rows = tuple(
            replace(row, kind=Kind.STATE, reason=why)
            if row.name in note.variables and row.source == note.source and row.kind in RESTORED
            else row
            for row in self.rows
        )
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
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self, indent: int | None = None) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def to_text(self, limit: int | None = 20) -> str:
        """The plan as text.

        Args:
            limit: at most so many lines for each kind of row. With None there are as many as it
                takes, and :func:`initreg.folding.expand` gives back exactly the names of the rows.
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
