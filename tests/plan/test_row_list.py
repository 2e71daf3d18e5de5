"""The list of a plan's rows, which are made when they are looked at."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from initreg.names import Patterns
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.plan import Plan
from initreg.plan.row import Kind, Row
from initreg.plan.row_list import RowList
from initreg.records import replace
from initreg.specs import ArraySpec, PartSpec, VariableSpec

PARTS = (PartSpec((0,), (1,)), PartSpec((1,), (1,)))
VARIABLE = VariableSpec("v:0", (2,), "float32", parts=PARTS)
ARRAY = ArraySpec("a", (2,), "float64", origin="b", made_of=("b",), changes=("cut",))
GIVEN = Row(Kind.MATCHED, "given", (), "int8", 0, "given", (), "int8", called="other")


@pytest.fixture
def rows() -> RowList:
    made = RowList()
    made.add(Kind.CAST, "v", VARIABLE, ARRAY, 1)
    made.add(Kind.ONLY_IN_TARGET, "v", VARIABLE, None, None)
    made.add_arrays(Kind.ONLY_IN_SOURCE, [ARRAY], 2)
    made.add_row(GIVEN)
    return made


def test_a_row_says_what_its_specs_say(rows: RowList) -> None:
    """The fields of each side are those of its spec, and None if there is no such side."""
    boxes = (((0,), (1,)), ((1,), (1,)))
    source = {"array": "b", "array_shape": (2,), "array_dtype": "float64"}
    source |= {"changes": ("cut",), "made_of": ("b",)}
    assert [*rows] == [
        Row(Kind.CAST, "v", (2,), "float32", 1, **source, parts=boxes),
        Row(Kind.ONLY_IN_TARGET, "v", (2,), "float32", parts=boxes),
        Row(Kind.ONLY_IN_SOURCE, "a", source=2, **source),
        GIVEN,
    ]
    assert (rows[0].kind, rows[-1], rows[1:3]) == (Kind.CAST, GIVEN, tuple([*rows][1:3]))
    with pytest.raises(IndexError):
        rows[4]


def test_a_marked_row_has_another_kind_and_a_reason(rows: RowList) -> None:
    """Whether a row was given or not, marking it changes its kind and its reason, and no more."""
    before = [*rows]
    for index in (2, 3):
        rows.mark(index, Kind.SLOT, "of v")
    marked = [replace(row, kind=Kind.SLOT, reason="of v") for row in before[2:]]
    assert [*rows] == [*before[:2], *marked]
    assert rows.indices((Kind.SLOT,)) == [2, 3]


def test_a_copy_with_other_rows_leaves_the_first_as_it_was(rows: RowList) -> None:
    """``with_rows`` replaces rows in a copy. Their kinds and names are found in it."""
    before = [*rows]
    other = replace(before[0], kind=Kind.DROPPED, name="new", doubt="?")
    changed = rows.with_rows({0: other})
    assert [*changed] == [other, *before[1:]]
    assert [*rows] == before
    assert (changed.indices((Kind.DROPPED,)), changed.names[0]) == ([0], "new")
    assert changed.saying_more(frozenset(Kind)) == [other, GIVEN]


def test_copies_have_equal_rows(rows: RowList) -> None:
    """Copies and pickles of the list have equal rows."""
    for copied in (copy.copy(rows), copy.deepcopy(rows), pickle.loads(pickle.dumps(rows))):
        assert [*copied] == [*rows]


def test_a_plan_is_the_same_whether_its_rows_were_looked_at_or_not() -> None:
    """Rows that are made twice are equal, and so are all that a plan says of them."""
    arrays = [ArraySpec(f"a/{i}", (i % 3 + 1,), "float32") for i in range(130)]
    slots = [ArraySpec("a/3/Adam", (1,), "float32")]
    variables = [VariableSpec(f"a/{i}", (2,), "float64") for i in range(20, 140)]
    sources = [
        SourceSpecs("one", arrays, True),
        SourceSpecs("two", arrays[:30] + slots, True, expected=Patterns("a/2", "expect_unused")),
    ]
    plan = match(sources, variables, "t", slots=lambda names, of: {"a/3/Adam": "a/3"})
    given = Plan(plan.rows, plan.sources, "t", unmet=plan.unmet)
    assert isinstance(plan.rows, tuple)
    assert plan.rows == (*plan,) == given.rows
    assert len({*plan.rows, *given}) == len(set(given.rows))
    assert plan.counts == given.counts
    overridden = [row.name for row in plan.of("overridden")]
    assert overridden == ["a/22", "a/25", "a/28"]  # the others do not fit
    assert str(plan) == str(given)
    assert plan.to_json() == json.dumps(plan.to_dict(), ensure_ascii=False) == given.to_json()
    assert json.loads(plan.to_json(indent=1)) == json.loads(plan.to_json())
    assert plan.variable_names == {f"a/{i}" for i in range(20, 140)}
    assert pickle.loads(pickle.dumps(plan)).to_dict() == plan.to_dict()
