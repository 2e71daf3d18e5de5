"""Rename, drop, keep and change the arrays of a source, by name, before any of them is read.

Rules are always applied in the same order, however they were typed: keep, drop, strip_prefix,
rename, prefix, transpose, permute, slice, pad, cast. Each one sees the names that the one before it
left. Each pattern must match an array, because one that matches nothing is usually misspelt.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from initreg import dtypes
from initreg.errors import RuleError
from initreg.names import Patterns, plain
from initreg.rules.changes import Cast, Change, Pad, Permute, Slice
from initreg.rules.renaming import Renaming, put_before, renames, strip
from initreg.rules.rule import Entry, Outcome, Rule
from initreg.spelling import either, join, said
from initreg.spelling import option as option_text
from initreg.text import plural, printable

if TYPE_CHECKING:
    from initreg.specs import ArraySpec

Globs = str | Iterable[str]


# The order in which rules are applied.
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

    Args:
        keep: globs of the arrays to keep. All others are left out.
        drop: globs of the arrays to leave out.
        strip_prefix: text that is removed from the beginning of the names that have it.
        rename: a dict of exact names, a function that takes a name and returns one, or
            ``(regex, replacement)`` pairs as ``re.sub`` takes them, which are applied one after
            the other.
        prefix: text that is put before every name.
        transpose: globs of the arrays whose axes are reversed.
        permute: ``{"conv*/kernel": (2, 3, 1, 0)}``, the axes as numpy's ``transpose`` takes them.
        slice: ``{"emb": (axis, start, stop)}``. A stop of None is the end of the axis.
        pad: ``{"emb": (axis, length)}`` or ``{"emb": (axis, length, fill)}``, where ``fill`` is a
            number or ``"mean"``. The default is 0.
        cast: a dtype for all floats, or ``{"step": "int32"}``.

    If two globs of one rule match an array, the later one is used.
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
    """The rules of one source, or of one chain, in the order in which they are applied.

    Args:
        rules: the rules.
        given: the options that the rules were made from, of Python's own types, so that the code
            of a hint can repeat them.

    >>> Rules.of(drop="head/*", prefix="net/").clauses
    ["drop='head/*'", "prefix='net/'"]
    """

    def __init__(self, rules: Iterable[Rule], given: Mapping[str, Any] | None = None) -> None:
        self._rules = tuple(rules)
        self.given = given or {}

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
        """The rules that :class:`RuleOptions` describes.

        The keywords are spelt out, so that a misspelt one is a TypeError.

        Raises:
            RuleError: an option has a value that it cannot have.
        """
        options = {
            "keep": plain(keep),
            "drop": plain(drop),
            "strip_prefix": plain(strip_prefix),
            "rename": _table(rename),
            "prefix": plain(prefix),
            "transpose": plain(transpose),
            "permute": _table(permute),
            "slice": _table(slice),
            "pad": _table(pad),
            "cast": _table(cast),
        }
        given = {name: value for name, value in options.items() if _is_given(name, value)}
        if "cast" in given:
            given["cast"] = _dtype_names(given["cast"])
        rules = [rule for name, value in given.items() for rule in _rules_of(name, value)]
        return cls(rules, given)

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def clauses(self) -> list[str]:
        """The parts of the rules that must each match an array, as the user typed them."""
        return [clause for rule in self._rules for clause in rule.clauses]

    def apply(self, specs: Sequence[ArraySpec], label: str) -> Outcome:
        """Apply the rules to the arrays of a map.

        Whether every clause matched an array is checked by :meth:`refuse_untouched`, because a
        rule of a chain need not match an array of each source.

        Args:
            specs: the arrays of the map.
            label: what to call the source in an error.

        Raises:
            RuleError: two arrays get the same name, or a change cannot be applied to its array.
        """
        outcome = Outcome([Entry(i, spec) for i, spec in enumerate(specs)], [], set())
        for rule in self._rules:
            try:
                rule.apply(outcome)
            except RuleError as error:
                raise RuleError(f"{label}: " + said(error)) from error.__cause__
        return outcome

    def refuse_untouched(self, touched: Collection[str], names: Sequence[str], label: str) -> None:
        """Check that each clause matched an array.

        Args:
            touched: the clauses that matched an array.
            names: the names of all arrays, for the error.
            label: what to call the source in the error.

        Raises:
            RuleError: a clause matched nothing. The error shows names that look like it.
        """
        idle = [clause for clause in self.clauses if clause not in touched]
        if not idle:
            return
        near = _near(idle[0], names)
        hint = f"Similar names: {near}" if near else f"Arrays: {_some(names)}"
        raise RuleError(
            f"{label}: " + join(" and ", idle) + f" {'matches' if len(idle) == 1 else 'match'} no "
            f"array (a rule must match at least one). {hint}"
        )


def _table(given: Any) -> Any:
    """The value of an option that takes a dict, of Python's own types. A pandas Series is one."""
    if hasattr(given, "keys") and not isinstance(given, (Mapping, type)):
        given = {key: given[key] for key in given.keys()}  # noqa: SIM118 - it iterates its values
    return plain(given)


