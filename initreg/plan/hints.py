"""Hints: why few names match, and what to type instead. Only asked for in that case."""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg import dtypes
from initreg.names import Patterns, normalise
from initreg.plan.rows import Hint, Kind, Row
from initreg.specs import ArraySpec, VariableSpec
from initreg.wording import plural, shared

_MOST = 3
_TRIED = 4  # renamings of each sort whose matches are counted among all names
# Limits for hostile names. Renamings are looked for in names of at most so many characters and
# parts, in a sample of so many names. Similar names are looked for among names of at most so many
# characters, among so many names, until so many characters were compared.
_LONGEST, _MOST_PARTS, _POOL = 512, 32, 1000
_NEAR_LONGEST, _NEAR_POOL, _NEAR_COMPARED = 256, 200, 200_000_000
_SEPARATOR = re.compile(r"[/.]")
_Options = Mapping[str, Any]

# PyTorch stores the axes of a kernel as (out, in, *window), and TensorFlow as (*window, in, out).
_PERMUTATIONS = ((2, 3, 1, 0), (2, 3, 4, 1, 0), (3, 2, 0, 1), (4, 3, 0, 1, 2))


@dataclass(frozen=True, slots=True)
class _Renaming:
    """A renaming that may help: in words, as options, and in how many steps."""

    words: str
    options: _Options
    steps: int = 1


