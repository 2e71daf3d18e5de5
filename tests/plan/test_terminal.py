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
        ["<b>.npz -> t: 2 of 3 variables will be restored"],
        ["names", "n", "what"],
        ["matched", "2"],
        ["w{0,1}", "2", "(2,) float32"],
        ["only in the target, not restored", "1"],
        ["new", "(2,) float32"],
    ]


def test_a_plan_that_fails_says_so_first_on_a_terminal():
    """The heading is the verdict, in red."""
    arrays = [ArraySpec("w", (2,), "float32")]
    plan = match([SourceSpecs("s", arrays)], [VariableSpec("w", (3,), "float32")], "t")
    heading = "s -> t: cannot be carried out: 1 array does not fit; nothing is written"
    assert printed(plan).splitlines()[0].strip() == heading
    out = io.StringIO()
    Console(file=out, width=100, color_system="standard", force_terminal=True).print(plan)
    assert f"\x1b[1;31m{heading}" in out.getvalue()


def test_the_way_of_naming_is_on_the_terminal():
    """It says by which names the arrays were matched, and why, as the text does."""
    arrays = [ArraySpec("layers/a/w", (2,), "float32", places=("layers/a/w",))]
    variables = [
        VariableSpec("a_1/w", (2,), "float32", ("layers/a/w",), ("layers/a/w",), ("a_1/w",))
    ]
    plan = match([SourceSpecs("m.weights.h5", arrays)], variables, "t")
    lines = [line.strip() for line in printed(plan).splitlines()]
    assert lines[1] == "matched by place: names are automatic"


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
    assert "1 of 3 variables will be restored" in str(plan)
