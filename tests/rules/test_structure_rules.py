"""initreg.rules.structure_rules: which arrays are made of which, and errors about them."""

from __future__ import annotations

from typing import Any

import pytest

from initreg.errors import RuleError
from initreg.rules.keywords import Rules
from initreg.rules.rule import Outcome
from initreg.specs import ArraySpec, Place


def applied(shapes: dict[str, Any], **rules: Any) -> Outcome:
    """The outcome of rules for arrays of these shapes."""
    specs = [
        shape if isinstance(shape, ArraySpec) else ArraySpec(name, shape, "float32")
        for name, shape in shapes.items()
    ]
    made = Rules.of(**rules)
    outcome = made.apply(specs, "s")
    made.refuse_untouched(outcome.touched, list(shapes), "s")
    return outcome


def shapes(outcome: Outcome) -> dict[str, tuple[int, ...]]:
    return {entry.spec.name: entry.spec.shape for entry in outcome.entries}


QKV = {"first": (1,), "qkv": (6, 4), "last": (1,)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((0, ["q", "k", "v"]), {"q": (2, 4), "k": (2, 4), "v": (2, 4)}),
        ((-1, ["q", "k"]), {"q": (6, 2), "k": (6, 2)}),
        ((0, ["q", "kv"], [2, 4]), {"q": (2, 4), "kv": (4, 4)}),
        ((0, ["q", "k", "v"], 2), {"q": (2, 4), "k": (2, 4), "v": (2, 4)}),
        ((0, ["q", "k", "v"], "equal"), {"q": (2, 4), "k": (2, 4), "v": (2, 4)}),
        ((0, "w{i}", 3), {"w0": (3, 4), "w1": (3, 4)}),
        ((0, "w{i}", [1, 5]), {"w0": (1, 4), "w1": (5, 4)}),
        ({"axis": 0, "into": ["q", "kv"], "sizes": [2, 4]}, {"q": (2, 4), "kv": (4, 4)}),
    ],
    ids=str,
)
def test_split(value: Any, expected: dict[str, Any]) -> None:
    """Into equal parts, or parts of these sizes, which take the place of the array."""
    assert shapes(applied(QKV, split={"qkv": value})) == {"first": (1,), **expected, "last": (1,)}


@pytest.mark.parametrize(
    ("axis", "parts", "expected"),
    [
        (0, ["a", "b", "c"], {"a": (2, 4), "b": (2, 4), "c": (2, 4)}),
        (1, "w/{i}", {"w/0": (3, 4), "w/1": (3, 4)}),
        (-1, "{i}", {str(i): (3, 2) for i in range(4)}),
    ],
)
def test_unstack(axis: int, parts: Any, expected: dict[str, Any]) -> None:
    """Into one array for each index, without that axis."""
    assert shapes(applied({"w": (3, 2, 4)}, unstack={"w": (axis, parts)})) == expected


def test_concat_and_stack() -> None:
    """The array has the place of its first part, and the order is that of the names in the rule."""
    arrays = {"x": (1,), "b": (3, 4), "a": (2, 4), "y": (1,)}
    assert shapes(applied(arrays, concat={"ab": (0, ["a", "b"])})) == {
        "x": (1,),
        "ab": (5, 4),
        "y": (1,),
    }
    same = {f"layers.{i}.w": (2, 4) for i in (1, 0, 10, *range(2, 10))}
    assert shapes(applied(same, stack={"w": (0, "layers.{i}.w")})) == {"w": (11, 2, 4)}
    assert shapes(applied(same, stack={"w": (-1, "layers.{i}.w")})) == {"w": (2, 4, 11)}
    outcome = applied(same, stack={"w": (1, "layers.{i}.w")})
    assert outcome.entries[0].spec.shape == (2, 11, 4)
    assert outcome.entries[0].spec.made_of == tuple(f"layers.{i}.w" for i in range(11))