def renamings(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    source: str = "source",
    label: str = "",
) -> list[Hint]:
    """Look for renamings that make more names match. Takes n log n in the number of names.

    Args:
        arrays: the arrays of one source.
        variables: the variables of the target.
        source: the code that names the source, for the hint.
        label: what to call the source if there are others, else "".

    Returns:
        At most three hints, the most helpful one first. If no renaming helps, there may be a hint
        about names that look alike.
    """
    have = [array.name for array in arrays]
    want = {normalise(n): v.shape for v in variables for n in (v.name, *v.aliases)}
    if not have:
        return [Hint(f"the source {label} holds no arrays".replace("  ", " "), {}, source)]
    if not want:
        return [Hint("the target has no variables: create them before restoring", {}, source)]
    now = sum(name in want for name in have)
    enough = max(1, min(len(have), len(variables)) // 10)  # a few of ten thousand match by chance
    found: dict[str, tuple[int, _Renaming]] = {}
    for renaming, new in _renamings(have, want):
        shapes = [(a.shape, want[n]) for a, n in zip(arrays, new, strict=True) if n in want]
        hits = len(shapes)
        # Names may match by chance. Shapes with the same axes, in whatever order, rarely do.
        alike = sum(one == other or _axes(one) == _axes(other) for one, other in shapes)
        if hits - now >= enough and 2 * alike >= hits and len(set(new)) == len(new):
            found[renaming.words] = hits, renaming
    best = max((hits for hits, _ in found.values()), default=0)
    # A renaming in two steps is shown only if no single step does as much.
    simple = max((hits for hits, each in found.values() if each.steps == 1), default=0)
    of = f" of {label}" if label else ""
    shown = [
        Hint(f"{hits:,} of {len(have):,} names{of} match after {each.words}", each.options, source)
        for hits, each in sorted(found.values(), key=lambda item: (-item[0], item[1].steps))
        if hits * 4 >= best and (each.steps == 1 or hits > simple)
    ]
    return (shown or nearest(arrays, variables, source))[:_MOST]


def _renamings(
    have: Sequence[str], want: Collection[str]
) -> Iterator[tuple[_Renaming, Sequence[str]]]:
    """The renamings that may help, in one step or two, each with the names that it gives."""
    spellings: list[tuple[str, list[tuple[str, str]], Sequence[str]]] = [("", [], have)]
    for old, new in ((".", "/"), ("/", ".")):
        if any(old in name for name in have):
            pair = (re.escape(old), new)
            names: Sequence[str] = [name.replace(old, new) for name in have]
            spellings.append((f"replacing {old!r} by {new!r}", [pair], names))
    for words, pairs, names in spellings:
        also, steps = (f"{words} and ", 2) if words else ("", 1)
        if words:
            yield _Renaming(words, {"rename": pairs}), names
        for prefix in _best(_leading(_pool(names), want)):
            option: _Options = {"strip_prefix": prefix}
            if pairs:
                option = {"rename": [*pairs, (f"^{re.escape(prefix)}", "")]}
            shorter = [name.removeprefix(prefix) for name in names]
            yield _Renaming(f"{also}removing {prefix!r}", option, steps), shorter
        for prefix in _best(_leading(_pool(want), set(names))):
            option = {"rename": pairs, "prefix": prefix} if pairs else {"prefix": prefix}
            longer = [prefix + name for name in names]
            yield _Renaming(f"{also}adding {prefix!r}", option, steps), longer
        for swap in _best(_swapped(_pool(names), want)):
            old, new, how = _regex(*swap)
            option = {"rename": [*pairs, (old, new)]}
            swapped = [re.sub(old, new, name) for name in names]
            yield _Renaming(f"{also}{how}", option, steps), swapped


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
                if other != part and not (part.isdecimal() or other.isdecimal()):
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
    for array in arrays[:_NEAR_POOL]:
        if len(array.name) <= _NEAR_LONGEST:
            by_shape.setdefault(array.shape, []).append(array.name)
    pairs: dict[str, str] = {}
    left = _NEAR_COMPARED
    for variable in variables[:20]:
        name = normalise(variable.name)
        if len(name) > _NEAR_LONGEST:
            continue
        near, left = _nearest(name, by_shape.get(variable.shape, ()), cutoff, left)
        # Names that differ by their numbers alone are two layers of one model.
        if near and near not in pairs and re.sub(r"\d+", "", near) != re.sub(r"\d+", "", name):
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


def transposes(rows: Sequence[tuple[Row, str]], source: str = "source") -> list[Hint]:
    """Look for orders of axes in which mismatched arrays would fit.

    Args:
        rows: all rows of one source, each with the name of its array after the rules.
        source: the code that names the source, for the hint.
    """
    found: dict[tuple[int, ...] | None, list[str]] = {}
    for row, name in rows:
        if row.kind not in (Kind.MISMATCHED, Kind.PASSED_OVER) or not dtypes.can_cast(
            row.array_dtype or "", row.dtype or ""
        ):
            continue
        axes = _permutation(row)
        if row.is_transpose or axes is not None:
            found.setdefault(axes, []).append(name)
    hints = []
    for axes, names in found.items():
        globs = _globs(names, [name for _, name in rows])
        arrays = plural(len(names), "array")
        if axes is None:
            options: _Options = {"transpose": globs}
            hints.append(Hint(f"{arrays} would fit transposed", options, source))
        else:
            options = {"permute": dict.fromkeys(globs, axes)}
            words = f"{arrays} would fit with the axes in the order {axes}, as if from PyTorch"
            hints.append(Hint(words, options, source))
    return hints


def _permutation(row: Row) -> tuple[int, ...] | None:
    """The order of axes in which a kernel of PyTorch fits, None if there is none or if a plain
    transposition is enough."""
    shape = row.array_shape or ()
    for axes in () if row.is_transpose else _PERMUTATIONS:
        if len(axes) == len(shape) and tuple(shape[axis] for axis in axes) == row.shape:
            return axes
    return None


def _globs(wanted: Sequence[str], others: Sequence[str]) -> list[str]:
    """The wanted names, or one glob if it matches exactly these among all names."""
    globs = {f"*{name[name.rfind('/') :]}" for name in wanted if "/" in name}
    if len(wanted) > 3 and len(globs) == 1:
        pattern, chosen = Patterns(globs, "transpose"), set(wanted)
        if {name for name in others if pattern.hits(name)} == chosen:
            return list(globs)
    return list(wanted)
