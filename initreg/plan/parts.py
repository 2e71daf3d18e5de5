"""Parts of names that hints take away or put in, and words that never stand for each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain

Pair = tuple[str, str]  # a regex and its replacement, as rename= takes them

_SEPARATOR = re.compile(r"[/.]")
_TRIED = 4  # of each sort
_LONGEST_RUN = 4  # parts that are taken away together
_MOST_WORDS = 4  # parts of different places that are taken away together


def substitution(pairs: Sequence[Pair]) -> Callable[[str], str]:
    """What ``rename=`` does with these pairs, one after the other."""
    compiled = [(re.compile(regex), new) for regex, new in pairs]

    def apply(name: str) -> str:
        for regex, new in compiled:
            name = regex.sub(new, name)
        return name

    return apply


# --- parts that are taken away or put in ----------------------------------------------------------


def removals(have: Sequence[str], want: Collection[str]) -> Iterator[tuple[str, list[Pair]]]:
    """Renamings that take away a suffix, or parts in the middle, however often they occur.

    Args:
        have: names, or a sample of them.
        want: all names that are wanted.

    Returns:
        Each renaming in words, with its pairs.
    """
    suffixes = _trailing(have, want)
    for suffix, _ in suffixes.most_common(_TRIED):
        yield f"removing {suffix!r}", [(f"{re.escape(suffix)}$", "")]
    for run, _ in _inner(have, want).most_common(_TRIED):
        yield f"removing {run!r}", [_taking(run)]
    words = _unknown(have, want)
    if 1 < len(words) <= _MOST_WORDS:
        yield f"removing {_listed(words)}", list(map(_taking, words))


def insertions(want: Sequence[str], have: Collection[str]) -> Iterator[tuple[str, list[Pair]]]:
    """Renamings that add a suffix, or put parts into the middle of a name behind another part.

    Args:
        want: names that are wanted, or a sample of them.
        have: all names of the source.

    Returns:
        Each renaming in words, with its pairs.
    """
    for suffix, _ in _trailing(want, have).most_common(_TRIED):
        yield f"adding {suffix!r} at the end", [(r"\Z", _plain(suffix))]
    counts: Counter[tuple[str, str]] = Counter()
    for name in want:
        pieces = _pieces(name)
        for start, end in _runs(pieces):
            before = pieces[start - 1]
            if _shortened(pieces, start, end) in have and not before[:-1].isdecimal():
                counts[before, "".join(pieces[start:end])] += 1
    for (before, run), count in counts.most_common(_TRIED):
        if count > 1:
            regex = f"(?<![^/.]){re.escape(before)}"
            yield f"adding {run!r} after {before!r}", [(regex, _plain(before + run))]


def _plain(replacement: str) -> str:
    return replacement.replace("\\", "\\\\")


def _listed(words: Sequence[str]) -> str:
    *first, last = map(repr, words)
    return f"{', '.join(first)} and {last}"


def _taking(run: str) -> Pair:
    """The pair that takes parts away wherever they are, given with the separator behind them."""
    return f"(?<![^/.]){re.escape(run)}", ""


def _trailing(longer: Iterable[str], shorter: Collection[str]) -> Counter[str]:
    """The suffixes that turn names of ``longer`` into names of ``shorter`` if they are removed."""
    return Counter(
        name[at.start() :]
        for name in longer
        for at in _SEPARATOR.finditer(name)
        if name[: at.start()] in shorter
    )


def _pieces(name: str) -> list[str]:
    """The parts of a name, each with the separator behind it."""
    ends = [at.end() for at in _SEPARATOR.finditer(name)]
    return [name[a:b] for a, b in zip([0, *ends], [*ends, len(name)], strict=True)]


def _runs(pieces: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where parts in the middle of a name begin and end: neither its first part nor its last."""
    for start in range(1, len(pieces) - 1):
        for end in range(start + 1, min(start + _LONGEST_RUN, len(pieces) - 1) + 1):
            yield start, end


def _shortened(pieces: Sequence[str], start: int, end: int) -> str:
    return "".join((*pieces[:start], *pieces[end:]))


def _inner(have: Iterable[str], want: Collection[str]) -> Counter[str]:
    """The parts that turn names into wanted ones if they are removed, and how often each does.

    A part that occurs several times in a name is removed everywhere.
    """
    counts: Counter[str] = Counter()
    for name in have:
        pieces = _pieces(name)
        found = {
            "".join(pieces[start:end])
            for start, end in _runs(pieces)
            if _shortened(pieces, start, end) in want
        }
        found |= {
            piece
            for piece, count in Counter(pieces[:-1]).items()
            if count > 1 and "".join(each for each in pieces if each != piece) in want
        }
        counts.update(run for run in found if not run[:-1].isdecimal())
    return counts


