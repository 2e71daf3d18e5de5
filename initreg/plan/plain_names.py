"""Pairs by plain names: what is done where one side has names alone, such as a dict or a session.

Its names may be meant as either, the names or the places of the other side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from initreg.errors import AmbiguousNames, DuplicateName, RuleError
from initreg.names import normalise, normalised
from initreg.option_spelling import option
from initreg.plan.name_parts import pair_by_names
from initreg.plan.rows import By
from initreg.specs import ORDER, ArraySpec, VariableSpec


@dataclass(slots=True)
class Names:
    """The names of one side, each with the index of its array or variable.

    Args:
        by_name: the primary names.
        by_alias: the aliases that are no primary name and that only one array or variable has.
    """

    by_name: dict[str, int] = field(default_factory=dict)
    by_alias: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[ArraySpec | VariableSpec], label: str) -> Names:
        entries = list(entries)
        primary = normalised([entry.name for entry in entries])
        names = cls(dict(zip(primary, range(len(primary)), strict=True)))
        if len(names.by_name) < len(primary):
            name = _first_twice(primary)
            raise DuplicateName(
                f"{label}: two variables are called {name!r}, so they cannot be told apart by "
                "name. Give them different names, or pass only one of them"
            )
        aliases: Counter[str] = Counter()
        for index, entry in enumerate(entries if _any_has_aliases(entries) else ()):
            if not entry.aliases:
                continue
            for alias in {normalise(alias) for alias in entry.aliases}:
                if alias not in names.by_name:
                    aliases[alias] += 1
                    names.by_alias[alias] = index
        for alias, count in aliases.items():
            if count > 1:
                del names.by_alias[alias]
        return names


def _any_has_aliases(entries: Iterable[ArraySpec | VariableSpec]) -> bool:
    """Whether any array or variable has aliases, quickly."""
    return any(map(attrgetter("aliases"), entries))


def _first_twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("each name is there once")


def pair_plain(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    theirs: Names,
    ours: Names,
    label: str,
) -> dict[int, int]:
    """Find the array of one source for each variable.

    Pairs are made in this order:

    1. The primary name of each side is an alias of the other side. Then name and place agree.
    2. The primary names are equal.
    3. An alias of the variable is the primary name of the array. Such an alias is the place of the
       variable in its model.
    4. An alias of the variable is an alias of the array.
    5. An alias of the array is the primary name of the variable. This comes last, because an alias
       of an array may contain a number that counts the models of a process.

    An alias matches only what the primary names left over, so that no array goes into two
    variables.

    Returns:
        The index of the array for the index of each variable that has one.

    Raises:
        AmbiguousNames: primary names and aliases contradict each other.
    """
    if not (_any_has_aliases(arrays) or _any_has_aliases(variables)):
        by_name = theirs.by_name
        return {index: by_name[name] for name, index in ours.by_name.items() if name in by_name}
    pairs: dict[int, int] = _in_both_ways(arrays, variables, theirs)
    taken = set(pairs.values())
    also_called = {alias: each for each in arrays for alias in each.aliases}
    for name, variable in ours.by_name.items():
        array = theirs.by_name.get(name)
        if array is None or array in taken or variable in pairs:
            continue
        other = also_called.get(name)
        _refuse_contradiction(name, arrays[array], other, variables[variable], label)
        pairs[variable] = array
    if not theirs.by_alias and not ours.by_alias:
        return pairs
    taken = set(pairs.values())
    names = [[normalise(spec.name)] for spec in variables]
    aliases = [
        [a for a in map(normalise, spec.aliases) if ours.by_alias.get(a) == index]
        for index, spec in enumerate(variables)
    ]
    # Finish each step for all variables before the next one, so that better matches go first.
    for wanted, by in (
        (aliases, theirs.by_name),
        (aliases, theirs.by_alias),
        (names, theirs.by_alias),
    ):
        for index, tries in enumerate(wanted):
            for name in tries if index not in pairs else ():
                array = by.get(name)
                if array is not None and array not in taken:
                    pairs[index] = array
                    taken.add(array)
                    break
    return pairs


def _in_both_ways(
    arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec], theirs: Names
) -> dict[int, int]:
    """The pairs in which the primary name of each side is an alias of the other side."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for index, spec in enumerate(variables):
        if not spec.aliases:
            continue
        name = normalise(spec.name)
        for alias in map(normalise, spec.aliases):
            array = theirs.by_name.get(alias)
            if alias == name or array is None or array in taken:
                continue
            if name in arrays[array].aliases:
                pairs[index] = array
                taken.add(array)
                break
    return pairs


def _refuse_contradiction(
    name: str, found: ArraySpec, other: ArraySpec | None, variable: VariableSpec, label: str
) -> None:
    """Raise AmbiguousNames if two arrays may be meant for a variable.

    ``found`` has the name as its primary name, and has aliases. ``other`` has the name as an alias.
    So ``w`` may be the place of the one array, and the name that a person gave to the other.
    """
    if other is None or other is found or not found.aliases or variable.aliases:
        return
    aliases = ("alias " if len(found.aliases) == 1 else "aliases ") + ", ".join(
        map(repr, found.aliases)
    )
    raise AmbiguousNames(
        f"{label}: two arrays may be meant for {name!r}: the array of this name, with the "
        f"{aliases}, and the array {other.name!r}, with the alias "
        f"{name!r}. Pass "
        + option("by", "name")
        + " to go by the names that people gave, or "
        + option("by", "place")
        + " to go by the places in the structure that was saved"
    )


def pair_by(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    by: By,
    label: str,
) -> dict[int, int]:
    """The pairs by one sort of names, as the user asked for.

    The names of an entry without places count as either sort.

    Raises:
        RuleError: neither side has names of this sort.
    """
    both: list[ArraySpec | VariableSpec] = [*arrays, *variables]
    recorded = (p.startswith(ORDER) is (by is By.ORDER) for e in both for p in e.places)
    if by is not By.NAME and not any(recorded):
        raise RuleError(
            f"{label}: "
            + option("by", by.value)
            + f" is not possible, because neither side records {by.value}s"
        )
    ours, theirs = ([_of_sort(by, each) for each in side] for side in (variables, arrays))
    return pair_by_names(ours, theirs)


def _of_sort(by: By, entry: ArraySpec | VariableSpec) -> list[str]:
    names = [entry.name, *entry.aliases]
    if by is By.NAME:
        return [name for name in names if name not in entry.places]
    if not entry.places:
        return names
    return [place for place in entry.places if place.startswith(ORDER) is (by is By.ORDER)]