def test_stars_stand_for_the_same_text_in_all_names() -> None:
    """One rule is enough for the layers of a model."""
    layers = {f"layer_{i}/qkv/{kind}": (6,) for i in range(3) for kind in ("kernel", "bias")}
    rule = {"*/qkv/*": (0, ["*/q/*", "*/k/*", "*/v/*"])}
    found = shapes(applied(layers, split=rule))
    assert found == {
        f"layer_{i}/{part}/{kind}": (2,)
        for i in range(3)
        for kind in ("kernel", "bias")
        for part in "qkv"
    }
    back = {"*/qkv/*": (0, ["*/q/*", "*/k/*", "*/v/*"])}
    assert shapes(applied(found, concat=back)) == layers
    experts = {f"layers.{i}.experts.{j}.w": (2,) for i in range(2) for j in range(3)}
    rule = {"layers.*.experts.w": (0, "layers.*.experts.{i}.w")}
    assert shapes(applied(experts, stack=rule)) == {
        "layers.0.experts.w": (3, 2),
        "layers.1.experts.w": (3, 2),
    }


def test_an_array_is_meant_by_any_of_its_names() -> None:
    """As for all rules. Its parts have only the names that the rule gives."""
    spec = ArraySpec("key", (4,), "float32", ("full/qk",), places=(Place("key"),))
    [q, k] = applied({"key": spec}, split={"full/qk": (0, ["q", "k"])}).entries
    assert (q.spec.name, q.spec.aliases, q.spec.places) == ("q", (), ())
    assert (q.spec.origin, k.spec.origin) == ("key[0:2]", "key[2:4]")
    assert q.spec.made_of == k.spec.made_of == ("key",)
    assert q.spec.changes == ("split from (4,)",)


def test_they_compose_with_all_other_rules() -> None:
    """Names and shapes of one rule are what the next one sees; the plan has the whole story."""
    outcome = applied(
        {"att.in": (6, 2), "att.x": (1,)},
        drop="att.x",
        rename=[(r"\.", "/")],
        split={"att/in": (0, ["q", "k", "v"])},
        stack={"qk": (0, ["q", "k"])},
        transpose="v",
        reshape={"v": (2, 1, -1), "qk": (-1,)},
        cast={"v": "float16"},
    )
    [qk, v] = outcome.entries
    assert (qk.spec.name, qk.spec.shape) == ("qk", (8,))
    assert (qk.spec.origin, qk.spec.made_of) == ("att.in[0:2] + att.in[2:4]", ("att.in",))
    assert qk.spec.changes == (
        "stacked along axis 0 from att.in[0:2], att.in[2:4] (split from (6, 2))",
        "reshaped from (2, 2, 2)",
    )
    assert (v.spec.shape, v.spec.dtype) == ((2, 1, 2), "float16")
    assert v.spec.changes == (
        "split from (6, 2)",
        "permuted (1, 0) from (2, 2)",
        "reshaped from (2, 2)",
        "cast from float32",
    )


LIKE = {"a": (2, 3), "b": (2, 3), "c": (4, 3), "i": ArraySpec("i", (2, 3), "int32")}


