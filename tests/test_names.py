"""initreg.names: names as they are compared, and patterns of them."""

import pytest

from initreg.errors import RuleError
from initreg.names import NO_PATTERNS, Patterns, normalise


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a", "a"),
        ("a:0", "a"),
        ("a:1", "a:1"),
        ("a/.ATTRIBUTES/VARIABLE_VALUE", "a"),
        ("a/.ATTRIBUTES/VARIABLE_VALUE:0", "a"),
        ("a/.ATTRIBUTES/OBJECT_CONFIG_JSON", "a/.ATTRIBUTES/OBJECT_CONFIG_JSON"),
        ("A/:0/b", "A/:0/b"),
    ],
)
def test_normalise(given, name):
    """One ':0' and one attribute suffix are dropped from the end, nothing else."""
    assert normalise(given) == name


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("head/*", "head/kernel", True),
        ("head/*", "head/a/b", True),
        ("head/*", "my/head/kernel", False),
        ("*/kernel", "a/b/kernel", True),
        ("*/kernel", "kernel", False),
        ("layer_?/w", "layer_1/w", True),
        ("layer_?/w", "layer_11/w", False),
        ("layer_[12]/w", "layer_2/w", True),
        ("blocks[0]/w", "blocks[0]/w", True),
        ("w:0", "w", True),
        ("W", "w", False),
        ("a.b", "axb", False),
    ],
)
def test_globs(glob, name, matches):
    """'*' goes over '/', case counts, and a name always matches itself."""
    assert Patterns(glob, "drop").hits(name) == ([glob] if matches else [])


def test_hits_are_all_globs_that_match_any_name_in_their_order():
    """Any name of an array can match, and the globs come back in their order."""
    patterns = Patterns(["*", "b", "a*", "c"], "drop")
    assert patterns.hits("a/1", "b") == ["*", "b", "a*"]
    assert list(patterns) == ["*", "b", "a*", "c"]
    assert patterns.clause("a*") == "drop='a*'"


def test_no_patterns_match_nothing():
    """None, () and NO_PATTERNS are false and hit nothing, not even an empty name."""
    for patterns in (NO_PATTERNS, Patterns(None, "drop"), Patterns((), "drop")):
        assert not patterns
        assert patterns.hits("", "a") == []


@pytest.mark.parametrize("given", [3, ["a", 3], [["a"]], iter([3])])
def test_what_is_no_pattern_is_an_error(given):
    """Anything but strings is refused, with the option's name."""
    with pytest.raises(RuleError, match=r"drop=.*give a name or a glob"):
        Patterns(given, "drop")
