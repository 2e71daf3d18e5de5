"""initreg.rules.renaming: rename, prefix and strip_prefix."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.errors import RuleError
from initreg.rules.options import Rules
from initreg.specs import ArraySpec


def names_after(names, **rules):
    specs = [ArraySpec(name, (), "int8") for name in names]
    return [entry.spec.name for entry in Rules.of(**rules).apply(specs, "m.npz").entries]


@pytest.mark.parametrize(
    ("rename", "after"),
    [
        ({"a/w": "x"}, ["x", "b/w", "s"]),
        ({"a/w": "b/w", "b/w": "a/w"}, ["b/w", "a/w", "s"]),
        ({"a/w:0": "x:0"}, ["x", "b/w", "s"]),
        ([(r"^(\w)/w$", r"layer_\1/kernel")], ["layer_a/kernel", "layer_b/kernel", "s"]),
        ((r"/w$", "/kernel"), ["a/kernel", "b/kernel", "s"]),
        ([("w", "v"), ("v", "u"), {"s": "t"}], ["a/u", "b/u", "t"]),
        ([(re.compile("A", re.IGNORECASE), "x")], ["x/w", "b/w", "s"]),
        ([("[ab]", lambda match: match[0].upper())], ["A/w", "B/w", "s"]),
        (str.upper, ["A/W", "B/W", "S"]),
        ([str.upper, ("W", "V")], ["A/V", "B/V", "S"]),
    ],
)
def test_rename(rename, after):
    """Exact names are renamed at once; regexes and functions are applied one after the other."""
    assert names_after(["a/w", "b/w", "s"], rename=rename) == after


def test_prefix_and_strip_prefix():
    """prefix= is put before every name; strip_prefix= is removed from the names that have it."""
    assert names_after(["m/a", "b"], strip_prefix="m/") == ["a", "b"]
    assert names_after(["a", "b"], prefix="m/") == ["m/a", "m/b"]
    assert names_after(["m/a", "b"], strip_prefix="m/", prefix="n/") == ["n/a", "n/b"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"rename": {"a": "b"}},
            "rename={'a': 'b'} gives two arrays the same name: 'a' and 'b' would both be called",
        ),
        (
            {"rename": [("a|b", "x")]},
            "rename=('a|b', 'x') gives two arrays the same name: 'a' and 'b'",
        ),
        ({"rename": lambda name: "x"}, "rename=<lambda> gives two arrays the same name"),
        ({"strip_prefix": "m/"}, "strip_prefix='m/' gives two arrays the same name: 'a' and 'm/a'"),
        ({"rename": {"a": ""}}, "rename={'a': ''} makes the name 'a' empty"),
        ({"rename": [("a", r"\1")]}, r"rename=('a', '\\1'): '\\1' is not a valid replacement"),
        ({"rename": lambda name: None}, "returned None for the name 'a'. It must return a str"),
        ({"rename": lambda name: name[9]}, "rename=<lambda> failed for the name 'a': IndexError"),
    ],
)
def test_a_renaming_that_cannot_be_is_an_error_that_names_the_rule(rules, message):
    """Equal names, an empty name and a failing function are errors that name source and rule."""
    with pytest.raises(RuleError) as caught:
        names_after(["a", "b", "m/a"], **rules)
    assert str(caught.value).startswith("m.npz: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "rename", [3, "ab", {"a": 3}, {3: "a"}, [("a",)], [("a", "b", "c")], [3], [("a", 3)]], ids=str
)
def test_what_is_no_renaming_is_an_error(rename):
    """The error for a wrong type says what can be given."""
    with pytest.raises(RuleError, match="give a dict of names, \\(regex, replacement\\) pairs"):
        Rules.of(rename=rename)


def test_a_bad_regular_expression_is_an_error():
    """The error shows the regex and what is wrong with it."""
    with pytest.raises(RuleError, match=r"'\(' is not a valid regex: missing \)"):
        Rules.of(rename=[("(", "x")])


def renamed(spec, **rules):
    (entry,) = Rules.of(**rules).apply([spec], "s").entries
    return entry.spec.name, entry.spec.aliases, entry.spec.origin


def test_aliases_are_renamed_too():
    """A rename applies to each name of an array, and its origin is kept."""
    spec = ArraySpec("m/key", (), "int8", ("m/full", "m/other"))
    assert renamed(spec, strip_prefix="m/") == ("key", ("full", "other"), "m/key")
    assert renamed(spec, prefix="x/") == ("x/m/key", ("x/m/full", "x/m/other"), "m/key")


def test_a_renamed_array_goes_by_its_new_names_alone():
    """If a name of an array is renamed, the array loses its other names."""
    spec = ArraySpec("key", (), "int8", ("full", "m/place"))
    assert renamed(spec, rename={"full": "x"}) == ("x", (), "key")
    assert renamed(spec, strip_prefix="m/") == ("place", (), "key")
    assert renamed(spec, rename={"key": "full"}) == ("full", (), "key")
    outcome = Rules.of(rename={"full": "x"}).apply([spec], "s")
    assert outcome.touched == {"rename={'full': 'x'}"}


@given(st.sets(st.text("ab/", min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_a_renaming_keeps_every_array_apart_or_is_an_error(names, data):
    """For any dict, each array gets the name that was asked for, or it is a RuleError."""
    names = sorted(names)
    keys = data.draw(st.lists(st.sampled_from(names), unique=True))
    new = {key: data.draw(st.text("ab/", min_size=1, max_size=3)) for key in keys}
    expected = [new.get(name, name) for name in names]
    if len(set(expected)) == len(names):
        assert names_after(names, rename=new) == expected
    else:
        with pytest.raises(RuleError, match="gives two arrays the same name"):
            names_after(names, rename=new)
