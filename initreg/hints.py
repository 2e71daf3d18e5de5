"""Why nothing matched, and what to type instead. Pure; asked only when a restore has failed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from initreg.arrays import ArraySpec, normalise
from initreg.target import VariableSpec

_MOST = 3
_NEAR_POOL = 2_000  # names that the nearest ones are sought among: comparing is quadratic


def hints(arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]) -> list[str]:
    """At most three sentences, the most helpful first; empty if nothing is known to help."""
    have = [array.name for array in arrays]
    want = [normalise(variable.name) for variable in variables]
    if not have:
        return ["the source holds no arrays"]
    if not want:
        return ["the target has no variables: create them before restoring"]
    found = _renaming(have, want)
    if not found:
        found = _nearest(have, want)
    return found[:_MOST]


def _renaming(have: Sequence[str], want: Sequence[str]) -> list[str]:
    """One renaming of all names that makes many of them match."""
    wanted = set(want)
    found: list[tuple[int, str]] = []
    for prefix, _ in _prefixes(have).most_common(8):
        hits = sum(n[len(prefix) :] in wanted for n in have if n.startswith(prefix))
        code = f"{{n.removeprefix({prefix!r}): a for n, a in initreg.load(source).items()}}"
        found.append((hits, f"after removing {prefix!r} from the source's: SmartInit({code})"))
    stripped = set(have)
    for prefix, _ in _prefixes(want).most_common(8):
        hits = sum(n[len(prefix) :] in stripped for n in want if n.startswith(prefix))
        code = f"{{{prefix!r} + n: a for n, a in initreg.load(source).items()}}"
        found.append((hits, f"after adding {prefix!r} to the source's: SmartInit({code})"))
    for old, new in (("/", "."), (".", "/")):
        hits = sum(name.replace(old, new) in wanted for name in have if old in name)
        code = f"{{n.replace({old!r}, {new!r}): a for n, a in initreg.load(source).items()}}"
        found.append((hits, f"after replacing {old!r} by {new!r}: SmartInit({code})"))
    found.sort(key=lambda item: -item[0])
    return [
        f"{hits:,} of {len(have):,} names match {how}" for hits, how in found if hits > 0
    ]


def _prefixes(names: Sequence[str]) -> Counter[str]:
    """Every leading part of the names that ends in a separator, with how many names it starts."""
    counts: Counter[str] = Counter()
    for name in names:
        for i, character in enumerate(name):
            if character in "/.":
                counts[name[: i + 1]] += 1
    # The longest of those that start equally many names says most.
    longest: dict[tuple[int, str], str] = {}
    for prefix, count in counts.items():
        key = (count, prefix.split("/", 1)[0].split(".", 1)[0])
        if len(prefix) > len(longest.get(key, "")):
            longest[key] = prefix
    return Counter({p: counts[p] for p in counts if p in set(longest.values()) or p.count("/") < 2})


def _nearest(have: Sequence[str], want: Sequence[str]) -> list[str]:
    """Names that look alike: up to three pairs of them."""
    pairs = []
    for name in want[:20]:
        near = difflib.get_close_matches(name, have[:_NEAR_POOL], n=1, cutoff=0.7)
        if near:
            pairs.append(f"{near[0]!r} in the source is like {name!r} in the target")
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
