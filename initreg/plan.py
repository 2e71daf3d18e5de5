"""What a restore will do, decided before anything is written: one row per name, on either side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from initreg import report


class Kind(StrEnum):
    """What becomes of one name."""

    MATCHED = "matched"  # restored as it is
    RESHAPED = "reshaped"  # restored, axes of length 1 added or dropped (and perhaps cast)
    CAST = "cast"  # restored, cast to the variable's dtype
    MISMATCHED = "mismatched"  # does not fit: the plan fails
    PASSED_OVER = "passed over"  # does not fit: ignored, as ignore_mismatch=True asks
    OVERRIDDEN = "overridden"  # a later source of the chain supplies the variable
    ONLY_IN_TARGET = "only in target"  # the variable keeps its value
    ONLY_IN_SOURCE = "only in source"  # the array is not used
    SLOT = "optimiser slot"  # on one side only, but of a variable that is restored


RESTORED = frozenset({Kind.MATCHED, Kind.RESHAPED, Kind.CAST})


@dataclass(frozen=True, slots=True)
class Row:
    """One name. The fields of a side that does not have it are None.

    ``name`` is the variable's, or the array's where no variable has it. ``source`` and ``by`` are
    indices into :attr:`Plan.sources`; ``by`` is the source that overrides this one. ``array`` is
    what the source calls the array, which differs from ``name`` if it matched as an alias.
    """

    kind: Kind
    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: str | None = None
    source: int | None = None
    array: str | None = None
    array_shape: tuple[int, ...] | None = None
    array_dtype: str | None = None
    by: int | None = None
    reason: str = ""

    @property
    def in_target(self) -> bool:
        return self.dtype is not None

    @property
    def is_cast(self) -> bool:
        """Restored with another dtype than the array has."""
        return self.kind in RESTORED and self.dtype != self.array_dtype

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "name": self.name,
            "shape": None if self.shape is None else list(self.shape),
            "dtype": self.dtype,
            "source": self.source,
            "array": self.array,
            "array_shape": None if self.array_shape is None else list(self.array_shape),
            "array_dtype": self.array_dtype,
            "by": self.by,
            "reason": self.reason,
        }


class Plan(Sequence[Row]):
    """All rows, in the target's order, then what only the sources have.

    ``sources`` are the labels of the chain, in order; ``target`` is the target's label.
    ``print(plan)`` folds long lists of names; ``plan.to_dict()`` has every one of them.
    """

    def __init__(self, rows: Iterable[Row], sources: Sequence[str], target: str) -> None:
        self.rows = tuple(rows)
        self.sources = tuple(sources)
        self.target = target

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def of(self, *kinds: Kind | str) -> tuple[Row, ...]:
        """The rows of these kinds: ``plan.of("mismatched", "passed over")``."""
        wanted = {Kind(kind) for kind in kinds}
        return tuple(row for row in self.rows if row.kind in wanted)

    @property
    def restored(self) -> tuple[Row, ...]:
        """The rows of the variables that are written."""
        return self.of(*RESTORED)

    @property
    def counts(self) -> dict[Kind, int]:
        """How many rows there are of each kind that occurs."""
        found = Counter(row.kind for row in self.rows)
        return {kind: found[kind] for kind in Kind if kind in found}

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain dicts, lists and strings."""
        return {
            "sources": list(self.sources),
            "target": self.target,
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def __str__(self) -> str:
        return report.plan_text(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {kind.value}" for kind, count in self.counts.items())
        return f"<Plan for {self.target}: {counts or 'nothing to do'}>"
