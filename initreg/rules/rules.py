"""Rename, drop, keep, prefix and change the arrays of a source, by name, before any is read.

Rules are applied in one order, whatever the order in which they were typed: keep, drop,
strip_prefix, rename, prefix, transpose, permute, slice, pad, cast. Each sees the names that the one
before it left. Every pattern has to touch something: a misspelt one is worse than none.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from initreg import dtypes
from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.rules.changes import Cast, Change, Pad, Permute, Slice
from initreg.rules.renaming import Renaming, put_before, renames, strip
from initreg.rules.rule import Entry, Outcome, Rule
from initreg.text import plural, printable

if TYPE_CHECKING:
    from initreg.specs import ArraySpec

Globs = str | Iterable[str]


# In which they are applied.
ORDER = (
    "keep",
    "drop",
    "strip_prefix",
    "rename",
    "prefix",
    "transpose",
    "permute",
    "slice",
    "pad",
    "cast",
)


class RuleOptions(TypedDict, total=False):
    """The rules, as keywords.

    ``rename``: a dict of exact names, ``(regex, replacement)`` pairs as ``re.sub`` takes them, one
    after the other, or a function of the name. ``keep``, ``drop``: globs. ``prefix`` is put before
    every name, ``strip_prefix`` taken from those that have it. ``transpose``: globs of arrays whose
    axes are reversed. By glob: ``permute={"conv*/kernel": (2, 3, 1, 0)}``, the axes as numpy's
    ``transpose`` takes them; ``slice={"emb": (axis, start, stop)}``;
    ``pad={"emb": (axis, length)}`` or ``(axis, length, fill)``, ``fill`` a number or ``"mean"``;
    ``cast={"step": "int32"}``. ``cast="float16"`` is of all floats. Where two globs of one rule
    match an array, the later one holds.
    """

    rename: Renaming | None
    drop: Globs
    keep: Globs | None
    prefix: str | None
    strip_prefix: str | None
    transpose: Globs
    permute: Mapping[str, Sequence[int]] | None
    slice: Mapping[str, Sequence[int | None]] | None
    pad: Mapping[str, Sequence[Any]] | None
    cast: Any


class Rules:
    """The rules of one source, or of one chain, in the order in which they are applied."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)

    @classmethod
    def of(
        cls,
        *,
        rename: Renaming | None = None,
        drop: Globs = (),
        keep: Globs | None = None,
        prefix: str | None = None,
        strip_prefix: str | None = None,
        transpose: Globs = (),
        permute: Mapping[str, Sequence[int]] | None = None,
        slice: Mapping[str, Sequence[int | None]] | None = None,
        pad: Mapping[str, Sequence[Any]] | None = None,
        cast: Any = None,
    ) -> Rules:
        """The rules of :class:`RuleOptions`, spelt out so that a misspelt keyword is a TypeError.
        Raises RuleError for what is none."""
        rules: list[Rule] = []
        if keep is not None:
            rules.append(_Select(Patterns(keep, "keep"), keep=True))
        if drop:
            rules.append(_Select(Patterns(drop, "drop"), keep=False))
        if strip_prefix:
            rules.append(strip(_text(strip_prefix, "strip_prefix")))
        if rename is not None:
            rules += renames(rename)
        if prefix:
            rules.append(put_before(_text(prefix, "prefix")))
        if transpose:
            globs = Patterns(transpose, "transpose")
            rules.append(_Change("transpose", dict.fromkeys(globs, Permute(None)), globs.clause))
        for option, given, make in (
            ("permute", permute, _permute),
            ("slice", slice, _slice),
            ("pad", pad, _pad),
        ):
            if given:
                rules.append(_by_glob(option, given, make))
        if cast is not None:
            rules.append(_cast(cast))
        return cls(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def clauses(self) -> list[str]:
        return [clause for rule in self._rules for clause in rule.clauses]

    def apply(self, specs: Sequence[ArraySpec], label: str) -> Outcome:
        """What the rules make of a map of these arrays. Raises RuleError if two names become one,
        or a change does not apply; whether every clause touched something is the caller's to ask,
        since a chain's rules need not touch each link of it."""
        outcome = Outcome([Entry(i, spec) for i, spec in enumerate(specs)], [], set())
        for rule in self._rules:
            try:
                rule.apply(outcome)
            except RuleError as error:
                raise RuleError(f"{label}: {error}") from error.__cause__
        return outcome

    def refuse_untouched(self, touched: set[str], names: Sequence[str], label: str) -> None:
        """Raise RuleError for clauses that touched nothing, with the names that are like them."""
        idle = [clause for clause in self.clauses if clause not in touched]
        if not idle:
            return
        near = _near(idle[0], names)
        hint = f". Near it: {near}" if near else f". It has {_some(names)}"
        raise RuleError(
            f"{label}: no array of it is touched by {' or '.join(idle)}: a rule that does nothing "
            f"is a misspelt one{hint}"
        )


def _text(given: Any, option: str) -> str:
    if not isinstance(given, str):
        raise RuleError(f"{option}={given!r}: give a str, as in {option}='model/'")
    return given


def _near(clause: str, names: Sequence[str]) -> str:
    """Names that look like what was typed between the clause's first quotes."""
    typed = re.search(r"['\"](.+?)['\"]", clause)
    found = difflib.get_close_matches(typed[1], names[:2_000], n=3) if typed else []
    return ", ".join(repr(printable(name)) for name in found)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(printable(name)) for name in names[:3])
    return (
        f"{shown} and {plural(len(names) - 3, 'more name')}" if len(names) > 3 else shown or "none"
    )