@pytest.mark.parametrize(
    ("arrays", "rules", "said"),
    [
        (QKV, {"split": {"qkv": (2, ["q", "k"])}}, "array 'qkv' of shape (6, 4) has no axis 2"),
        (
            QKV,
            {"split": {"qkv": (1, ["q", "k", "v"])}},
            "has 4 along axis 1, which are not 3 equal parts",
        ),
        (QKV, {"split": {"qkv": (0, ["q", "k"], [2, 3])}}, "has 6 along axis 0, and 2 + 3 are 5"),
        (QKV, {"split": {"qkv": (0, "w{i}", 4)}}, "has 6 along axis 0, and 4 are 4"),
        (QKV, {"split": {"qkv": (0, "w{i}")}}, "into how many parts? Give sizes"),
        (QKV, {"split": {"qvk": (0, ["q", "k"])}}, "matches no array (a rule must match at least"),
        (QKV, {"split": {"qkv": (0, ["q", "first"])}}, "would both be called 'first'"),
        (
            QKV,
            {"split": {"qkv": (0, ["q", "k"]), "q*": (0, ["a*", "b*"])}},
            "are both about the array 'qkv'. Only one of them can take it",
        ),
        (QKV, {"unstack": {"qkv": (1, ["q", "k"])}}, "has 4 along axis 1, and there are 2 names"),
        ({"w": (0, 2)}, {"unstack": {"w": (0, "{i}")}}, "so it has no parts"),
        (LIKE, {"concat": {"x": (0, ["a", "d"])}}, "there is 'a', but no array 'd'"),
        (LIKE, {"stack": {"x": (0, "{i}")}}, "matches no array"),
        ({"1": (2,)}, {"stack": {"x": (0, "{i}")}}, "there is '1', but no array '0'"),
        (
            {"0": (2,), "2": (2,)},
            {"stack": {"x": (0, "{i}")}},
            "there is '0', but no array '1'",
        ),
        (
            LIKE,
            {"stack": {"x": (0, ["a", "c"])}},
            "'a' has the shape (2, 3), and 'c' (4, 3). They must be the same",
        ),
        (
            LIKE,
            {"concat": {"x": (1, ["a", "c"])}},
            "'a' has the shape (2, 3), and 'c' (4, 3). They must be the same but for axis 1",
        ),
        (
            LIKE,
            {"concat": {"x": (0, ["a", "i"])}},
            "'a' is float32, and 'i' is int32. Give them one dtype first, with cast=",
        ),
        (
            LIKE,
            {"concat": {"x": (0, ["a", "c"], [2, 3])}},
            "array 'c' of shape (4, 3) has 4 along axis 0, and not 3",
        ),
        (LIKE, {"concat": {"x": (0, ["a", "c"], "equal")}}, "has 4 along axis 0, and not 2"),
        (LIKE, {"stack": {"x": (3, ["a", "b"])}}, "has no axis 3"),
        (
            LIKE,
            {"stack": {"x": (0, ["a", "b"]), "y": (0, ["b", "a"])}},
            "are both about the array 'b'",
        ),
        (LIKE, {"stack": {"c": (0, ["a", "b"])}}, "would both be called 'c'"),
        (
            {"a/b/b/c": (2,)},
            {"split": {"*/b/*": (0, ["*/x/*", "*/y/*"])}},
            "matches 'a/b/b/c' in several ways: its wildcards may stand for 'a' and 'b/c', or for "
            "'a/b' and 'c'",
        ),
        (
            {"w": ArraySpec("w", (4,), "F4", opaque=2)},
            {"split": {"w": (0, ["a", "b"])}},
            "has the dtype F4, which numpy does not have",
        ),
        (
            {"w": ArraySpec("w", (), "float32", unreadable="bad header")},
            {"split": {"w": (0, ["a", "b"])}},
            "array 'w' cannot be read: bad header",
        ),
        ({"w": (4, 2)}, {"reshape": {"w": (3, -1)}}, "8 elements are not a multiple of 3"),
        ({"w": (4, 2)}, {"reshape": {"w": (3, 3)}}, "8 elements are not 9"),
        ({"w": (4, 2)}, {"reshape": {"w": (-1, -1)}}, "only one axis may be -1"),
        ({"w": (0, 2)}, {"reshape": {"w": (0, -1)}}, "0 elements are not a multiple of 0"),
    ],
)
def test_what_cannot_be_done(arrays: dict[str, Any], rules: dict[str, Any], said: str) -> None:
    """The error has the rule, the array, what was found, and what was expected."""
    with pytest.raises(RuleError) as caught:
        applied(arrays, **rules)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"s: {next(iter(rules))}=")


@pytest.mark.parametrize("option", ["split", "unstack", "concat", "stack"])
@pytest.mark.parametrize(
    "value",
    [3, (0,), (0, []), (0, ["a"]), (0, "a"), ("0", ["a", "b"]), (True, ["a", "b"]), (0, ["a", 3]),
     (0, ["a", "a"]), (0, ["a*", "b"]), (0, ["a", "b{i}"]), (0, "{i}{i}"), (0.5, ["a", "b"]),
     (0, ["a", "b"], 3, 4), {"axis": 0}, {"axis": 0, "names": ["a", "b"]}, None],
    ids=repr,
)  # fmt: skip
def test_wrong_values(option: str, value: Any) -> None:
    """A value that the rule cannot have is an error before there is any source."""
    with pytest.raises(RuleError, match=rf"^{option}="):
        Rules.of(**{option: {"w": value}})


@pytest.mark.parametrize(
    "sizes", [0, [], [2, -1], [2], "same", [True, 2], 1.5, [1, 2, 3]], ids=repr
)
@pytest.mark.parametrize("option", ["split", "concat"])
def test_wrong_sizes(option: str, sizes: Any) -> None:
    """Sizes are positive integers, as many as there are parts."""
    with pytest.raises(RuleError, match=rf"^{option}="):
        Rules.of(**{option: {"w": (0, ["a", "b"], sizes)}})
    assert Rules.of(**{option: {"w": (0, ["a", "b"], [1, 2])}}).clauses
