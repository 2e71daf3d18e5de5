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


# A line is a tuple of positions, each a token or the set of tokens that may stand there.
_Line = tuple[str | frozenset[str], ...]


def fold(names: Iterable[str]) -> list[Folded]:
    """Fold the names into lines that stand for exactly them. Repeated names count once."""
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    by_length: dict[int, list[_Line]] = {}
    for name in order:
        tokens = tuple(_TOKEN.findall(name))
        by_length.setdefault(len(tokens), []).append(tokens)
    found: list[tuple[int, Folded]] = []
    for group in by_length.values():
        for line in _merge(group):
            names_of_line = _names(line)
            first = min(order[name] for name in names_of_line)
            found.append((first, Folded("".join(map(_brace, line)), len(names_of_line))))
    return [folded for _, folded in sorted(found, key=lambda item: item[0])]


def _merge(lines: list[_Line]) -> list[_Line]:
    """Merge lines that differ in one position only, until none do."""
    positions = range(len(lines[0]))
    before = -1
    while len(lines) != before:
        before = len(lines)
        for position in positions:
            groups: dict[tuple[object, ...], list[_Line]] = {}
            for line in lines:
                # Numbers fold with numbers and words with words; separators do not fold.
                key = (_kind(line[position]), *line[:position], *line[position + 1 :])
                groups.setdefault(key, []).append(line)
            if len(groups) < len(lines):
                lines = [_union(group, position) for group in groups.values()]
    return lines


def _kind(tokens: str | frozenset[str]) -> str:
    token = tokens if isinstance(tokens, str) else next(iter(tokens))
    return "number" if token.isdecimal() else token if token in "/.:" else "word"


def _union(lines: list[_Line], position: int) -> _Line:
    first = lines[0]
    if len(lines) == 1:
        return first
    tokens: set[str] = set()
    for line in lines:
        token = line[position]
        tokens |= {token} if isinstance(token, str) else token
    return (*first[:position], frozenset(tokens), *first[position + 1 :])


def _names(line: _Line) -> list[str]:
    if all(isinstance(tokens, str) for tokens in line):
        return ["".join(line)]  # type: ignore[arg-type]
    return list(map("".join, itertools.product(*([t] if isinstance(t, str) else t for t in line))))


def _brace(tokens: str | frozenset[str]) -> str:
    if isinstance(tokens, str):
        return _escape(tokens)
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
