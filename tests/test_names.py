"""initreg.names: names as they are compared, and patterns of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.errors import RuleError
from initreg.names import NO_PATTERNS, Patterns, as_read, natural, normalise, separator


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


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["vars/10", "vars/2", "vars"], ["vars", "vars/2", "vars/10"]),
        (["a/b", "a b", "a"], ["a", "a/b", "a b"]),
        (["w9", "w09", "w10", "w010"], ["w09", "w9", "w010", "w10"]),
        (["2", "10", "x", "1" * 5000], ["2", "10", "1" * 5000, "x"]),
        (["layer_2.10.w", "layer_2.9.w"], ["layer_2.9.w", "layer_2.10.w"]),
        (["dense10", "dense", "dense2", "dense_1"], ["dense", "dense2", "dense10", "dense_1"]),
    ],
)
def test_natural_order(names, expected):
    """Numbers by their value, however long, and a name before those that it begins."""
    assert sorted(names, key=natural) == expected


@pytest.mark.parametrize(
    ("names", "is_by_name"),
    [
        (["a/1", "a/10", "a/2"], True),
        (["a.b/x", "a/x"], True),  # whole names
        (["a/x", "a.b/x", "b"], True),  # part by part, as HDF5 has them
        (["a-b", "a", "a/c"], True),  # keys of a checkpoint, whose ends are not shown
        (["conv1", "bias", "dense"], False),
        ([], True),
    ],
)
def test_the_order_of_a_file(names, is_by_name):
    """One that is sorted by names says nothing and becomes natural. Any other is kept."""
    assert as_read(names) == (sorted(names, key=natural) if is_by_name else names)


def test_what_separates_parts():
    """A slash, if any name has one."""
    assert (separator(["a.b", "c"]), separator(["a.b", "c/d"]), separator([])) == (".", "/", ".")
