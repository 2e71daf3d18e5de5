"""initreg.plan.plan: the rows, as a sequence, a dict and JSON."""

import json

import pytest

from initreg.errors import MismatchError, NothingMatched
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.plan import Plan
from initreg.plan.rows import Hint, Kind, Policy
from initreg.specs import ArraySpec, VariableSpec


@pytest.fixture
def plan():
    sources = [
        SourceSpecs("base.npz", [ArraySpec("w", (2,), "float64"), ArraySpec("é", (), "int8")]),
        SourceSpecs("dict of 1", [ArraySpec("b", (1, 3), "float64")]),
    ]
    variables = [
        VariableSpec("w", (2,), "float32"),
        VariableSpec("b", (3,), "float32"),
        VariableSpec("new", (None, 4), "float32"),
    ]
    return match(sources, variables, "TF1 session")


def test_a_plan_is_a_sequence_of_rows(plan):
    """len, iteration, indexing and filtering by kind all see the same rows."""
    assert len(plan) == 4
    assert list(plan) == [plan[0], plan[1], plan[2], plan[3]]
    assert [row.name for row in plan.of("cast", Kind.RESHAPED)] == ["w", "b"]
    assert [row.name for row in plan.restored] == ["w", "b"]
    assert plan.counts == {"reshaped": 1, "cast": 1, "only in target": 1, "only in source": 1}


def test_a_reshaped_row_may_be_cast_as_well(plan):
    """is_cast is true for every changed dtype, also in reshaped rows."""
    assert [(row.name, row.is_cast) for row in plan.restored] == [("w", True), ("b", True)]


def test_an_unknown_kind_is_an_error(plan):
    """A misspelt kind is an error, not an empty result."""
    with pytest.raises(ValueError, match="mached"):
        plan.of("mached")


def test_the_dict_and_the_json_hold_everything(plan):
    """to_json is to_dict, and every field of every row is in it."""
    found = json.loads(plan.to_json())
    assert found == plan.to_dict()
    assert found["sources"] == ["base.npz", "dict of 1"]
    assert found["target"] == "TF1 session"
    assert found["rows"][0] == {
        "kind": "cast",
        "name": "w",
        "shape": [2],
        "dtype": "float32",
        "source": 0,
        "array": "w",
        "array_shape": [2],
        "array_dtype": "float64",
        "by": None,
        "reason": "",
        "changes": [],
        "expected": False,
        "called": "",
        "doubt": "",
        "remedy": "",
        "made_of": [],
        "parts": [],
    }
    assert found["rows"][2]["shape"] == [None, 4]
    assert "é" in plan.to_json()


def test_repr_is_one_line_and_str_is_the_report(plan):
    """repr counts the kinds, and print lists the names."""
    counts = "1 reshaped, 1 cast, 1 only in target, 1 only in source"
    assert repr(plan) == f"<Plan for TF1 session: {counts}>"
    assert str(plan).startswith(
        "base.npz + dict of 1 -> TF1 session: 2 of 3 variables will be restored\n"
    )
    assert repr(Plan((), (), "x")) == "<Plan for x: nothing to do>"


def test_a_plan_is_not_said_to_be_restored_before_it_is(plan):
    """The heading says what will be restored, and what was once it is carried out."""
    done = plan.done()
    assert str(done).startswith("base.npz + dict of 1 -> TF1 session: 2 of 3 variables restored\n")
    assert (done.carried_out, plan.carried_out, list(done) == list(plan)) == (True, False, True)
    assert done.to_dict() == plan.to_dict()


