"""initreg.plan.not_needed: variables that need no array, and arrays that no variable needs."""

import pytest

from initreg.names import Patterns
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.not_needed import mark_not_needed, mark_unneeded
from initreg.plan.rows import Kind, Policy
from initreg.specs import ArraySpec, VariableSpec

WHY = "set to zero by its layer"
KERNEL = VariableSpec("dense/kernel", (2,), "float32")
FACTOR = VariableSpec(
    "dense/lora:0",
    (2,),
    "float32",
    not_needed=WHY,
    not_needed_with=("dense/kernel:0", "dense/other"),
)
STATE = VariableSpec("rnn/state", (2,), "float32", not_needed="files lack it")


def plan_for(*names, expect_missing=(), shape=(2,)):
    variables = [KERNEL, FACTOR, STATE]
    source = SourceSpecs("a.npz", [ArraySpec(name, shape, "float32") for name in names])
    patterns = Patterns(expect_missing, "expect_missing")
    plan = match([source], variables, "model", on_missing=Policy.ERROR, expect_missing=patterns)
    return mark_not_needed(plan, variables)


def kinds(plan):
    return {row.name: row.kind for row in plan}


def test_it_is_not_missing_if_another_one_is_restored():
    """With the kernel, the factor and the state are not missing, and the plan says why."""
    plan = plan_for("dense/kernel")
    assert kinds(plan) == {
        "dense/kernel": Kind.MATCHED,
        "dense/lora": Kind.NOT_NEEDED,
        "rnn/state": Kind.NOT_NEEDED,
    }
    assert plan.ok
    assert plan.missing("error") == ()
    assert [row.reason for row in plan.of("not needed")] == [WHY, "files lack it"]
    assert "no array is needed\n    dense/lora  (2,) float32, set to zero by its layer" in str(plan)


def test_it_is_missing_otherwise():
    """Without the kernel, the factor is as missing as the kernel. The state never is."""
    plan = plan_for("rnn/state")
    assert [row.name for row in plan.missing("error")] == ["dense/kernel", "dense/lora"]
    assert kinds(plan)["rnn/state"] is Kind.MATCHED


def test_an_array_for_it_is_restored():
    """A source that has it supplies it, like any variable."""
    plan = plan_for("dense/kernel", "dense/lora")
    assert [row.name for row in plan.restored] == ["dense/kernel", "dense/lora"]


def test_a_mismatched_array_for_it_is_a_fault():
    """An array that does not fit fails the plan, as it does for any variable."""
    plan = plan_for("dense/lora", "dense/kernel", shape=(3,))
    assert [row.name for row in plan.of("mismatched")] == ["dense/kernel", "dense/lora"]


def test_what_the_user_expects_stays_as_expected():
    """expect_missing= comes first: the row says which pattern allows it."""
    plan = plan_for("dense/kernel", expect_missing="dense/l*")
    (row,) = plan.of("only in target")
    assert row.expected
    assert row.reason == "expect_missing='dense/l*'"


@pytest.mark.parametrize("variables", [[], [KERNEL]])
def test_a_plan_without_such_variables_is_the_same(variables):
    """Nothing is copied or changed for ordinary targets."""
    source = SourceSpecs("a.npz", [ArraySpec("dense/kernel", (2,), "float32")])
    plan = match([source], variables, "model")
    assert mark_not_needed(plan, variables) is plan


WORDS = VariableSpec(
    "words/vocabulary",
    (None,),
    "string",
    not_needed="layer 'words' keeps its own",
    kept_with=("dense/kernel:0",),
    remedy="Call adapt()",
)


@pytest.mark.parametrize(
    ("names", "expected", "kind"),
    [
        (["dense/kernel"], (), Kind.KEPT),
        (["other/kernel"], (), Kind.NOT_NEEDED),  # nothing of its model is restored
        (["dense/kernel"], "words/*", Kind.ONLY_IN_TARGET),
    ],
)
def test_a_value_that_may_be_wrong(names, expected, kind):
    """It has a kind of its own if a variable that it goes with is restored, with what to do."""
    variables = [KERNEL, VariableSpec("other/kernel", (2,), "float32"), WORDS]
    source = SourceSpecs("a.npz", [ArraySpec(name, (2,), "float32") for name in names])
    patterns = Patterns(expected, "expect_missing")
    plan = mark_not_needed(match([source], variables, "m", expect_missing=patterns), variables)
    (row,) = (each for each in plan if each.name == "words/vocabulary")
    assert (row.kind, row.remedy) == (kind, "Call adapt()" if kind is Kind.KEPT else "")
    if kind is Kind.KEPT:
        assert plan.ok
        assert "maybe wrong now\n    words/vocabulary  (?,) string, layer 'words' keeps" in str(
            plan
        )


def unneeded(*names, variables=(KERNEL,), expected=()):
    """A plan for a source with the copies ``z/0`` of ``a/0``, and a metric."""
    source = SourceSpecs(
        "a.npz",
        [
            ArraySpec(name, (2,), "float32", () if n else ("dense/kernel",))
            for n, name in enumerate(names)
        ],
        expected=Patterns(expected, "expect_unused"),
    )
    return mark_unneeded(match([source], variables, "m"), [{"mean": "a metric"}], [{"z/0": "a/0"}])


@pytest.mark.parametrize("names", [("a/0", "z/0"), ("z/0", "a/0")])
def test_one_of_two_copies_is_enough(names):
    """Whichever is restored, the other one is not reported."""
    plan = unneeded(*names, "mean")
    assert [row.array for row in plan.restored] == [names[0]]
    assert plan.unused("warn") == ()
    assert {row.name: row.reason for row in plan.of("not needed")} == {
        names[1]: f"a copy of {names[0]!r}",
        "mean": "a metric",
    }
    assert "2 only in the source, and not needed\n" in str(plan)
    assert "mean  (2,) float32, a metric" in str(plan)


def test_two_copies_of_which_none_is_used():
    """They are reported once."""
    plan = unneeded("x", "a/0", "z/0")
    assert [row.name for row in plan.unused("warn")] == ["a/0"]


def test_an_array_that_a_variable_takes_is_needed():
    """A target that has the metric gets it, and what the user expects stays as expected."""
    plan = unneeded("mean", "x", variables=[VariableSpec("mean", (2,), "float32")], expected="x")
    assert [row.name for row in plan.restored] == ["mean"]
    assert [(row.name, row.expected) for row in plan.of("only in source")] == [("x", True)]


def test_a_plan_without_such_arrays_is_the_same():
    """Nothing is copied for ordinary sources."""
    source = SourceSpecs("a.npz", [ArraySpec("dense/kernel", (2,), "float32")])
    plan = match([source], [KERNEL], "model")
    assert mark_unneeded(plan, [{}], [{}]) is plan
