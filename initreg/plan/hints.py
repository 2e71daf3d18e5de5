"""Hints about names: why few match, and what to type instead. Only asked for in that case."""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg.names import normalise
from initreg.plan.matching import no_slots
from initreg.plan.parts import (
    Pair,
    are_opposites,
    differ_by_numbers,
    families,
    has_other_number,
    insertions,
    removals,
    substitution,
)
from initreg.plan.row_making import SlotFinder
from initreg.plan.rows import By, Hint, Way
from initreg.plan.tried import Attempt, Tried, agreeing
from initreg.specs import ArraySpec, VariableSpec
from initreg.text.wording import plural, shared

_MOST = 3
_TRIED = 4  # renamings of each sort whose matches are counted among all names
# Limits for hostile names. Renamings are looked for in names of at most so many characters and
# parts, in a sample of so many names. Similar names are looked for among names of at most so many
# characters, among so many names, until so many characters were compared.
_LONGEST, _MOST_PARTS, _POOL = 512, 32, 1000
_NEAR_LONGEST, _NEAR_POOL, _NEAR_COMPARED = 256, 200, 200_000_000
# How many hints are planned before they are shown, and how many names in all of these plans.
_FEWEST_PLANS, _MOST_PLANS, _MOST_PLANNED = 2, 16, 100_000
_SEPARATOR = re.compile(r"[/.]")
_Options = Mapping[str, Any]
_WHAT_A_WAY_MEANS = {
    By.NAME: "the names are automatic, and may belong to other layers",
    By.PLACE: "where they were in the model that was saved",
    By.ORDER: "their position among the layers",
}


@dataclass(frozen=True, slots=True)
class _Renaming:
    """A renaming that may help: in words, as options, and in how many steps."""

    words: str
    options: _Options
    apply: Callable[[str], str]
    steps: int = 1
    is_shift: bool = False  # whether it only changes the number of a layer


