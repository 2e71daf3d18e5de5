"""initreg.rules.writing: rules as the text of a file, which gives the same rules."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg import RuleError
from initreg.rules.files import read
from initreg.rules.keywords import Rules
from initreg.rules.writing import file_text, spelt, toml_value

RULES: list[dict[str, Any]] = [
    {"drop": "head/*", "prefix": "net/"},
    {"keep": ["a", "b"], "drop": ["c"], "strip_prefix": 'm"/'},
    {"rename": {"a b": "c", "d": "e.f"}},
    {"rename": [(r"\.", "/"), ("'\\.", ""), {"x": "y"}]},
    {"view": {"w": "bfloat16"}, "cast": "float16"},
    {"permute": {"conv*": (2, 3, 1, 0)}, "transpose": ["x", "y"]},
    {"slice": {"x": (0, 1, None), "y": (1, 0, 3)}},
    {"split": {"w": (0, ["a", "b"], [1, 2]), "x": (0, "y{i}", 3)}, "reshape": {"a": (2, -1)}},
    {"unstack": {"w": (0, "a{i}")}, "concat": {"x": (0, ["a1", "a0"], "equal")}},
    {"scale": {"w": 0.5, "*.w": "*.s", "x": ("s", 128)}, "take": {"e": (0, [1, 0])}},
    {"take": {"e": (0, "old.txt", "new.txt", 0.5)}},
    {"stack": {"*/w": (1, "*/{i}/w")}},
    {"pad": {"x": (0, 9), "y": (0, 9, "mean"), "z": (0, 9, -1.5)}},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_what_is_written_is_read(rules: dict[str, Any], tmp_path: Path) -> None:
    """The text gives the clauses of the rules that it was made of."""
    path = tmp_path / "r.toml"
    path.write_text(initreg.rules_text(**rules))
    [step] = read(str(path))
    assert Rules.made_of([initreg_step(step.options)]).clauses == Rules.of(**rules).clauses
    assert initreg.rules_text(rules=path) == path.read_text()


def initreg_step(options: Any) -> Any:
    """A step of keywords, whose clauses have no lines."""
    from initreg.rules.steps import Step

    return Step(options)


def test_it_is_made_to_be_read() -> None:
    """One line for each glob, and a table for each dict."""
    text = initreg.rules_text(
        drop=["a/*", "b/*"], rename={"old name": "new", "x": "y"}, prefix="net/"
    )
    assert text == (
        'drop = [\n    "a/*",\n    "b/*",\n]\nprefix = "net/"\n\n'
        '[rename]\n"old name" = "new"\n"x" = "y"\n'
    )


def test_steps_and_what_undoes_them() -> None:
    """Several steps are [[step]] tables, each with its own [step.inverse]."""
    text = file_text(
        [({"prefix": "a/"}, None), ({"drop": "b"}, {}), ({"drop": "c"}, {"drop": "d"})]
    )
    assert tomllib.loads(text) == {
        "step": [
            {"prefix": "a/"},
            {"drop": "b", "inverse": {}},
            {"drop": "c", "inverse": {"drop": "d"}},
        ]
    }


@pytest.mark.parametrize("rename", [str.lower, [("a", str.lower)], (re.compile("a", re.I), "b")])
def test_what_a_file_cannot_say(rename: Any) -> None:
    """A function, or a regex with flags, is an error that names the rule."""
    with pytest.raises(RuleError, match=r"rename=.*: a rule file cannot say this: "):
        initreg.rules_text(rename=rename)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_written(text: str) -> None:
    """Quotes, backslashes, control characters: TOML reads the same text back, as value and key."""
    assert tomllib.loads(f"x = {toml_value({text: text})}") == {"x": {text: text}}


def test_a_message_can_show_what_a_file_cannot_say() -> None:
    """A function is shown as Python shows it."""
    assert spelt({"drop": ..., "rename": len}) == f"drop, rename = {len!r}"
