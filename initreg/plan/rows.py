"""The rows of a plan: one for each name on either side, and what happens to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from initreg.plan.choices import By as By
from initreg.plan.choices import Policy as Policy
from initreg.records import fresh, record
from initreg.text.wording import options_text


class Kind(StrEnum):
    """What happens to the name of a row."""

    MATCHED = "matched"  # restored
    RESHAPED = "reshaped"  # restored: axes of length 1 are added or removed (it may also be cast)
    CAST = "cast"  # restored: cast to the dtype of the variable
    MISMATCHED = "mismatched"  # does not fit, so that the plan fails
    PASSED_OVER = "passed over"  # does not fit and is skipped, because of ignore_mismatch=True
    OVERRIDDEN = "overridden"  # a later source of the chain supplies the variable
    ONLY_IN_TARGET = "only in target"  # the variable is not restored
    ONLY_IN_SOURCE = "only in source"  # the array is not used
    NOT_NEEDED = "not needed"  # on one side only, as it may be: the reason says why
    KEPT = "kept"  # no source has it, and its old value may be wrong: the reason says why
    SLOT = "optimiser slot"  # on one side only, and its variable is restored
    STATE = "optimizer state"  # of an optimizer whose state is not restored
    DROPPED = "dropped"  # a rule or ignore= leaves the array out


RESTORED = frozenset({Kind.MATCHED, Kind.RESHAPED, Kind.CAST})


ASKED = "as asked for"  # why a way was taken that an option names


@record()
class Way:
    """The way in which the arrays of one source were matched.

    Args:
        by: which of their names were used. None if they have only one sort of names.
        why: the reason, in words.
        others: other ways that would match more, with how many variables each would match.

    >>> str(Way(By.PLACE, "names are automatic"))
    'matched by place: names are automatic'
    """

    by: By | None = None
    why: str = ""
    others: Mapping[By, int] = fresh(factory=dict)

    def __str__(self) -> str:
        return f"matched by {self.by.value}: {self.why}" if self.by is not None else ""

    def to_dict(self) -> dict[str, Any]:
        """The way as plain dicts and strings."""
        return {
            "by": None if self.by is None else self.by.value,
            "why": self.why,
            "others": {by.value: count for by, count in self.others.items()},
        }


@record()
class StateNote:
    """What there is to say about the state of one optimizer.

    Args:
        source: which source it is about, an index into :attr:`Rows.sources`.
        text: what becomes of the state, and why.
        variables: the names of the variables that it is about.
        is_restored: whether the state is restored.
        is_quiet: whether this is no reason for a warning.
        never_negative: those of the variables whose values are never negative. If an array has
            such values, it is not what the variable is.
    """

    source: int
    text: str
    variables: tuple[str, ...] = ()
    is_restored: bool = False
    is_quiet: bool = False
    never_negative: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """The note as plain values."""
        return {
            "source": self.source,
            "text": str(self.text),
            "variables": list(self.variables),
            "is_restored": self.is_restored,
            "is_quiet": self.is_quiet,
        }


@record()
class Hint:
    """What would help where few names match. ``str(hint)`` ends in the code to type.

    Args:
        words: what is wrong, or what the options would do.
        options: options of :class:`initreg.SmartInit` that help. They may be empty.
        source: the code that names the source: ``'"base.npz"'``.
        kept: the options that the user typed for the whole chain, which the code repeats.
        before: the code of the sources before this one in a chain.
        after: the code of the sources after it.

    >>> Hint("2 names match", {"strip_prefix": "model/"}, '"base.npz"').code
    'SmartInit("base.npz", strip_prefix="model/")'
    """

    words: str
    options: Mapping[str, Any]
    source: str
    kept: Mapping[str, Any] = fresh(factory=dict)
    before: Sequence[str] = ()
    after: Sequence[str] = ()

    @property
    def code(self) -> str:
        """The code to type: what the user typed, with the options. "" if no option helps."""
        if not self.options:
            return ""
        if not (self.before or self.after):
            return f"SmartInit({self.source}{options_text({**self.options, **self.kept})})"
        source = f"SmartInit({self.source}{options_text(self.options)})"
        chain = ", ".join((*self.before, source, *self.after))
        return f"SmartInit([{chain}]{options_text(self.kept)})"

    def __str__(self) -> str:
        return f"{self.words}: {self.code}" if self.options else self.words

    def to_dict(self) -> dict[str, Any]:
        """The hint as plain dicts, lists and strings."""
        return {"words": self.words, "options": dict(self.options), "code": self.code}


@record()
class Row:
    """One name of a plan. If one side does not have the name, the fields for that side are None.

    Args:
        kind: what happens to the name.
        name: the name of the variable, or that of the array if no variable has it.
        shape: the shape of the variable. It is None as well if the variable takes any shape, and
            an axis is None if it takes any length.
        dtype: the dtype of the variable, a name as in :mod:`initreg.dtypes`.
        source: which source has the array, an index into :attr:`Rows.sources`.
        array: the name of the array in its source. It differs from ``name`` if a rule renamed the
            array, or if it matched by an alias.
        array_shape: the shape of the array after the rules.
        array_dtype: the dtype of the array after the rules.
        by: for an overridden array, the index of the source that overrides it.
        reason: why the array does not fit, why none is needed, or which option the row is due to.
        changes: what rules do to the values, in words.
        expected: whether ``expect_missing``, ``expect_unused`` or ``ignore`` allow the name to be
            on one side only.
        called: what the source calls the array, if it was matched by its place although people
            gave it another name than the variable.
        doubt: why the axes of an array that fits may be in another order, "" if nothing says so.
        remedy: for a variable that is kept, what to do.
        made_of: the names in the source of all arrays that it is made of, if rules took arrays
            apart or put them together. ``array`` is then a text that says which parts they are.
        parts: for a variable that is written in parts, the start and the shape of each box.
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
    called: str = ""
    doubt: str = ""
    remedy: str = ""
    made_of: tuple[str, ...] = ()
    parts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def in_target(self) -> bool:
        """Whether the target has a variable of this name."""
        return self.dtype is not None

    @property
    def is_cast(self) -> bool:
        """Whether the array is restored with another dtype than it has."""
        return self.kind in RESTORED and self.dtype != self.array_dtype

    @property
    def is_transpose(self) -> bool:
        """Whether the shape does not fit, but would fit if the two axes changed places."""
        have, want = self.array_shape, self.shape
        if have is None or want is None or len(have) != 2:
            return False
        return have != want and have[::-1] == want

    def to_dict(self) -> dict[str, Any]:
        """The row as plain dicts, lists and strings."""
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
            "called": self.called,
            "doubt": self.doubt,
            "remedy": self.remedy,
            "made_of": list(self.made_of),
            "parts": [[list(at), list(shape)] for at, shape in self.parts],
        }


