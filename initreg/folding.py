"""Long lists of names in few lines, without losing one.

``layer_{0..11}/{query,key}/kernel`` stands for exactly 24 names: a range has no holes, and a
product of two braces only appears where every combination is there. :func:`expand` is the inverse.
A backslash before ``{``, ``}``, ``,`` or ``\\`` stands for that character itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOKEN = re.compile(r"\d+|[/.:]|[^/.:\d]+")
_SPECIAL = re.compile(r"([{},\\])")


@dataclass(frozen=True, slots=True)
class Folded:
    """One line: its text, and how many names it stands for."""

    text: str
    count: int


def fold(names: Iterable[str]) -> list[Folded]:
    """Fold the names into lines that stand for exactly them. Repeated names count once."""
    # A line is a tuple of positions, each the set of tokens that may stand there.
    by_length: dict[int, list[tuple[frozenset[str], ...]]] = {}
    order: dict[str, int] = {}
    for name in names:
        if name not in order:
            order[name] = len(order)
            tokens = tuple(frozenset((token,)) for token in _TOKEN.findall(name))
            by_length.setdefault(len(tokens), []).append(tokens)
    lines = [line for group in by_length.values() for line in _merge(group)]
    first = {line: min(map(order.__getitem__, _names(line)), default=0) for line in lines}
    return [Folded(_text(line), _count(line)) for line in sorted(lines, key=first.__getitem__)]


def _merge(lines: list[tuple[frozenset[str], ...]]) -> list[tuple[frozenset[str], ...]]:
    """Merge lines that differ in one position only, until none do."""
    positions = range(len(lines[0]))
    changed = True
    while changed:
        changed = False
        for position in positions:
            groups: dict[tuple[frozenset[str], ...], list[tuple[frozenset[str], ...]]] = {}
            for line in lines:
                key = (*line[:position], *line[position + 1 :])
                groups.setdefault(key, []).append(line)
            if len(groups) == len(lines):
                continue
            merged = []
            for key, group in groups.items():
                for alike in _alike(group, position):
                    union = frozenset().union(*(line[position] for line in alike))
                    merged.append((*key[:position], union, *key[position:]))
            if len(merged) < len(lines):
                lines, changed = merged, True
    return lines


def _alike(
    group: list[tuple[frozenset[str], ...]], position: int
) -> list[list[tuple[frozenset[str], ...]]]:
    """Numbers fold with numbers and words with words; separators do not fold."""
    kinds: dict[str, list[tuple[frozenset[str], ...]]] = {}
    for line in group:
        token = next(iter(line[position]))
        kind = "number" if token.isdecimal() else token if token in "/.:" else "word"
        kinds.setdefault(kind, []).append(line)
    return list(kinds.values())


def _names(line: tuple[frozenset[str], ...]) -> Iterable[str]:
    return map("".join, itertools.product(*line))


def _count(line: tuple[frozenset[str], ...]) -> int:
    count = 1
    for tokens in line:
        count *= len(tokens)
    return count


def _text(line: tuple[frozenset[str], ...]) -> str:
    return "".join(map(_brace, line))


def _brace(tokens: frozenset[str]) -> str:
    if len(tokens) == 1:
        return _escape(next(iter(tokens)))
    if all(token.isascii() and token.isdecimal() for token in tokens):
        return "{" + ",".join(_ranges(tokens)) + "}"
    return "{" + ",".join(map(_escape, sorted(tokens))) + "}"


def _escape(token: str) -> str:
    return _SPECIAL.sub(r"\\\1", token)


def _ranges(tokens: Iterable[str]) -> list[str]:
    """``0, 1, 2, 5`` as ``0..2, 5``, and ``08, 09, 10`` as ``08..10``."""
    runs: list[list[str]] = []
    for token in sorted(tokens, key=lambda token: (int(token), len(token))):
        run = runs[-1] if runs else None
        if run is not None and token == str(int(run[-1]) + 1).zfill(_padding(run[0])):
            run.append(token)
        else:
            runs.append([token])
    return [text for run in runs for text in ([f"{run[0]}..{run[-1]}"] if len(run) > 2 else run)]


def _padding(token: str) -> int:
    """The width that zeros pad the number to; 0 if it is not padded."""
    return len(token) if token[0] == "0" and len(token) > 1 else 0


def expand(text: str) -> list[str]:
    """Every name that a folded line stands for.

    >>> expand("layer_{0..2}/{b,w}")
    ['layer_0/b', 'layer_0/w', 'layer_1/b', 'layer_1/w', 'layer_2/b', 'layer_2/w']
    """
    positions: list[list[str]] = []
    for brace, plain in re.findall(r"\{((?:[^{}\\]|\\.)*)\}|((?:[^{}\\]|\\.)+)", text):
        if plain:
            positions.append([_unescape(plain)])
        else:
            parts = re.findall(r"(?:[^,\\]|\\.)+", brace)
            positions.append([token for part in parts for token in _expand_part(part)])
    return list(map("".join, itertools.product(*positions)))


def _expand_part(part: str) -> list[str]:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", part, re.ASCII)
    if match is None:
        return [_unescape(part)]
    first, last = match.groups()
    width = _padding(first)
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
