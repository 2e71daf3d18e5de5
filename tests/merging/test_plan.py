"""The plan of a merge: its rows in words, as plain values, and as an error."""

from __future__ import annotations

import json

from initreg.merging.plan import FAULT, KEPT, MERGED, MergePart, MergePlan, MergeRow
from initreg.option_spelling import option, spell

PARTS = (MergePart(0, "w", 1.0, "float32"), MergePart(1, "other/w", 2.0, "float16"))
ROWS = (
    MergeRow(MERGED, "w", (2, 3), "float32", PARTS),
    MergeRow(KEPT, "step", (), "int64", PARTS[:1], "equal in all sources"),
)
BAD = MergeRow(FAULT, "x", (2,), "int8", (), "differs", "Pass " + option("on_conflict", "first"))


def plan(*rows: MergeRow, has_base: bool = False) -> MergePlan:
    return MergePlan("average", "average: weight 1", ("a.npz", "b.npz"), has_base, rows)


def test_the_words() -> None:
    """The sources have numbers, the base is called so, and other names are shown."""
    assert plan(*ROWS).to_text().splitlines() == [
        "average: weight 1",
        "     1  a.npz",
        "     2  b.npz",
        "1 array merged",
        "  w  (2, 3) float32, other/w in b.npz",
        "1 array kept unchanged",
        "  step  () int64: equal in all sources",
    ]
    assert plan(*ROWS, has_base=True).to_text().splitlines()[1:3] == [
        "  base  a.npz",
        "     1  b.npz",
    ]


def test_many_names_are_folded_and_cut() -> None:
    """No name is lost: what is not shown is counted."""
    rows = [MergeRow(MERGED, "x" * i, (i,), "float32") for i in range(1, 31)]
    text = plan(*rows).to_text(limit=5)
    assert "... and 25 names more" in text
    assert len(plan(*rows).to_text(limit=None).splitlines()) == 34


def test_the_error_has_each_remedy_once() -> None:
    """It lists the faults, and then what to do, as it is typed."""
    error = plan(ROWS[0], BAD, BAD).error()
    assert error is not None
    assert error.plan is not None
    assert str(error).count("on_conflict='first'") == 1
    typed = spell(error.args[0], lambda options: " ".join(f"--{name}" for name in options))
    assert "Pass --on_conflict" in typed
    assert plan(*ROWS).error() is None


def test_plain_values() -> None:
    """to_dict is what JSON takes, and a plan is a sequence of its rows."""
    found = plan(*ROWS, BAD)
    assert json.loads(json.dumps(found.to_dict()))["arrays"][0]["parts"][1] == {
        "source": 1,
        "name": "other/w",
        "weight": 2.0,
        "dtype": "float16",
    }
    assert found[1].name == "step"
    assert len(found) == 3
    assert found.of(FAULT) == [BAD]
    assert repr(found) == "MergePlan('average', 2 sources: 1 merged, 1 kept, 1 fault)"
