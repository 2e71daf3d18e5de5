"""The plan of a merge: what each array of the result is made of, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from initreg.errors import MergeError
from initreg.option_spelling import either, join
from initreg.text.limits import checked_limit
from initreg.text.wording import names_text, plural, printable, shape_text

MERGED = "merged"
KEPT = "kept"
TAKEN = "taken"
REPLACED = "replaced"
LEFT_OUT = "left out"
FAULT = "fault"
_TITLES = {
    MERGED: "merged",
    REPLACED: "replaced by an adapter",
    KEPT: "kept unchanged",
    TAKEN: "taken from one source",
    LEFT_OUT: "left out",
    FAULT: "cannot be merged",
}
_MORE = either("plan.to_text(limit=None) shows them all", "--all shows them all")


@dataclass(frozen=True, slots=True)
class MergePart:
    """An array that goes into an array of the result.

    Args:
        source: the number of its source, an index into :attr:`MergePlan.sources`.
        name: its name there.
        weight: its weight, None if the method has no weights or it is the base.
        dtype: its dtype.
    """

    source: int
    name: str
    weight: float | None = None
    dtype: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return {
            "source": self.source,
            "name": self.name,
            "weight": self.weight,
            "dtype": self.dtype,
        }


@dataclass(frozen=True, slots=True)
class MergeRow:
    """One array of the result of a merge, or one that is left out.

    Args:
        kind: ``"merged"``, ``"kept"``: it is that of the first source, because nothing changes it
            or it is equal in all, ``"taken"``: a source was asked for, ``"replaced"``: an adapter
            has all of it, ``"left out"``, or ``"fault"``: it cannot be merged.
        name: the name in the result.
        shape: its shape.
        dtype: its dtype in the result, a name as in :mod:`initreg.dtypes`.
        parts: what goes into it.
        note: what there is to say about it, in words.
        remedy: for a fault, what to do, in words.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    parts: tuple[MergePart, ...] = ()
    note: str = ""
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as plain dicts, lists and strings."""
        return {
            "kind": self.kind,
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "parts": [part.to_dict() for part in self.parts],
            "note": self.note or None,
            "remedy": str(self.remedy) or None,
        }


@dataclass(frozen=True, slots=True, repr=False)
class MergePlan(Sequence[MergeRow]):
    """What a merge will do, or has done: one row for each array.

    Args:
        method: the name of the method.
        words: what it is, with its parameters.
        sources: what messages call the sources, the base first if there is one.
        has_base: whether the first of them is the base.
        rows: the rows, in the order of the result.
        settings: the parameters of the method.
        metadata: the texts that are saved beside the arrays.
        notes: what else there is to say.
    """

    method: str
    words: str
    sources: tuple[str, ...]
    has_base: bool
    rows: tuple[MergeRow, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[MergeRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        counts = {kind: len(self.of(kind)) for kind in _TITLES}
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        return f"MergePlan({self.method!r}, {plural(len(self.sources), 'source')}: {found})"

    def of(self, *kinds: str) -> list[MergeRow]:
        """The rows of some kinds."""
        return [row for row in self.rows if row.kind in kinds]

    def error(self) -> MergeError | None:
        """Why the merge cannot be carried out. None if it can."""
        faults = self.of(FAULT)
        if not faults:
            return None
        lines = names_text([(printable(row.name), row.note) for row in faults], 20, more=_MORE)
        remedies = dict.fromkeys(row.remedy for row in faults if row.remedy)
        return MergeError(
            f"{plural(len(faults), 'array')} cannot be merged. Nothing was written:\n  "
            + join("\n", [join("\n  ", lines), *remedies]),
            self,
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain dicts, lists and strings."""
        return {
            "method": self.method,
            "sources": list(self.sources),
            "has_base": self.has_base,
            "settings": dict(self.settings),
            "metadata": dict(self.metadata),
            "notes": list(self.notes),
            "arrays": [row.to_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, limit: int | None = 20) -> str:
        """The plan in words, in at most ``limit`` lines for each kind of row, None for all.

        Raises:
            RuleError: the limit is not a number of lines.
        """
        limit = checked_limit(limit)
        lines: list[str] = [self.words]
        for number, source in enumerate(self.sources):
            what = "base" if self.has_base and not number else f"{number + (not self.has_base)}"
            lines.append(f"  {what:>4}  {printable(source)}")
        lines += self.notes
        for kind, title in _TITLES.items():
            rows = self.of(kind)
            if rows:
                lines.append(f"{plural(len(rows), 'array')} {title}")
                entries = [(printable(row.name), self._note(row)) for row in rows]
                lines += ["  " + line for line in names_text(entries, limit, more=_MORE)]
        return join("\n", lines)

    def _note(self, row: MergeRow) -> str:
        """A row in words, with the names of its sources where they differ."""
        if row.kind == FAULT:
            return row.note
        others = {
            f"{part.name} in {printable(self.sources[part.source])}"
            for part in row.parts
            if part.name != row.name and row.kind == MERGED and self.method != "lora"
        }
        if not row.dtype:  # what an adapter has for an array that is not there
            return row.note
        shown = f"{shape_text(row.shape)} {row.dtype}"
        if others:
            shown += f", {' and '.join(sorted(others))}"
        return f"{shown}: " + row.note if row.note else shown
