"""initreg.plan.second_copies: a variable that its model has at two places."""

from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.second_copies import mark_second_copies, without_copy
from initreg.specs import ArraySpec, VariableSpec


def array(name, places, shape=(2,)):
    return ArraySpec(name, shape, "float32", places=places)


TIED = VariableSpec("w", (2,), "float32", places=("a/0", "b/1"))
OTHER = VariableSpec("v", (2,), "float32", places=("c/2",))


def marked(arrays, variables):
    plan = match([SourceSpecs("f", arrays)], variables, "m")
    return mark_second_copies(plan, [arrays], variables)


def test_a_copy_is_not_needed():
    """A copy at another place of a restored variable says which array is restored."""
    plan, copies = marked([array("a/0", ("a/0",)), array("b/1", ("b/1",))], [TIED])
    (row,) = plan.of("not needed")
    assert (row.name, row.reason) == ("b/1", "the same variable as 'a/0'")
    (copy,) = copies
    (row,) = without_copy(plan, copy).of("only in source")
    assert "not equal to 'a/0'" in row.reason
    assert "b/1  (2,) float32, not equal to 'a/0'" in str(without_copy(plan, copy))


def test_what_is_no_copy():
    """An array of another shape, at a place of no variable or of two, is reported."""
    others = [
        array("b/1", ("b/1",), (3,)),
        array("x/3", ("x/3",)),
        array("y", ("b/1", "c/2")),
    ]
    for other in others:
        plan, copies = marked([array("a/0", ("a/0",)), other], [TIED, OTHER])
        assert copies == []
        assert [row.name for row in plan.of("only in source")] == [other.name]