class Rows(Sequence[Row]):
    """All rows of a plan.

    The rows of the variables come first, in the order of the target. The rows of the arrays that
    no variable has follow.

    Args:
        rows: the rows.
        sources: the labels of the sources of the chain, in order.
        target: the label of the target.
        on_missing: the policy for variables that no source supplies.
        on_unused: for each source, the policy for its arrays that no variable takes.
        unmet: the patterns of ``expect_missing``, ``expect_unused`` and ``ignore`` that matched
            nothing, as they were typed.
        ways: for each source, the way in which its arrays were matched.
        states: what there is to say about the state of optimizers.
        hints: what would help if few names match, or if axes are in another order.
        carried_out: whether ``init`` has written what the plan says.
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
        ways: Sequence[Way] = (),
        states: Sequence[StateNote] = (),
        carried_out: bool = False,
    ) -> None:
        self.rows = tuple(rows)
        self.sources = tuple(sources)
        self.target = target
        self.on_missing = on_missing
        self.on_unused = tuple(on_unused) or (Policy.WARN,) * len(self.sources)
        self.unmet = tuple(unmet)
        self.hints = tuple(hints)
        self.ways = tuple(ways) or (Way(),) * len(self.sources)
        self.states = tuple(states)
        self.carried_out = carried_out

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def of(self, *kinds: Kind | str) -> tuple[Row, ...]:
        """The rows of these kinds: ``plan.of("mismatched", "passed over")``.

        Raises:
            ValueError: there is no such kind.
        """
        wanted = {Kind(kind) for kind in kinds}
        return tuple(row for row in self.rows if row.kind in wanted)

    @property
    def restored(self) -> tuple[Row, ...]:
        """The rows of the variables that will be written."""
        return self.of(*RESTORED)

    @property
    def doubtful(self) -> tuple[Row, ...]:
        """The rows of variables that are restored, but maybe with axes in another order."""
        return tuple(row for row in self.restored if row.doubt)

    def missing(self, policy: Policy | str) -> tuple[Row, ...]:
        """The rows of variables that no source supplies, without those that are expected.

        If the policy is an error, a variable whose arrays were all skipped is missing, too.

        Args:
            policy: if this is not the policy of the plan for such variables, there are no rows.
        """
        if self.on_missing != Policy(policy):
            return ()
        found = self.of(Kind.ONLY_IN_TARGET)
        if self.on_missing is Policy.ERROR:
            supplied = {row.name for row in self.restored}
            skipped = {row.name: row for row in self.of(Kind.PASSED_OVER)}
            found += tuple(row for name, row in skipped.items() if name not in supplied)
        return tuple(row for row in found if not row.expected)

    def unused(self, policy: Policy | str) -> tuple[Row, ...]:
        """The rows of arrays that no variable takes, without those that are expected.

        Args:
            policy: only sources with this policy for such arrays are looked at.
        """
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
        """Whether there are sources, and none of their arrays has the name of a variable.

        False if there are neither arrays nor variables: the file of a model without weights.
        """
        return bool(self.sources and self.rows) and not any(
            row.array is not None and row.in_target for row in self.rows
        )

    @property
    def faults(self) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[Row, ...]]:
        """The rows that make the plan fail, as three groups: arrays that do not fit, and, if the
        policy is an error, missing variables and unused arrays."""
        return self.of(Kind.MISMATCHED), self.missing(Policy.ERROR), self.unused(Policy.ERROR)

    @property
    def ok(self) -> bool:
        """Whether ``init`` would carry the plan out. If not, it raises what ``error()`` returns."""
        return not self.matches_nothing and not any(self.faults)