def test_a_plan_that_fails_says_so_first():
    """The verdict is in the heading, the repr and the dict, and nothing is said to be restored."""
    arrays = [ArraySpec("w", (2,), "int8"), ArraySpec("v", (2,), "int8")]
    variables = [VariableSpec("w", (2,), "int8"), VariableSpec("v", (3,), "int8")]
    plan = match([SourceSpecs("s", arrays)], variables, "t")
    why = "cannot be carried out: 1 array does not fit; nothing is written"
    assert str(plan).splitlines()[0] == f"s -> t: {why}"
    assert repr(plan) == f"<Plan for t: {why} (1 matched, 1 mismatched)>"
    assert plan.to_dict()["verdict"] == "1 array does not fit"
    assert "restored" not in str(plan) + plan._repr_html_()
    nothing = match([SourceSpecs("s", arrays)], [VariableSpec("x", (), "int8")], "t")
    why = "cannot be carried out: no array has the name of a variable; nothing is written"
    assert str(nothing).splitlines()[0] == f"s -> t: {why}"
    missing = match(
        [SourceSpecs("s", arrays)],
        [*variables[:1], VariableSpec("x", (), "int8")],
        "t",
        on_missing=Policy.ERROR,
    )
    assert repr(missing).startswith(
        "<Plan for t: cannot be carried out: 1 variable is supplied by no source, which "
        "on_missing='error' does not allow; nothing is written ("
    )


def test_a_plan_knows_whether_it_can_be_carried_out(plan):
    """ok, verdict and error agree, and to_dict says it."""
    assert plan.ok
    assert (plan.verdict, plan.error(), plan.to_dict()["ok"]) == ("", None, True)
    wrong = match(
        [SourceSpecs("s", [ArraySpec("w", (2,), "int8"), ArraySpec("x", (), "int8")])],
        [VariableSpec("w", (3,), "int8"), VariableSpec("y", (), "int8")],
        "t",
        on_missing=Policy.ERROR,
    )
    assert not wrong.ok
    assert wrong.verdict == (
        "1 array does not fit; "
        "1 variable is supplied by no source, which on_missing='error' does not allow"
    )
    assert isinstance(wrong.error(), MismatchError)
    assert wrong.error().plan is wrong
    assert [len(rows) for rows in wrong.faults] == [1, 1, 0]


def test_a_plan_without_sources_is_ok_and_one_that_matches_nothing_is_not():
    """A plan without sources is ok; a plan with sources that match nothing is not."""
    assert Plan((), (), "t").ok
    nothing = match([SourceSpecs("s", [ArraySpec("w", (), "int8")])], [], "t")
    assert nothing.matches_nothing
    assert isinstance(nothing.error(), NothingMatched)
    assert nothing.verdict == "no array in s has the name of a variable in t"


def test_the_policies_choose_what_is_told(plan):
    """missing() and unused() give the rows for the policy in force, without expected ones."""
    assert [row.name for row in plan.missing("warn")] == ["new"]
    assert plan.missing("error") == ()
    assert [row.name for row in plan.unused(Policy.WARN)] == ["é"]
    with pytest.raises(ValueError, match="eror"):
        plan.missing("eror")


def test_hints_are_part_of_the_plan(plan):
    """Hints are in the text, the dict and the JSON, with the code to type."""
    hint = Hint("2 of 2 names match after removing 'm/'", {"strip_prefix": "m/"}, '"a.npz"')
    told = plan.with_hints([hint])
    assert told.rows == plan.rows
    assert str(told).endswith(f'  hint: {hint.words}: SmartInit("a.npz", strip_prefix="m/")')
    assert json.loads(told.to_json())["hints"] == [
        {
            "words": hint.words,
            "options": {"strip_prefix": "m/"},
            "code": 'SmartInit("a.npz", strip_prefix="m/")',
        }
    ]


def test_nothing_on_either_side_is_carried_out():
    """The file of a model without weights restores 0 of 0 variables. Anything else is an error."""
    plan = match([SourceSpecs("s", [])], [], "t")
    assert plan.ok
    assert str(plan) == "s -> t: 0 of 0 variables will be restored"
    assert plan.error() is None
    assert not match([SourceSpecs("s", [ArraySpec("w", (2,), "float32")])], [], "t").ok
    assert not match([SourceSpecs("s", [])], [VariableSpec("w", (2,), "float32")], "t").ok
