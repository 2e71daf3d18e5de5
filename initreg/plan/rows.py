"""The rows of a plan: one for each name on either side, and what happens to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg.plan.choices import By as By
from initreg.plan.choices import Policy as Policy
from initreg.plan.row import RESTORED as RESTORED
from initreg.plan.row import Kind as Kind
from initreg.plan.row import Row as Row
from initreg.plan.row_list import RowList
from initreg.records import fresh, record
from initreg.text.wording import options_text

ASKED = "as asked for"  # why a way was taken that an option names
# The kinds of rows that may have a variable and an array.
ON_BOTH_SIDES = frozenset(Kind) - {Kind.ONLY_IN_TARGET, Kind.ONLY_IN_SOURCE, Kind.DROPPED}
_ON_EITHER_SIDE = frozenset({Kind.NOT_NEEDED, Kind.SLOT, Kind.STATE})
_IN_TARGET = frozenset(Kind) - _ON_EITHER_SIDE - {Kind.ONLY_IN_SOURCE, Kind.DROPPED}


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
        self._rows = rows if isinstance(rows, RowList) else RowList(rows)
        self.sources = tuple(sources)
        self.target = target
        self.on_missing = on_missing
        self.on_unused = tuple(on_unused) or (Policy.WARN,) * len(self.sources)
        self.unmet = tuple(unmet)
        self.hints = tuple(hints)
        self.ways = tuple(ways) or (Way(),) * len(self.sources)
        self.states = tuple(states)
        self.carried_out = carried_out

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return tuple(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def each(self, kinds: Collection[Kind]) -> Iterator[Row]:
        """The rows of these kinds, one at a time."""
        return map(self._rows.row_at, self._rows.indices(kinds))

    def of(self, *kinds: Kind | str) -> tuple[Row, ...]:
        """The rows of these kinds: ``plan.of("mismatched", "passed over")``.

        Raises:
            ValueError: there is no such kind.
        """
        return tuple(self.each({Kind(kind) for kind in kinds}))

    def saying_more(self, kinds: Collection[Kind]) -> list[Row]:
        """The rows of these kinds that may say more than the specs of their two sides: that they
        are expected or in doubt, for instance."""
        return self._rows.saying_more(kinds)

    def indexed(self, kinds: Collection[Kind]) -> list[tuple[int, Row]]:
        """The rows of these kinds, each with its index."""
        return [(index, self._rows.row_at(index)) for index in self._rows.indices(kinds)]

    @property
    def restored(self) -> tuple[Row, ...]:
        """The rows of the variables that will be written."""
        return self.of(*RESTORED)

    @property
    def doubtful(self) -> tuple[Row, ...]:
        """The rows of variables that are restored, but maybe with axes in another order."""
        return tuple(row for row in self.saying_more(RESTORED) if row.doubt)

    @property
    def called_otherwise(self) -> tuple[Row, ...]:
        """The rows of variables that are restored from arrays to which people gave other names."""
        return tuple(row for row in self.saying_more(RESTORED) if row.called)

    @property
    def variable_names(self) -> set[str]:
        """The names of all variables of the target."""
        found = {self._rows.names[index] for index in self._rows.indices(_IN_TARGET)}
        return found | {row.name for row in self.each(_ON_EITHER_SIDE) if row.in_target}

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
            supplied = {self._rows.names[index] for index in self._rows.indices(RESTORED)}
            skipped = {row.name: row for row in self.of(Kind.PASSED_OVER)}
            found += tuple(row for name, row in skipped.items() if name not in supplied)
        return tuple(row for row in found if not row.expected)

    def unused(self, policy: Policy | str) -> tuple[Row, ...]:
        """The rows of arrays that no variable takes, without those that are expected.

        Args:
            policy: only sources with this policy for such arrays are looked at.
        """
        wanted = Policy(policy)
        if wanted not in self.on_unused:
            return ()
        return tuple(
            row
            for row in self.of(Kind.ONLY_IN_SOURCE)
            if not row.expected and self.on_unused[row.source or 0] is wanted
        )

    @property
    def counts(self) -> dict[Kind, int]:
        """How many rows there are of each kind that occurs."""
        found = Counter(self._rows.kinds)
        return {kind: found[kind] for kind in Kind if kind in found}

    @property
    def matches_nothing(self) -> bool:
        """Whether there are sources, and none of their arrays has the name of a variable.

        False if there are neither arrays nor variables: the file of a model without weights.
        """
        return bool(self.sources and self._rows) and not any(
            row.array is not None and row.in_target for row in self.each(ON_BOTH_SIDES)
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
