"""initreg.plan.tried: which hints are shown, of those that were tried."""

from initreg.plan.rows import Hint
from initreg.plan.tried import Tried, agreeing, contradict


def tried(words, pairs, **options):
    return Tried(Hint(words, {"prefix": words}, "source"), pairs, **options)


def words(*each):
    return [hint.words for hint in agreeing(each)]


def test_a_part_of_what_another_hint_restores_is_not_shown():
    """Nor is the same in another spelling. The one with fewer steps is kept."""
    whole = tried("whole", {"a": "x", "b": "y"})
    part = tried("part", {"a": "x"})
    assert words(part, whole) == ["whole"]
    assert words(tried("long", {"a": "x", "b": "y"}, steps=2), whole) == ["whole"]


def test_hints_for_different_variables_are_both_shown():
    """The one that restores more comes first."""
    assert words(tried("one", {"c": "z"}), tried("two", {"a": "x", "b": "y"})) == ["two", "one"]


def test_readings_that_fit_equally_have_no_code():
    """All of them are in the words of one hint, with their options. What does less is left out."""
    one = tried("one", {"a": "x", "b": "y"})
    two = tried("two", {"a": "y", "b": "x"})
    less = tried("less", {"c": "z"})
    (hint,) = agreeing([one, two, less])
    assert hint.words == (
        "several readings fit as well, and nothing says which one is meant: "
        "one (prefix='one'); or two (prefix='two')"
    )
    assert hint.code == ""
    (hint,) = agreeing([tried(f"p{i}", {"a": f"x{i}"}) for i in range(6)])
    assert hint.words.endswith("; or p3 (prefix='p3'), and 2 more")


def test_a_reading_that_does_less_and_contradicts_is_not_shown():
    """Three blocks of three fit better than one block that may be any of them."""
    best = tried("best", {"a": "x", "b": "y"})
    assert words(best, tried("other", {"b": "x"})) == ["best"]


def test_automatic_names_come_last():
    """What they say is not believed if another hint contradicts it, even if they match more."""
    doubtful = tried("by name", {"a": "y", "b": "x"}, is_doubtful=True)
    assert words(doubtful, tried("best", {"a": "x"})) == ["best"]
    assert words(doubtful) == ["by name"]


def test_what_contradicts():
    """Another array for a variable, or another variable for an array."""
    assert contradict({"a": "x"}, {"a": "y"})
    assert contradict({"a": "x"}, {"b": "x"})
    assert not contradict({"a": "x"}, {"a": "x", "b": "y"})


def test_no_hints():
    """Of none, none are shown."""
    assert agreeing([]) == []
