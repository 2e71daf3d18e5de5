"""initreg.plan.terminal: a plan on a terminal, with rich."""

import builtins
import io
import re

import pytest
from rich.console import Console

import initreg
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.specs import ArraySpec, VariableSpec


def plan_of(*names):
    arrays = [ArraySpec(name, (2,), "float32") for name in names]
    variables = [VariableSpec(name, (2,), "float32") for name in ("w0", "w1", "new")]
    return match([SourceSpecs("<b>.npz", arrays)], variables, "t")


def printed(plan):
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(plan)
    return out.getvalue()


def test_rich_prints_a_table():
    """rich.print(plan) shows the heading, and a row for each line of names."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in printed(plan_of("w0", "w1")).splitlines()]
    assert rows == [
        ["<b>.npz -> t: 2 of 3 variables restored"],
        ["names", "n", "what"],
        ["restored as in the source", "2"],
        ["w{0,1}", "2", "(2,) float32"],
        ["only in the target, left unchanged", "1"],
        ["new", "(2,) float32"],
    ]


def test_names_of_strangers_are_no_markup_of_rich():
    """[red] in a name is part of the name."""
    assert "[red]x" in printed(plan_of("w0", "[red]x"))


def test_without_rich_the_error_says_how_to_get_it(monkeypatch):
    """Nothing else of the plan needs it."""
    real = builtins.__import__

    def without(name, *args):
        if name.split(".")[0] == "rich":
            raise ImportError(name)
        return real(name, *args)

    plan = plan_of("w0")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(initreg.MissingLibrary, match=r"pip install 'initreg\[rich\]'"):
        plan.__rich__()
    assert "1 of 3 variables restored" in str(plan)
