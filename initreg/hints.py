"""Why nothing matched, and what to type instead. Pure; asked only when a restore has failed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from initreg.arrays import ArraySpec, normalise
from initreg.target import VariableSpec

_MOST = 3
_NEAR_POOL = 1_000  # names that the nearest ones are sought among: comparing them is slow
_SEPARATORS = "/."


def hints(
    arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec], source: str = "source"
) -> list[str]:
    """At most three sentences, the most helpful first; empty if nothing is known to help.

    ``source`` is the code that names the source, for the remedies that the sentences end in.
    """
    have = [array.name for array in arrays]
    want = [normalise(variable.name) for variable in variables]
    if not have:
        return ["the source holds no arrays"]
    if not want:
        return ["the target has no variables: create them before restoring"]
    renamings = sorted(_renamings(have, want), key=lambda found: -found[0])
    best = renamings[0][0] if renamings else 0
    # A renaming in two steps is no better than one of them that does as much.
    simple = max((hits for hits, how, _ in renamings if " and " not in how), default=0)
    renamings = [r for r in renamings if " and " not in r[1] or r[0] > simple]
    shown = [
        f"{hits:,} of {len(have):,} names match after {how}: "
        f"SmartInit({{{code}: a for n, a in initreg.load({source}).items()}})"
        for hits, how, code in renamings
        if hits * 4 >= best
    ]
    return (shown or _nearest(arrays, variables))[:_MOST]


def _renamings(have: Sequence[str], want: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """``(names that match, the renaming in words, its code for a name n)``."""
    spellings: list[tuple[str, str, Callable[[str], str]]] = [("", "n", lambda name: name)]
    for old, new in ((".", "/"), ("/", ".")):
        if any(old in name for name in have):
            code = f"n.replace({old!r}, {new!r})"
            spellings.append((f"replacing {old!r} by {new!r}", code, _replacer(old, new)))
    for words, code, spell in spellings:
        names = [spell(name) for name in have]
        also = f"{words} and " if words else ""
        if words:
            hits = len(set(names) & set(want))
            if hits:
                yield hits, words, code
        removed = _leading(names, want)
        added = _leading(want, names)
        for prefix, hits in removed.most_common(_MOST):
            yield hits, f"{also}removing {prefix!r}", f"{code}.removeprefix({prefix!r})"
        for prefix, hits in added.most_common(_MOST):
            yield hits, f"{also}adding {prefix!r}", f"{prefix!r} + {code}"
        for (old, new), hits in _swapped(names, want).most_common(_MOST):
            how = f"{also}replacing the prefix {old!r} by {new!r}"
            yield hits, how, f"{new!r} + {code}.removeprefix({old!r})"


def _replacer(old: str, new: str) -> Callable[[str], str]:
    return lambda name: name.replace(old, new)


def _leading(longer: Sequence[str], shorter: Sequence[str]) -> Counter[str]:
    """The prefixes that, removed from names of ``longer``, give names of ``shorter``."""
    known = set(shorter)
    return Counter(
        name[: i + 1]
        for name in longer
        for i, character in enumerate(name)
        if character in _SEPARATORS and name[i + 1 :] in known
    )


def _swapped(have: Sequence[str], want: Sequence[str]) -> Counter[tuple[str, str]]:
    """Pairs of first parts, where all that follows the first separator is equal."""
    by_rest: dict[str, list[str]] = {}
    for name in want:
        first, rest = _split(name)
        if first and len(by_rest.setdefault(rest, [])) < 8:
            by_rest[rest].append(first)
    counts: Counter[tuple[str, str]] = Counter()
    for name in have:
        first, rest = _split(name)
        if first:
            counts.update((first, other) for other in by_rest.get(rest, ()) if other != first)
    return counts


def _split(name: str) -> tuple[str, str]:
    at = min((i for i in (name.find(s) for s in _SEPARATORS) if i >= 0), default=-1)
    return name[: at + 1], name[at + 1 :]


def _nearest(arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]) -> list[str]:
    """Names that look alike, of equal shape: up to three pairs of them."""
    by_shape: dict[tuple[int | None, ...] | None, list[str]] = {}
    for array in arrays[:_NEAR_POOL]:
        by_shape.setdefault(array.shape, []).append(array.name)
    pairs = []
    for variable in variables[:20]:
        name = normalise(variable.name)
        near = difflib.get_close_matches(name, by_shape.get(variable.shape, ()), n=1, cutoff=0.7)
        if near:
            pairs.append(f"{near[0]!r} of the source is like {name!r} of the target")
        if len(pairs) == _MOST:
            break
    return pairs


def transposed(array: ArraySpec, variable: VariableSpec) -> bool:
    """Whether the array's shape is the variable's with its axes reversed."""
    return (
        variable.shape is not None
        and len(array.shape) > 1
        and array.shape != variable.shape
        and array.shape[::-1] == variable.shape
    )