def renamings(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    source: str = "source",
    label: str = "",
    *,
    matched: Collection[str] = (),
    slots: SlotFinder = no_slots,
    attempt: Attempt | None = None,
    now: int = 0,
    ways: Sequence[Hint] = (),
) -> list[Hint]:
    """Look for renamings that make more names match. Takes n log n in the number of names.

    Args:
        arrays: the arrays of one source.
        variables: the variables of the target.
        source: the code that names the source, for the hint.
        label: what to call the source if there are others, else "".
        matched: names of more arrays, which match already and must keep their names.
        slots: finds the slots of an optimiser, which are not renamed to their variables.
        attempt: plans with the options of a hint. Then only hints are shown that do what they say,
            and that do not contradict each other.
        now: how many variables the source supplies without a hint, for ``attempt``.
        ways: hints to match the source in another way, which are tried, too.

    Returns:
        At most three hints, the most helpful one first. If no renaming helps, there may be a hint
        about names that look alike.
    """
    have = [array.name for array in arrays]
    want = {normalise(n): v.shape for v in variables for n in (v.name, *v.aliases)}
    # A part of a name that somebody gave is not replaced by a part of a place.
    placed = {normalise(place) for v in variables for place in v.places}
    called = want if any(a.name in a.places for a in arrays) else want.keys() - placed
    if not have:
        return [Hint(f"the source {label} holds no arrays".replace("  ", " "), {}, source)]
    if not want:
        return [Hint("the target has no variables: create them before restoring", {}, source)]
    met = sum(name in want for name in have)
    enough = max(1, min(len(have), len(variables)) // 10)  # a few of ten thousand match by chance
    found: dict[str, tuple[int, _Renaming]] = {}
    for renaming in _renamings(have, want, called):
        new = list(map(renaming.apply, have))
        pairs = [(a, n) for a, n in zip(arrays, new, strict=True) if n in want]
        hits = len(pairs)
        # Of the layers of a model, the one with another number is another one.
        if renaming.is_shift and (matched or hits < min(len(have), len(variables))):
            continue
        # Names may match by chance. Shapes with the same axes, in whatever order, rarely do.
        alike = sum(_axes(array.shape) == _axes(want[name]) for array, name in pairs)
        if (
            hits - met >= enough
            and 2 * alike >= hits
            and len(set(new)) == len(new)
            and not any(renaming.apply(name) != name for name in matched)
            and 2 * len(slots({a.name for a, _ in pairs}, {n for _, n in pairs})) < hits
            and hits > found.get(renaming.words, (0,))[0]
        ):
            found[renaming.words] = hits, renaming
    if attempt is not None:
        return _tried(found.values(), arrays, variables, source, label, matched, attempt, now, ways)
    best = max((hits for hits, _ in found.values()), default=0)
    # A renaming in two steps is shown only if no single step does as much.
    simple = max((hits for hits, each in found.values() if each.steps == 1), default=0)
    of = f" of {label}" if label else ""
    total = len(have) + len(matched)
    shown = [
        Hint(_words(hits + len(matched), total, of, each.words), each.options, source)
        for hits, each in sorted(found.values(), key=lambda item: (-item[0], item[1].steps))
        if hits * 4 >= best and (each.steps == 1 or hits > simple)
    ]
    if not shown and not matched:
        shown = nearest(arrays, variables, source)
    return shown[:_MOST]


def _tried(
    found: Iterable[tuple[int, _Renaming]],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    source: str,
    label: str,
    matched: Collection[str],
    attempt: Attempt,
    now: int,
    ways: Sequence[Hint],
) -> list[Hint]:
    """The hints that do what they say, at most three, the most helpful one first."""
    total, known = len(arrays) + len(matched), {array.origin for array in arrays}
    of = f" of {label}" if label else ""
    size = len(arrays) + len(variables)
    left = max(_FEWEST_PLANS, min(_MOST_PLANS, _MOST_PLANNED // size))
    tried: list[Tried] = []
    for hint in ways:
        pairs = attempt(hint.options)
        if pairs is not None and len(pairs) > now:
            tried.append(Tried(hint, pairs, is_doubtful=hint.options.get("by") == By.NAME.value))
    for _, each in sorted(found, key=lambda item: (-item[0], item[1].steps)):
        if not left:
            break
        left -= 1
        options, words = each.options, each.words
        pairs = attempt(options)
        if (pairs is None or len(pairs) <= now) and any(array.places for array in arrays):
            options = {**options, "by": By.PLACE.value}
            words, pairs = f"{words}, by place", attempt(options)
        if pairs is None or len(pairs) <= now:
            continue
        # A renaming in two steps is shown only if no single step does as much.
        if each.steps > 1 and any(len(other.pairs) >= len(pairs) for other in tried):
            continue
        # What was not to be renamed, as the state of an optimizer, may be restored with the rest.
        more = 0 if matched else len(set(pairs.values()) - known)
        text = _words(len(pairs), total + more, of, words)
        tried.append(Tried(Hint(text, options, source), pairs, each.steps))
    if not tried and not matched:
        for hint in nearest(arrays, variables, source):
            pairs = attempt(hint.options)
            if pairs is not None and len(pairs) > now:
                tried.append(Tried(hint, pairs))
    shown = agreeing(tried)
    most = max((len(each.pairs) for each in tried), default=0)
    few = {each.hint.words for each in tried if 4 * len(each.pairs) < most}
    return [hint for hint in shown if hint.words not in few][:_MOST]


def _words(count: int, total: int, of: str, how: str) -> str:
    return f"{count:,} of {total:,} names{of} match after {how}"


def other_ways(way: Way, count: int, source: str) -> list[Hint]:
    """Hints to match a source in another way, if that would match more.

    Args:
        way: the way that was taken.
        count: how many variables the target has.
        source: the code that names the source, for the hint.
    """
    return [
        Hint(
            f"{found:,} of {plural(count, 'variable')} would match by {by.value} "
            f"({_WHAT_A_WAY_MEANS[by]})",
            {"by": by.value},
            source,
        )
        for by, found in way.others.items()
    ]


def _renamings(
    have: Sequence[str], want: Collection[str], called: Collection[str]
) -> Iterator[_Renaming]:
    """The renamings that may help, in one step or two.

    Args:
        have: the names of the arrays.
        want: the names and the places of the variables.
        called: those of ``want`` that parts of names may be replaced for.
    """
    spellings: list[tuple[str, list[Pair], Sequence[str]]] = [("", [], have)]
    for old, new in ((".", "/"), ("/", ".")):
        if any(old in name for name in have):
            names: Sequence[str] = [name.replace(old, new) for name in have]
            spellings.append((f"replacing {old!r} by {new!r}", [(re.escape(old), new)], names))
    wanted = _pool(want)
    for words, pairs, names in spellings:
        also, steps = (f"{words} and ", 2) if words else ("", 1)
        if words:
            yield _Renaming(words, {"rename": pairs}, substitution(pairs))
        pool = _pool(names)
        for prefix in _best(_leading(pool, want)):
            pair = (f"^{re.escape(prefix)}", "")
            option: _Options = {"rename": [*pairs, pair]} if pairs else {"strip_prefix": prefix}
            apply = substitution([*pairs, pair])
            yield _Renaming(f"{also}removing {prefix!r}", option, apply, steps)
        for prefix in _best(_leading(wanted, set(names))):
            option = {"rename": pairs, "prefix": prefix} if pairs else {"prefix": prefix}
            apply = _prefixed(prefix, substitution(pairs))
            yield _Renaming(f"{also}adding {prefix!r}", option, apply, steps)
        for how, more in (*removals(pool, want), *insertions(wanted, set(names))):
            option = {"rename": [*pairs, *more]}
            yield _Renaming(f"{also}{how}", option, substitution([*pairs, *more]), steps)
        swaps = _swapped(pool, called)
        for how, more in families(Counter({(s[1], s[3]): n for s, n in swaps.items()})):
            option = {"rename": [*pairs, *more]}
            apply = substitution([*pairs, *more])
            yield _Renaming(f"{also}{how}", option, apply, steps + len(more) - 1)
        for swap in _best(swaps):
            old, new, how = _regex(*swap)
            more = [*pairs, (old, new)]
            shift = differ_by_numbers(swap[1], swap[3])
            yield _Renaming(f"{also}{how}", {"rename": more}, substitution(more), steps, shift)


def _prefixed(prefix: str, apply: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: prefix + apply(name)


def _axes(shape: Sequence[int | None] | None) -> list[int]:
    return sorted(-1 if axis is None else axis for axis in shape or () if axis != 1)


def _best(counts: Counter[Any]) -> Iterator[Any]:
    return (found for found, _ in counts.most_common(_TRIED))


def _leading(longer: Iterable[str], shorter: Collection[str]) -> Counter[str]:
    """The prefixes that turn names of ``longer`` into names of ``shorter`` if they are removed,
    and how often each does."""
    return Counter(
        name[: at.end()]
        for name in longer
        for at in _SEPARATOR.finditer(name)
        if name[at.end() :] in shorter
    )


def _pool(names: Collection[str]) -> list[str]:
    """The names within the limits, or a sample of them that is the same each time."""
    plain = list(filter(_is_plain, names))
    return plain if len(plain) <= _POOL else random.Random(0).sample(plain, _POOL)


def _is_plain(name: str) -> bool:
    return len(name) <= _LONGEST and name.count("/") + name.count(".") < _MOST_PARTS


def _swapped(have: Sequence[str], want: Iterable[str]) -> Counter[tuple[str, str, str, str]]:
    """The renamings of one part of a name that give a wanted name, and how often each does.

    Examples are ``/weight`` to ``/kernel`` at the end, ``resnet/`` to ``backbone/`` at the start,
    and ``/a/`` to ``/b/`` in between.

    Returns:
        For each renaming, the separator before the part or "", the part, the separator after it or
        "", and the new part.
    """
    places = {(before, after) for name in have for before, _, after in _parts(name)}
    known: dict[tuple[str, str], list[str]] = {}
    for name in filter(_is_plain, want):
        for before, part, after in _parts(name):
            if (before, after) in places:
                parts = known.setdefault((before, after), [])
                if len(parts) < 8:  # a thousand different parts are not a renaming
                    parts.append(part)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for name in have:
        for before, part, after in _parts(name):
            for other in known.get((before, after), ()):
                if other != part and not (
                    part.isdecimal() or other.isdecimal() or are_opposites(part, other)
                ):
                    counts[before[-1:], part, after[:1], other] += 1
    return Counter({swap: count for swap, count in counts.items() if count > 1})


def _parts(name: str) -> Iterator[tuple[str, str, str]]:
    """Each part of a name that has several, with the text before it and the text after it."""
    start = 0
    for at in _SEPARATOR.finditer(name):
        yield name[:start], name[start : at.start()], name[at.start() :]
        start = at.end()
    if start:
        yield name[:start], name[start:], ""


def _regex(before: str, old: str, after: str, new: str) -> tuple[str, str, str]:
    """How to replace the part ``old`` by ``new``: regex, replacement, and the change in words.

    ``before`` and ``after`` are the separators around the part, or "" at an end of the name.
    """
    regex = f"{'' if before else '^'}{re.escape(before + old + after)}{'' if after else '$'}"
    replacement = (before + new + after).replace("\\", "\\\\")
    return regex, replacement, f"replacing {before + old + after!r} by {before + new + after!r}"


def nearest(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    source: str = "source",
    cutoff: float = 0.8,
) -> list[Hint]:
    """Look for names that look alike and have equal shapes. One hint shows all of them.

    Args:
        arrays: arrays of one source.
        variables: variables of the target.
        source: the code that names the source, for the hint.
        cutoff: how much alike two names must be, from 0 to 1.
    """
    by_shape: dict[tuple[int | None, ...] | None, list[str]] = {}
    made_up = set()
    for array in arrays[:_NEAR_POOL]:
        if len(array.name) <= _NEAR_LONGEST:
            by_shape.setdefault(array.shape, []).append(array.name)
            if array.name in array.automatic:
                made_up.add(array.name)
    pairs: dict[str, str] = {}
    left = _NEAR_COMPARED
    for variable in variables[:20]:
        name = normalise(variable.name)
        if len(name) > _NEAR_LONGEST:
            continue
        others = by_shape.get(variable.shape, ())
        if name in map(normalise, variable.automatic):
            others = [other for other in others if other not in made_up]  # both are made up
        near, left = _nearest(name, others, cutoff, left)
        if not near or near in pairs or has_other_number(near, name):
            continue  # two layers of one model
        if not are_opposites(near, name):
            pairs[near] = name
        if len(pairs) == _MOST:
            break
    if not pairs:
        return []
    (old, new), *more = pairs.items()
    words = f"{old!r} in the source looks like {new!r} in the target"
    words += "".join(f", {old!r} like {new!r}" for old, new in more)
    return [Hint(words, {"rename": pairs}, source)]


def _nearest(name: str, others: Iterable[str], cutoff: float, left: int) -> tuple[str, int]:
    """The name that is most alike, "" if none is alike enough, and how much may still be compared.

    The common beginning and end of two names are not compared again. In real names, little is left.
    """
    best, found = cutoff, ""
    for other in others:
        start = shared(name, other)
        end = shared(reversed(name[start:]), reversed(other[start:]))
        ours, theirs = name[start : len(name) - end], other[start : len(other) - end]
        matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
        total, unlike = len(name) + len(other), len(ours) + len(theirs)
        needed = (best * total - 2 * (start + end)) / max(1, unlike)  # of the rest
        if matcher.real_quick_ratio() < needed or matcher.quick_ratio() < needed:
            continue
        left -= len(ours) * len(theirs) * min(len(ours), len(theirs))  # difflib's worst case
        if left < 0:
            return found, 0
        ratio = (2 * (start + end) + matcher.ratio() * unlike) / total
        if ratio > best or (ratio == best and not found):
            best, found = ratio, other
    return found, left
