"""Hints that were tried: each was planned, so that it does what its words say.

A hint that restores a part of what another one restores is not shown. Hints that contradict each
other are not shown as if each were right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg.option_spelling import join, option
from initreg.plan.rows import Hint

# Takes the options of a hint, and returns which array each variable would be restored from. None
# if that fails.
Attempt = Callable[[Mapping[str, Any]], Mapping[str, str] | None]

_MOST_READINGS = 4  # that are shown in words


@dataclass(frozen=True, slots=True)
class Tried:
    """A hint, with what it was found to do.

    Args:
        hint: the hint.
        pairs: the array for each variable that would be restored.
        steps: in how many steps it renames.
        is_doubtful: whether it goes by names that may belong to other layers.
    """

    hint: Hint
    pairs: Mapping[str, str]
    steps: int = 1
    is_doubtful: bool = False


def agreeing(tried: Iterable[Tried]) -> list[Hint]:
    """The hints to show, the most helpful one first.

    Where several readings do as much and contradict each other, one hint shows them, with the
    options of each.
    """
    ranked = sorted(tried, key=lambda t: (t.is_doubtful, -len(t.pairs), t.steps))
    kept: list[Tried] = []
    for each in ranked:
        if not any(each.pairs.items() <= other.pairs.items() for other in kept):
            kept.append(each)
    if not kept:
        return []
    best, *others = kept
    rivals = [
        each
        for each in others
        if len(each.pairs) == len(best.pairs)
        and each.is_doubtful is best.is_doubtful
        and contradict(best.pairs, each.pairs)
    ]
    if rivals:
        return [_readings([best, *rivals])]
    shown: list[Tried] = []
    for each in kept:
        if not any(contradict(each.pairs, other.pairs) for other in shown):
            shown.append(each)
    return [each.hint for each in shown]


def contradict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two readings give a variable different arrays, or an array different variables."""
    if any(other.get(variable, array) != array for variable, array in one.items()):
        return True
    theirs = {array: variable for variable, array in other.items()}
    return any(theirs.get(array, variable) != variable for variable, array in one.items())


def _readings(rivals: Sequence[Tried]) -> Hint:
    words = []
    for each in rivals[:_MOST_READINGS]:
        options = join(", ", [option(name, value) for name, value in each.hint.options.items()])
        words.append(join("", [f"{each.hint.words} (", options, ")"]))
    more = f", and {len(rivals) - _MOST_READINGS} more" if len(rivals) > _MOST_READINGS else ""
    text = "several readings fit as well, and nothing says which one is meant: "
    return Hint(join("", [text, join("; or ", words), more]), {}, rivals[0].hint.source)
