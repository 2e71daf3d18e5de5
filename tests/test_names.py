"""initreg.names: names as they are compared, and patterns of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("a:0:0", "a:0:0"),
        ("a:0/.ATTRIBUTES/VARIABLE_VALUE", "a:0:0"),
        ("a:0/.ATTRIBUTES/VARIABLE_VALUE:0", "a:0:0"),
        ("a:0:0:0", "a:0:0:0"),
        (
            "a/.ATTRIBUTES/VARIABLE_VALUE/.ATTRIBUTES/VARIABLE_VALUE",
            "a/.ATTRIBUTES/VARIABLE_VALUE/.ATTRIBUTES/VARIABLE_VALUE",
        ),
        (":0", ""),
        ("", ""),
    ],
)
def test_normalise(given, name):
    """One ':0' and one attribute suffix are dropped from the end, nothing else. A name that would
    end in one even then is another name, and keeps it, however often it is normalised."""
    assert normalise(given) == name
    assert normalise(name) == name


@given(st.lists(st.sampled_from(["a", ":0", "/.ATTRIBUTES/VARIABLE_VALUE", "0"]), max_size=6))
def test_names_are_equal_if_they_are_after_one_normalisation(parts):
    """What is dropped once makes two names equal, and what would be dropped twice does not."""
    name = "".join(parts)
    once = name.removesuffix(":0").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    assert normalise(normalise(name)) == normalise(name)
    assert (normalise(name) == normalise(once)) == (
        once == once.removesuffix(":0").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    )


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