def _is_given(option: str, value: Any) -> bool:
    """Whether the option asks for a rule. An empty value does not, unless it is an error."""
    if option in ("keep", "rename", "cast"):
        return value is not None
    return not (value is None or (isinstance(value, (str, list, tuple, dict, bool)) and not value))


def _rules_of(option: str, given: Any) -> Iterator[Rule]:
    """The rules of one option."""
    if option in ("keep", "drop"):
        yield _Select(Patterns(given, option), keep=option == "keep")
    elif option == "strip_prefix":
        yield strip(_text(given, option))
    elif option == "prefix":
        yield put_before(_text(given, option))
    elif option == "rename":
        yield from renames(given)
    elif option == "transpose":
        globs = Patterns(given, option)
        yield _Change(option, dict.fromkeys(globs, Permute(None)), globs.clause)
    elif option == "cast":
        yield _cast(given)
    else:
        yield _by_glob(option, given)


def _text(given: Any, option: str) -> str:
    if not isinstance(given, str):
        raise RuleError(f"{option}={given!r}: give a str, as in {option}='model/'")
    return given


def _near(clause: str, names: Sequence[str]) -> str:
    """Names that look like the first quoted text of the clause."""
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


# --- what is done to their values -------------------------------------------------------------


class _Change:
    """A change for each glob. If two globs match an array, the later one is used."""

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
        raise RuleError(clause + f": array {spec.name!r}: " + said(error)) from error
    text = change.text(spec.shape, spec.dtype)
    if not text:
        return entry
    spec = replace(spec, shape=shape, dtype=dtype, changes=(*spec.changes, text))
    return replace(entry, spec=spec, changes=(*entry.changes, change))


def _by_glob(option: str, given: Any) -> Rule:
    make, usage = _MAKERS[option]
    if not isinstance(given, Mapping):
        raise RuleError(f"{option}={given!r}: give a dict that says what to do for each glob")

    def clause(glob: str) -> str:
        return option_text(option, {glob: given[glob]})

    changes: dict[str, Change] = {}
    for glob, value in given.items():
        try:
            changes[glob] = make(*value)
        except (TypeError, ValueError) as error:
            raise RuleError(clause(glob) + ": give " + usage) from error
    return _Change(option, changes, clause)


def _permute(*axes: int) -> Change:
    return Permute(tuple(map(operator.index, axes)))


def _slice(axis: int, start: int, stop: int | None) -> Change:
    end = None if stop is None else operator.index(stop)
    return Slice(operator.index(axis), operator.index(start), end)


def _pad(axis: int, length: int, fill: Any = 0) -> Change:
    if isinstance(fill, str) != (fill == "mean"):
        raise TypeError
    if fill != "mean":
        complex(fill)
    return Pad(operator.index(axis), operator.index(length), fill)


# The function that makes a change from the value of a glob, and the value that it takes, in words.
_MAKERS: dict[str, tuple[Callable[..., Change], str]] = {
    "permute": (
        _permute,
        either(
            "the axes in their new order, as in (2, 3, 1, 0)",
            "the axes in their new order, as in --permute 'conv*=2,3,1,0'",
        ),
    ),
    "slice": (
        _slice,
        either(
            "(axis, start, stop), where a stop of None is the end of the axis",
            "AXIS,START,STOP, where an empty STOP is the end of the axis",
        ),
    ),
    "pad": (
        _pad,
        either(
            "(axis, length) or (axis, length, fill), where fill is a number or 'mean'",
            "AXIS,LENGTH or AXIS,LENGTH,FILL, where FILL is a number or mean",
        ),
    ),
}


class _CastFloats:
    """cast="float16". It applies to all floats, and not to integers such as step counters."""

    def __init__(self, dtype: str, clause: str) -> None:
        self._change = Cast(dtype)
        self.clauses = [clause]

    def apply(self, outcome: Outcome) -> None:
        for i, entry in enumerate(outcome.entries):
            if dtypes.is_float(entry.spec.dtype):
                outcome.touched.add(self.clauses[0])
                outcome.entries[i] = _changed(entry, self._change, self.clauses[0])


def _cast(given: str | Mapping[str, str]) -> Rule:
    if isinstance(given, str):
        return _CastFloats(given, option_text("cast", given))

    def clause(glob: str) -> str:
        return option_text("cast", {glob: given[glob]})

    return _Change("cast", {glob: Cast(dtype) for glob, dtype in given.items()}, clause)


def _dtype_names(given: Any) -> str | dict[str, str]:
    """The value of ``cast=`` with its dtypes as names. Raises RuleError."""
    if isinstance(given, Mapping):
        return {
            glob: _dtype(dtype, option_text("cast", {glob: dtype})) for glob, dtype in given.items()
        }
    return _dtype(given, option_text("cast", given))


def _dtype(given: Any, clause: str) -> str:
    """The name of a dtype that is given as a name, or as a dtype of numpy or TensorFlow."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if isinstance(given, type):
        name = given.__name__
    try:
        return dtypes.name_of(dtypes.to_numpy(str(name)))
    except TypeError as error:
        raise RuleError(
            clause + f": {given!r} is not a dtype. Give a name such as 'float32'"
        ) from error
