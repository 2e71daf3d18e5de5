"""The rules as options, and the order in which they are applied.

Rules are always applied in the same order, however they were typed: keep, drop, strip_prefix,
rename, prefix, transpose, permute, slice, pad, cast. Each one sees the names that the one before it
left. Each pattern must match an array, because one that matches nothing is usually misspelt.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from initreg.errors import RuleError
from initreg.names import Patterns, plain
from initreg.rules.changes import Permute
from initreg.rules.changing import ChangeByGlob, cast_rule, change_by_glob, dtype_names
from initreg.rules.renaming import Renaming, put_before, renames, strip
from initreg.rules.rule import Entry, Outcome, Rule
from initreg.rules.selecting import Select
from initreg.spelling import join, said
from initreg.wording import plural, printable

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
            given["cast"] = dtype_names(given["cast"])
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
        yield Select(Patterns(given, option), keep=option == "keep")
    elif option == "strip_prefix":
        yield strip(_text(given, option))
    elif option == "prefix":
        yield put_before(_text(given, option))
    elif option == "rename":
        yield from renames(given)
    elif option == "transpose":
        globs = Patterns(given, option)
        yield ChangeByGlob(option, dict.fromkeys(globs, Permute(None)), globs.clause)
    elif option == "cast":
        yield cast_rule(given)
    else:
        yield change_by_glob(option, given)


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
