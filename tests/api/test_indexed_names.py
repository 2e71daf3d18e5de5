"""initreg.api.indexed_names: which array, and which of its values, a typed name means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg.api.indexed_names import find, index_of
from initreg.text.near import near

ARRAYS = {
    "w": np.zeros((3, 4)),
    "w[0]": np.zeros(2),
    "layers[1]/w": np.zeros((5,)),
    "layers[1]/b": np.zeros(()),
    "net/head/kernel": np.zeros((2, 3, 4)),
}
PARTS = st.one_of(
    st.integers(-5, 5).map(str),
    st.just("..."),
    st.tuples(*[st.none() | st.integers(-6, 6)] * 3).map(
        lambda ends: ":".join("" if each is None else str(each) for each in ends)
    ),
    st.tuples(*[st.none() | st.integers(-6, 6)] * 2).map(
        lambda ends: ":".join("" if each is None else str(each) for each in ends)
    ),
)


def found(text: str, arrays: dict[str, np.ndarray] = ARRAYS) -> list[tuple[str, str]]:
    with initreg.open(arrays) as opened:
        return [(each.name, each.index) for each in find(text, opened, "m.npz")]


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_an_index_means_what_it_means_in_python(parts: list[str]) -> None:
    """Integers, slices with steps and one ... pick the values that numpy picks, or are an error
    where they are one for numpy."""
    array = np.arange(3 * 1 * 4).reshape(3, 1, 4)
    text = ", ".join(parts)
    try:
        index = eval(f"np.s_[{text}]", {"np": np})
        expected = array[index]
    except (IndexError, ValueError):
        with pytest.raises(initreg.InitregError, match=r"step|bounds|indices|twice"):
            initreg.show({"w": array}, f"w[{text}]")
        return
    assert index_of(text) == (index if isinstance(index, tuple) else (index,))
    [shown] = initreg.show({"w": array}, f"w[{text}]").arrays
    assert shown.values is not None
    assert shown.shape == expected.shape
    np.testing.assert_array_equal(shown.values, expected)


@pytest.mark.parametrize(
    ("index", "what"),
    [
        ("", "a part of the index is empty"),
        ("1,,2", "a part of the index is empty"),
        ("a:2", "'a' is not an integer"),
        ("1.5", "'1.5' is not an integer"),
        ("[0, 1]", "has no array"),
        ("None", "None would add an axis"),
        ("np.newaxis", "np.newaxis would add an axis"),
        ("::0", "the step of '::0' is 0"),
        ("1:2:3:4", "'1:2:3:4' has too many colons"),
        ("..., ...", "'...' is there twice"),
        ("0, 0, 0", r"3 indices, and 'w' has 2 axes: \(3, 4\)"),
        ("3", r"3 is out of bounds: axis 0 of 'w', \(3, 4\), takes from -3 to 2"),
        ("1" * 5000, "is not an integer"),
        ("\u0661", "is not an integer"),
        ("True", "'True' is not an integer"),
    ],
)
def test_what_is_no_index_is_one_error(index: str, what: str) -> None:
    """The error names the file and what was typed, and says which part of it is wrong."""
    with pytest.raises(initreg.InitregError, match=what) as caught:
        found(f"w[{index}]")
    assert str(caught.value).startswith("m.npz")


def test_names_may_have_brackets() -> None:
    """The brackets at the end are an index, unless an array is called so."""
    assert found("layers[1]/w") == [("layers[1]/w", "")]
    assert found("layers[1]/w[2:, ]") == [("layers[1]/w", "[2:,]")]
    assert found("w[0][1]") == [("w[0]", "[1]")]
    assert found("w[1]") == [("w", "[1]")]


def test_a_name_with_two_meanings_is_refused() -> None:
    """What the error says to type for each of them means it."""
    with pytest.raises(initreg.InitregError, match="two meanings") as caught:
        found("w[0]")
    first, second = str(caught.value).split(", type '")[1:]
    assert found(first.partition("'")[0]) == [("w[0]", "[...]")]
    assert found(second.partition("'")[0]) == [("w", "[0, ...]")]


def test_globs_and_other_names() -> None:
    """A glob names several arrays, and an index goes to each. Brackets in it are themselves."""
    assert found("layers[1]/*") == [("layers[1]/w", ""), ("layers[1]/b", "")]
    assert found("*w[:1]") == [("w", "[:1]"), ("layers[1]/w", "[:1]")]
    assert found("w:0") == [("w", "")]
    with pytest.raises(initreg.InitregError, match="no array matches 'x\\*'"):
        found("x*")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("kernel", "net/head/kernel"),
        ("NET/head/kernel", "net/head/kernel"),
        ("head", "net/head/kernel"),
        ("net/head/kernle", "net/head/kernel"),
        ("kernle[0]", None),
    ],
)
def test_the_nearest_names_are_offered(typed: str, meant: str | None) -> None:
    """Who forgets a prefix, or misspells a name, is told the name."""
    with pytest.raises(initreg.InitregError, match=r"m\.npz has no array") as caught:
        found(typed)
    if meant is None:
        assert "It has 'w', 'w[0]', 'layers[1]/w' and 2 more" in str(caught.value)
    else:
        assert f"Did you mean {meant!r}?" in str(caught.value)


def test_many_names_are_compared_at_once() -> None:
    """An end is found among 100,000 names, of which only some are compared letter by letter."""
    names = [f"layer_{i}/kernel" for i in range(100_000)]
    assert near("99999/kernel", names)[0] == "layer_99999/kernel"
    assert near("quite another", names) == []