# --- which arrays -----------------------------------------------------------------------------


class _Select:
    """keep and drop: an array is meant by any name that it answers to."""

    def __init__(self, patterns: Patterns, keep: bool) -> None:
        self._patterns = patterns
        self._keep = keep
        self.clauses = [patterns.clause(glob) for glob in patterns]
        if keep and not patterns:
            raise RuleError("keep=(): nothing would be kept; give names or globs, or None")

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


# --- what their values are --------------------------------------------------------------------


class _Change:
    """A change for each glob; where two match, the later one holds."""

    def __init__(
        self, option: str, changes: Mapping[str, Change], clause: Callable[[str], str]
    ) -> None:
        self._patterns = Patterns(changes, option)
        self._changes = changes
        self._clause = clause
        self.clauses = [clause(glob) for glob in changes]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            hits = self._patterns.hits(entry.spec.name, *entry.spec.aliases)
            if hits:
                outcome.touched.update(map(self._clause, hits))
                outcome.entries[i] = _changed(
                    entry, self._changes[hits[-1]], self._clause(hits[-1])
                )


def _changed(entry: Entry, change: Change, clause: str) -> Entry:
    spec = entry.spec
    try:
        shape, dtype = change.announce(spec.shape, spec.dtype)
    except ValueError as error:
        raise RuleError(f"{clause}: array {spec.name!r}: {error}") from error
    text = change.text(spec.shape, spec.dtype)
    if not text:
        return entry
    spec = replace(spec, shape=shape, dtype=dtype, changes=(*spec.changes, text))
    return replace(entry, spec=spec, changes=(*entry.changes, change))


def _by_glob(option: str, given: Any, make: Callable[..., Change]) -> Rule:
    if not isinstance(given, Mapping):
        raise RuleError(f"{option}={given!r}: give a dict of globs and what to do with each")

    def clause(glob: str) -> str:
        return f"{option}={ {glob: given[glob]} }"

    changes: dict[str, Change] = {}
    for glob, value in given.items():
        try:
            changes[glob] = make(*value)
        except (TypeError, ValueError) as error:
            raise RuleError(f"{clause(glob)}: give {make.__doc__}") from error
    return _Change(option, changes, clause)


def _permute(*axes: int) -> Change:
    """the axes in their new order, as in (2, 3, 1, 0)"""
    return Permute(tuple(map(operator.index, axes)))


def _slice(axis: int, start: int, stop: int | None) -> Change:
    """(axis, start, stop), where a stop of None is the end of the axis"""
    end = None if stop is None else operator.index(stop)
    return Slice(operator.index(axis), operator.index(start), end)


def _pad(axis: int, length: int, fill: Any = 0) -> Change:
    """(axis, length) or (axis, length, fill), where fill is a number or 'mean'"""
    if isinstance(fill, str) != (fill == "mean"):
        raise TypeError
    if fill != "mean":
        complex(fill)
    return Pad(operator.index(axis), operator.index(length), fill)


class _CastFloats:
    """cast="float16": every float, and no integer, step counters among them."""

    def __init__(self, dtype: str, clause: str) -> None:
        self._change = Cast(dtype)
        self.clauses = [clause]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            if dtypes.is_float(entry.spec.dtype):
                outcome.touched.add(self.clauses[0])
                outcome.entries[i] = _changed(entry, self._change, self.clauses[0])


def _cast(given: Any) -> Rule:
    if not isinstance(given, Mapping):
        dtype = _dtype(given, f"cast={given!r}")
        return _CastFloats(dtype, f"cast={dtype!r}")

    def clause(glob: str) -> str:
        return f"cast={ {glob: given[glob]} }"

    changes = {glob: Cast(_dtype(dtype, clause(glob))) for glob, dtype in given.items()}
    return _Change("cast", changes, clause)


def _dtype(given: Any, clause: str) -> str:
    """The name of a dtype given as a name, or as one of numpy or TensorFlow."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if isinstance(given, type):
        name = given.__name__
    try:
        return dtypes.name_of(dtypes.to_numpy(str(name)))
    except TypeError as error:
        raise RuleError(f"{clause}: {given!r} is no dtype; give one as 'float32'") from error
