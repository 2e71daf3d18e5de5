"""Long lists of names in few lines, without losing one.

``layer_{0..11}/{query,key}/kernel`` stands for exactly 24 names. A range has no gaps, and two
braces appear in one line only if every combination exists. :func:`expand` is the inverse of
:func:`fold`. A backslash before ``{``, ``}``, ``,`` or ``\\`` stands for that character itself.
A backslash before a letter is an escape for a character that would move the cursor, change colours
or look like another line.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from initreg.errors import printable
from initreg.records import record

_TOKEN = re.compile(r"\d+|[/.:]|[^/.:\d]+")
# Two spaces in a row, or one at an end, would look like the gap between a name and its note.
_SPECIAL = re.compile(r"([{},\\]| (?= )|(?<= ) )")
# Limits for hostile names. A name that is longer, or has more tokens, gets a line of its own.
# Merging stops after so many comparisons of tokens; real lists need a hundredth of them.
_LONGEST, _MOST_TOKENS, _COMPARED = 512, 64, 10_000_000
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt]|.)", re.DOTALL)


@record()
class Folded:
    """One line of folded names.

    Args:
        text: the line, which :func:`expand` takes.
        count: how many names it stands for.
    """

    text: str
    count: int


# A line is a tuple of positions. Each has a token, or the set of tokens that can be there.
_Line = tuple[str | frozenset[str], ...]


def fold(names: Iterable[str], width: int | None = None) -> list[Folded]:
    """Fold names into lines that stand for exactly these names.

    Words in braces are in the order in which they first occur. A name of more than 512 characters
    or 64 tokens gets a line of its own. In very long lists, other names may do so too.

    Args:
        names: the names. Repeated ones count once.
        width: a line of more characters is split if it has a brace to split.

    >>> [line.text for line in fold(["a/w", "a/b", "b/w", "b/b"])]
    ['{a,b}/{w,b}']
    """
    return list(lines(names, width))


def lines(names: Iterable[str], width: int | None = None) -> Iterator[Folded]:
    """The lines of :func:`fold`, made one by one, so that showing a few costs little."""
    by_length: dict[int, dict[_Line, int]] = {}
    found: list[tuple[int, _Line, Sequence[dict[Any, int]]]] = []
    for first, name in enumerate(dict.fromkeys(names)):
        tokens = tuple(_TOKEN.findall(name)) if len(name) <= _LONGEST else ()
        if name and not 0 < len(tokens) <= _MOST_TOKENS:
            found.append((first, (name,), ({},)))
        else:
            by_length.setdefault(len(tokens), {})[tokens] = first
    left = _COMPARED
    for group in by_length.values():
        ranks: list[dict[Any, int]] = [
            {token: i for i, token in enumerate(dict.fromkeys(column))}
            for column in zip(*group, strict=True)
        ]
        merged, left = _merge(group, [len(rank) > 1 for rank in ranks], left)
        found += ((first, line, ranks) for line, first in merged.items())
    for _, line, columns in sorted(found, key=lambda item: item[0]):
        parts = [_parts(tokens, rank) for tokens, rank in zip(line, columns, strict=True)]
        if parts:
            parts[0] = [(re.sub("^ ", r"\\ ", text), n) for text, n in parts[0]]
            parts[-1] = [(re.sub(r"(?<!\\) $", r"\\ ", text), n) for text, n in parts[-1]]
        yield from _texts(parts, width)


# The content of one position of a line: texts, each with the number of tokens it stands for.
_Parts = list[tuple[str, int]]


def _texts(line: Sequence[_Parts], width: int | None) -> Iterator[Folded]:
    """The line, split into as many as are needed to keep each within the width."""
    text = "".join(map(_brace, line))
    longest = max(range(len(line)), key=lambda i: len(line[i]), default=0)
    if width is None or len(text) <= width or not line or len(line[longest]) == 1:
        count = math.prod(sum(n for _, n in parts) for parts in line)
        yield Folded(text, count)
        return
    parts = line[longest]
    for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
        yield from _texts([*line[:longest], half, *line[longest + 1 :]], width)


def _brace(parts: _Parts) -> str:
    if len(parts) == 1 and parts[0][1] == 1:
        return parts[0][0]
    return "{" + ",".join(text for text, _ in parts) + "}"


def _merge(
    lines: dict[_Line, int], differs: Sequence[bool], left: int
) -> tuple[dict[_Line, int], int]:
    """Merge lines that differ in one position only.

    Args:
        lines: each line, with the index of its first name.
        differs: for each position, whether the lines differ there.
        left: how many more tokens may be compared.

    Returns:
        The merged lines, and how many more tokens may be compared.
    """
    before = -1
    while len(lines) != before:
        before = len(lines)
        for position in itertools.compress(itertools.count(), differs):
            left -= len(lines) * len(differs)
            if left < 0:
                return lines, 0
            groups: dict[tuple[object, ...], list[_Line]] = {}
            for line in lines:
                # Numbers fold with numbers, and words with words. Separators do not fold.
                key = (_kind(line[position]), line[:position], line[position + 1 :])
                groups.setdefault(key, []).append(line)
            if len(groups) < len(lines):
                lines = {
                    _union(group, position): min(map(lines.__getitem__, group))
                    for group in groups.values()
                }
    return lines, left


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


def _parts(tokens: str | frozenset[str], rank: dict[str, int]) -> _Parts:
    if isinstance(tokens, str):
        return [(_escape(tokens), 1)]
    if all(token.isascii() and token.isdecimal() for token in tokens):
        return _ranges(tokens)
    return [(_escape(token), 1) for token in sorted(tokens, key=rank.__getitem__)]


def _escape(token: str) -> str:
    return printable(_SPECIAL.sub(r"\\\1", token))


def _ranges(tokens: Iterable[str]) -> _Parts:
    """Write ``0, 1, 2, 5`` as ``0..2, 5``, and ``08, 09, 10`` as ``08..10``."""
    runs: list[list[str]] = []
    for token in sorted(tokens, key=lambda token: (int(token), len(token))):
        run = runs[-1] if runs else None
        if run is not None and token == str(int(run[-1]) + 1).zfill(_padding(run[0])):
            run.append(token)
        else:
            runs.append([token])
    found: _Parts = []
    for run in runs:
        found += [(f"{run[0]}..{run[-1]}", len(run))] if len(run) > 2 else [(t, 1) for t in run]
    return found


def _padding(token: str) -> int:
    """The width to which zeros pad the number, 0 if it is not padded."""
    return len(token) if token[0] == "0" and len(token) > 1 else 0


def expand(text: str) -> list[str]:
    """Every name that a folded line stands for.

    Args:
        text: a line of :func:`fold`, or of ``plan.to_text(limit=None)``, without its note.

    >>> expand("layer_{0..2}/{b,w}")
    ['layer_0/b', 'layer_0/w', 'layer_1/b', 'layer_1/w', 'layer_2/b', 'layer_2/w']
    """
    positions: list[list[str]] = []
    for brace, plain in re.findall(r"\{((?:[^{}\\]|\\.)*)\}|((?:[^{}\\]|\\.)+)", text, re.DOTALL):
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
    return _ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)