def _unknown(have: Iterable[str], want: Collection[str]) -> list[str]:
    """The parts that no wanted name has, if names become wanted ones without all of them.

    Wrappers add such parts: ``module.``, ``_orig_mod.`` and ``_fsdp_wrapped_module.``.
    """
    known = set(chain.from_iterable(map(_SEPARATOR.split, want)))
    words: Counter[str] = Counter()
    for name in have:
        pieces = _pieces(name)
        left = [each for each in pieces[:-1] if each[:-1] in known]
        if len(left) < len(pieces) - 1 and "".join((*left, pieces[-1])) in want:
            words.update({each for each in pieces[:-1] if each[:-1] not in known})
    return sorted(words, key=lambda word: (-words[word], word))


def differ_by_numbers(one: str, other: str) -> bool:
    """Whether two names differ by their numbers alone, as those of two layers of one model do.

    >>> differ_by_numbers("layer_1/w", "layer_12/w"), differ_by_numbers("dense/w", "dense_1/w")
    (True, True)
    """
    return re.sub(r"_?\d+", "", one) == re.sub(r"_?\d+", "", other)


def has_other_number(one: str, other: str) -> bool:
    """Whether two names, or two of their parts at one position, differ by their numbers alone.

    >>> has_other_number("encoder/dense_12/kernel", "other/dense_16/kernel")
    True
    """
    ours, theirs = _SEPARATOR.split(one), _SEPARATOR.split(other)
    if len(ours) != len(theirs):
        return differ_by_numbers(one, other)
    return any(a != b and differ_by_numbers(a, b) for a, b in zip(ours, theirs, strict=True))


def families(swaps: Counter[tuple[str, str]]) -> Iterator[tuple[str, list[Pair]]]:
    """Renamings of parts that a number may follow: ``block``, ``block_1``, ``block_2``.

    Args:
        swaps: the parts that one renaming replaces by another, and how many names it helps.

    Returns:
        Each renaming in words, with its pairs. The last one is all of them in one, if there are
        several.
    """
    counts: Counter[tuple[str, str]] = Counter()
    numbered = set()
    for (old, new), count in swaps.items():
        (stem, number), (other, theirs) = _stem(old), _stem(new)
        if number == theirs and stem != other:
            counts[stem, other] += count
            if number:
                numbered.add((stem, other))
    if not numbered:
        return
    for stem, other in [swap for swap, _ in counts.most_common() if swap in numbered][:_TRIED]:
        yield f"replacing {stem!r} by {other!r}, also with numbers", [_of_family(stem, other)]
    best: dict[str, str] = {}
    for (stem, other), _ in counts.most_common():
        if stem not in best and other not in best.values():
            best[stem] = other
    if 1 < len(best) <= _MOST_WORDS:
        how = " and ".join(f"{old!r} by {new!r}" for old, new in best.items())
        yield f"replacing {how}, also with numbers", [_of_family(*pair) for pair in best.items()]


def _stem(part: str) -> tuple[str, str]:
    """A part without its number, and the number: ``block_2`` is ``block`` and ``_2``."""
    found = re.search(r"_\d+\Z", part)
    return (part[: found.start()], found[0]) if found is not None else (part, "")


def _of_family(old: str, new: str) -> Pair:
    return rf"(?<![^/.]){re.escape(old)}(?=(_\d+)?(?:[/.]|$))", _plain(new)


# --- words that never stand for each other --------------------------------------------------------

# Each line has words for different things of one kind. Words of different columns are opposites.
_OPPOSITES = (
    ("kernel weight weights w", "bias b"),
    ("gamma", "beta", "mean", "variance var"),
    ("query q", "key k", "value v"),
    ("encoder", "decoder"),
    ("forward fwd", "backward bwd"),
    ("left", "right"),
    ("actor", "critic"),
    ("generator", "discriminator"),
    ("depthwise", "pointwise"),
    ("input in", "output out", "recurrent"),
)
_COLUMN = {
    word: (line, column)
    for line, columns in enumerate(_OPPOSITES)
    for column, words in enumerate(columns)
    for word in words.split()
}


def are_opposites(one: str, other: str) -> bool:
    """Whether two names differ by words for different things, such as ``gamma`` and ``beta``.

    >>> are_opposites("bn/gamma", "bn/beta")
    True
    """
    ours, theirs = (set(re.findall(r"[^\W_]+", name.lower())) for name in (one, other))
    for word in ours - theirs:
        line, column = _COLUMN.get(word, (None, None))
        for opposite in theirs - ours:
            if _COLUMN.get(opposite, (-1, column))[0] == line and _COLUMN[opposite][1] != column:
                return True
    return False
