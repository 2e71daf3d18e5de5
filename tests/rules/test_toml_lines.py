"""initreg.rules.toml_lines: the line of each part of a TOML document."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from initreg.rules.toml_lines import lines_of

DOCUMENT = '''\
# a comment with "quotes" and [brackets]
keep = ["a", "b#", # here
  'c]', """d
e""",
  "f\\"]"]
top . "x.y" = { p = [1, 2], q = 'z' } # }
date = 1979-05-27 07:32:00
many = \'\'\'
[step]
\'\'\'

[[step]] # the first
rename."old name" = "new"
[step.permute]
"conv*/kernel" = [2, 3,
  1, 0]

[[step]]
    cast = true
[[step.deep]]
n = -1.5
[[step.deep]]
n = +inf
[ step . "last one" ]
k = "\\u0061"'''

LINES = {
    ("keep",): 2,
    ("keep", 0): 2,
    ("keep", 1): 2,
    ("keep", 2): 3,
    ("keep", 3): 3,
    ("keep", 4): 5,
    ("top", "x.y", "p", 1): 6,
    ("top", "x.y", "q"): 6,
    ("date",): 7,
    ("many",): 8,
    ("step", 0): 12,
    ("step", 0, "rename", "old name"): 13,
    ("step", 0, "permute"): 14,
    ("step", 0, "permute", "conv*/kernel"): 15,
    ("step", 0, "permute", "conv*/kernel", 2): 16,
    ("step", 1): 18,
    ("step", 1, "cast"): 19,
    ("step", 1, "deep", 0, "n"): 21,
    ("step", 1, "deep", 1): 22,
    ("step", 1, "deep", 1, "n"): 23,
    ("step", 1, "last one", "k"): 25,
}


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all keys and elements of a document, as tomllib reads it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*at, key)
        if isinstance(each, dict | list):
            yield from paths(each, (*at, key))


@pytest.mark.parametrize("path", LINES, ids=str)
def test_the_line_is_the_one_that_an_editor_shows(path: tuple[str | int, ...]) -> None:
    """Counted from 1, whatever strings and comments come before it."""
    assert lines_of(DOCUMENT)[path] == LINES[path]


def test_every_part_has_a_line() -> None:
    """Each key and element that tomllib finds, and none that it does not find."""
    found = lines_of(DOCUMENT)
    assert set(paths(tomllib.loads(DOCUMENT))) == set(found)


def test_an_empty_document_has_no_lines() -> None:
    """Nor has one of comments alone."""
    assert lines_of("") == lines_of("# nothing\n\n") == {}
