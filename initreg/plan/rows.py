"""The rows of a plan: one per name, on either side, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from initreg.text import options_text


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
    DROPPED = "dropped"  # the array is left out, as a rule or ignore= asks


RESTORED = frozenset({Kind.MATCHED, Kind.RESHAPED, Kind.CAST})


class Policy(StrEnum):
    """What to make of names on one side only."""

    WARN = "warn"
    ERROR = "error"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Hint:
    """What is wrong, in ``words``, and the options of SmartInit that would mend it.

    ``source`` is the code that names the source: ``'"base.npz"'``. ``str(hint)`` ends in the code
    to type.
    """

    words: str
    options: Mapping[str, Any]
    source: str

    @property
    def code(self) -> str:
        """``SmartInit("base.npz", strip_prefix="model/")``; "" if no option helps."""
        return f"SmartInit({self.source}{options_text(self.options)})" if self.options else ""

    def __str__(self) -> str:
        return f"{self.words}: {self.code}" if self.options else self.words

    def to_dict(self) -> dict[str, Any]:
        return {"words": self.words, "options": dict(self.options), "code": self.code}


@dataclass(frozen=True, slots=True)
class Row:
    """One name. The fields of a side that does not have it are None.

    ``name`` is the variable's, or the array's where no variable has it. ``source`` and ``by`` are
    indices into :attr:`Plan.sources`; ``by`` is the source that overrides this one. ``array`` is
    what the source itself calls the array, which differs from ``name`` if a rule renamed it or it
    matched as an alias. ``array_shape`` and ``array_dtype`` are those after the rules, whose
    ``changes`` of the values are said in words. ``expected``: on one side only, as
    ``expect_missing``, ``expect_unused`` or ``ignore`` say.
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
    changes: tuple[str, ...] = ()
    expected: bool = False

    @property
    def in_target(self) -> bool:
        return self.dtype is not None

    @property
    def is_cast(self) -> bool:
        """Restored with another dtype than the array has."""
        return self.kind in RESTORED and self.dtype != self.array_dtype

    @property
    def is_transpose(self) -> bool:
        """Whether the array has the variable's axes, reversed, and does not fit for it alone."""
        have, want = self.array_shape, self.shape
        return have is not None and want is not None and have != want and have[::-1] == want

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
            "changes": list(self.changes),
            "expected": self.expected,
        }


class Rows(Sequence[Row]):
    """All rows of a plan: those of the target's variables, in the target's order, then those of
    the arrays that only the sources have.

    ``sources`` are the labels of the chain, in order. ``target`` is the target's label.
    ``on_missing`` is the policy for variables that no source supplies. ``on_unused`` has, for each
    source, the policy for its arrays that no variable takes. ``unmet`` are the patterns of
    ``expect_missing``, ``expect_unused`` and ``ignore`` that matched nothing, as they were typed.
    ``hints`` say what to do where little matches.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        sources: Sequence[str],
        target: str,
        *,
        on_missing: Policy = Policy.WARN,
        on_unused: Sequence[Policy] = (),
        unmet: Sequence[str] = (),
        hints: Sequence[Hint] = (),
    ) -> None:
        self.rows = tuple(rows)
        self.sources = tuple(sources)
        self.target = target
        self.on_missing = on_missing
        self.on_unused = tuple(on_unused) or (Policy.WARN,) * len(self.sources)
        self.unmet = tuple(unmet)
        self.hints = tuple(hints)

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

    def missing(self, policy: Policy | str) -> tuple[Row, ...]:
        """The variables that no source supplies and that nobody expects to be missing, if
        ``policy`` is the one for them; otherwise none.

        Where that is an error, one whose arrays were all passed over is missing, too.
        """
        if self.on_missing != Policy(policy):
            return ()
        found = self.of(Kind.ONLY_IN_TARGET)
        if self.on_missing is Policy.ERROR:
            supplied = {row.name for row in self.restored}
            passed = {row.name: row for row in self.of(Kind.PASSED_OVER)}
            found += tuple(row for name, row in passed.items() if name not in supplied)
        return tuple(row for row in found if not row.expected)

    def unused(self, policy: Policy | str) -> tuple[Row, ...]:
        """The arrays that no variable takes and that nobody expects to be unused, of the sources
        that ``policy`` is for."""
        wanted = Policy(policy)
        return tuple(
            row
            for row in self.of(Kind.ONLY_IN_SOURCE)
            if not row.expected and self.on_unused[row.source or 0] is wanted
        )

    @property
    def counts(self) -> dict[Kind, int]:
        """How many rows there are of each kind that occurs."""
        found = Counter(row.kind for row in self.rows)
        return {kind: found[kind] for kind in Kind if kind in found}

    @property
    def matches_nothing(self) -> bool:
        """Whether there are sources, and none of their names is a name of the target."""
        return bool(self.sources) and not any(
            row.array is not None and row.in_target for row in self.rows
        )

    @property
    def faults(self) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[Row, ...]]:
        """What must not be: arrays that do not fit, and variables that are missing and arrays that
        are unused where the policy is an error."""
        return self.of(Kind.MISMATCHED), self.missing(Policy.ERROR), self.unused(Policy.ERROR)

    @property
    def ok(self) -> bool:
        """Whether ``init`` would carry the plan out, rather than raise :meth:`error`."""
        return not self.matches_nothing and not any(self.faults)
