"""Rules that give arrays other names: rename, prefix, strip_prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initreg.errors import RuleError
from initreg.names import normalise
from initreg.option_spelling import option
from initreg.records import record, replace

if TYPE_CHECKING:
    from initreg.rules.rule import Outcome
    from initreg.specs import ArraySpec

Renaming = Mapping[str, str] | Callable[[str], str] | Iterable[tuple[str | re.Pattern[str], str]]


@record(frozen=False)
class Rename:
    """A rule that gives arrays other names.

    Args:
        clauses: the parts of the rule, as the user typed them.
        to: takes a name and returns the new name and the clause that gave it, or None if the name
            stays.
        keeps_places: whether the new name of a place is a place. Otherwise it is a name that the
            user gave, which may be meant as either.
    """

    clauses: Sequence[str]
    to: Callable[[str], tuple[str, str] | None]
    keeps_places: bool = False

    def apply(self, outcome: Outcome) -> None:
        entries, by = [], []
        for entry in outcome.entries:
            spec, clause = self._renamed(entry.spec, outcome.touched)
            entries.append(replace(entry, spec=spec) if clause else entry)
            by.append(clause)
        holders: dict[str, int] = {}
        for old, new, clause in zip(outcome.entries, entries, by, strict=True):
            name = new.spec.name
            if not name:
                raise RuleError(clause + f" makes the name {old.spec.name!r} empty")
            if name in holders:
                first = outcome.entries[holders[name]].spec.name
                clause = clause or by[holders[name]]
                raise RuleError(
                    clause + f" gives two arrays the same name: {first!r} and {old.spec.name!r} "
                    f"would both be called {name!r}. Drop one of them first"
                )
            holders[name] = len(holders)
        outcome.entries = entries

    def _renamed(self, spec: ArraySpec, touched: set[str]) -> tuple[ArraySpec, str]:
        """The array under its new names, and the clause that gave the primary one, "" if none did.

        It loses its other names, because one of them may be the name of another variable by now.
        """
        new: dict[str, str] = {}
        places: dict[str, None] = {}
        automatic: dict[str, None] = {}
        for name in (spec.name, *spec.aliases):
            found = self.to(name)
            if found is None:
                continue
            renamed = normalise(found[0])
            new.setdefault(renamed, found[1])
            touched.add(found[1])
            if self.keeps_places and name in spec.places:
                places[renamed] = None
            if self.keeps_places and name in spec.automatic:
                automatic[renamed] = None
        if not new:
            return spec, ""
        first, *others = new
        changed = replace(
            spec,
            name=first,
            aliases=tuple(filter(None, others)),
            places=tuple(places),
            automatic=tuple(automatic),
            model="",  # by now it may be a part of that model, or in a part of another one
        )
        return changed, new[first]


def put_before(prefix: str) -> Rename:
    """The rule of ``prefix=``."""
    clause = option("prefix", prefix)
    return Rename([clause], lambda name: (prefix + name, clause), keeps_places=True)


def strip(prefix: str) -> Rename:
    """The rule of ``strip_prefix=``."""
    clause = option("strip_prefix", prefix)
    return Rename(
        [clause],
        lambda name: (name.removeprefix(prefix), clause) if name.startswith(prefix) else None,
        keeps_places=True,
    )


def renames(given: Any) -> Iterator[Rename]:
    """The rules of ``rename=``, in the order in which they are applied.

    Args:
        given: a dict of exact names, ``(regex, replacement)`` pairs, a function of the name, or a
            list of these.

    Raises:
        RuleError: it is something else, or a regex is not valid.
    """
    if isinstance(given, Mapping):
        yield _exact(given)
    elif callable(given):
        yield _called(given)
    elif is_pair(given):
        yield _pattern(*given)
    elif isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        for each in given:
            if isinstance(each, Iterable) and not isinstance(each, Mapping) and not is_pair(each):
                raise _wrong_type(given)
            yield from renames(each)
    else:
        raise _wrong_type(given)


def _wrong_type(given: Any) -> RuleError:
    return RuleError(
        f"rename={given!r}: give a dict of names, (regex, replacement) pairs, or a function that "
        "takes a name and returns one"
    )


def is_pair(given: Any) -> bool:
    """Whether it is one ``(regex, replacement)`` pair of ``rename=``."""
    return (
        isinstance(given, (tuple, list))
        and len(given) == 2
        and isinstance(given[0], (str, re.Pattern))
        and (isinstance(given[1], str) or callable(given[1]))
    )


def _exact(given: Mapping[str, str]) -> Rename:
    if not all(isinstance(text, str) for item in given.items() for text in item):
        raise _wrong_type(given)
    new = {normalise(old): (to, option("rename", {old: to})) for old, to in given.items()}
    return Rename([clause for _, clause in new.values()], new.get)


def _pattern(regex: str | re.Pattern[str], replacement: Any) -> Rename:
    text = regex if isinstance(regex, str) else regex.pattern
    clause = option("rename", [(text, replacement)], f"rename=({text!r}, {replacement!r})")
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise RuleError(clause + f": {text!r} is not a valid regex: {error}") from error

    def to(name: str) -> tuple[str, str] | None:
        try:
            new, count = compiled.subn(replacement, name)
        except (re.error, IndexError) as error:
            reason = f"{replacement!r} is not a valid replacement: {error}"
            raise RuleError(clause + f": {reason}") from error
        return (new, clause) if count else None

    return Rename([clause], to)


def _called(function: Callable[[str], str]) -> Rename:
    clause = f"rename={getattr(function, '__name__', function)}"

    def to(name: str) -> tuple[str, str] | None:
        try:
            new = function(name)
        except Exception as error:  # the user's own code
            reason = f"{type(error).__name__}: {error}"
            raise RuleError(f"{clause} failed for the name {name!r}: {reason}") from error
        if not isinstance(new, str):
            raise RuleError(
                f"{clause} returned {new!r} for the name {name!r}. It must return a str, which is "
                "the same name if nothing is to be renamed. To leave an array out, use drop="
            )
        return (new, clause) if new != name else None

    return Rename([clause], to)
