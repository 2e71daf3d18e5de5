"""initreg.hints: what to type when nothing matched."""

import pytest

from initreg.arrays import ArraySpec
from initreg.hints import hints, transposed
from initreg.target import VariableSpec

NAMES = [f"block{i}/conv/{w}" for i in range(5) for w in ("W", "b")]


def of(have, want):
    arrays = [ArraySpec(name, (2,), "float32") for name in have]
    return hints(arrays, [VariableSpec(name, (2,), "float32") for name in want], "'m.npz'")


@pytest.mark.parametrize(
    ("have", "want", "how"),
    [
        ([f"model/{n}" for n in NAMES], NAMES, "removing 'model/'"),
        ([f"a/b/{n}" for n in NAMES], NAMES, "removing 'a/b/'"),
        (NAMES, [f"tower0/{n}" for n in NAMES], "adding 'tower0/'"),
        ([n.replace("/", ".") for n in NAMES], NAMES, "replacing '.' by '/'"),
        (NAMES, [n.replace("/", ".") for n in NAMES], "replacing '/' by '.'"),
        (
            ["model." + n.replace("/", ".") for n in NAMES],
            NAMES,
            "replacing '.' by '/' and removing 'model/'",
        ),
        (
            [f"resnet/{n}" for n in NAMES],
            [f"backbone/{n}" for n in NAMES],
            "replacing the prefix 'resnet/' by 'backbone/'",
        ),
    ],
)
def test_the_renaming_that_makes_all_names_match_comes_first(have, want, how):
    """The hint counts the names, says how, and its code really renames all of them."""
    best = of(have, want)[0]
    start, code = best.split(": SmartInit(")
    assert start == f"10 of 10 names match after {how}"
    code = code.removesuffix(")")

    class initreg:  # stands for the module in the hint's code
        load = staticmethod(lambda path: dict.fromkeys(have, 1) if path == "m.npz" else {})

    assert set(eval(code, {"initreg": initreg})) == set(want)


def test_the_commonest_renaming_comes_first_and_few_are_shown():
    """Renamings that help a few names only are not worth a line."""
    have = [f"model/{n}" for n in NAMES] + ["odd/block0/conv/W"]
    found = of(have, NAMES)
    assert len(found) == 1
    assert found[0].startswith("10 of 11 names match after removing 'model/'")


def test_near_names_where_no_renaming_helps():
    """Misspelt names are shown beside those that they are like."""
    assert of(["dense/kernal"], ["dense/kernel"]) == [
        "'dense/kernal' of the source is like 'dense/kernel' of the target"
    ]


def test_nothing_is_made_up():
    """Where nothing is alike there is no hint."""
    assert of(["abc"], ["xyz"]) == []


@pytest.mark.parametrize(
    ("have", "want", "hint"),
    [([], ["a"], "the source holds no arrays"), (["a"], [], "the target has no variables")],
)
def test_an_empty_side_is_said(have, want, hint):
    """No arrays, or no variables, explains everything."""
    assert of(have, want)[0].startswith(hint)


@pytest.mark.parametrize(
    ("have", "want", "answer"),
    [
        ((2, 3), (3, 2), True),
        ((2, 3, 4), (4, 3, 2), True),
        ((3, 3), (3, 3), False),
        ((2, 3), (2, 3), False),
        ((2,), (2,), False),
        ((2, 3), None, False),
    ],
)
def test_transposed(have, want, answer):
    """The reversed shape is a transpose, an equal one or an unknown one is not."""
    array = ArraySpec("x", have, "float32")
    assert transposed(array, VariableSpec("x", want, "float32")) is answer
