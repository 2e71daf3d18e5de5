"""Names that a name may be a misspelling of."""

from __future__ import annotations

import pytest

from initreg.text.near import did_you_mean, near

NAMES = [f"encoder/layer_{i}/{part}" for i in range(12) for part in ("kernel", "bias")]
NAMES += ["head/kernel", "Embedding.weight", "step"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hed/kernel", "head/kernel"),
        ("encoder/layer_11/kernl", "encoder/layer_11/kernel"),
        ("encodr/layer_7/bias", "encoder/layer_7/bias"),
        ("embedding/weight", "Embedding.weight"),
        ("HEAD/KERNEL", "head/kernel"),
        ("stepp", "step"),
        ("hed/*", "head/*"),
        ("*/kernal", "*/kernel"),
        ("layer_3/bias", "encoder/layer_3/bias"),
        ("encoder/layer_?/bais", "encoder/layer_?/bias"),
    ],
)
def test_the_likeliest_comes_first(typed: str, expected: str) -> None:
    """One wrong word, other case or separators, a missing beginning; globs become globs."""
    assert near(typed, NAMES)[0] == expected


@pytest.mark.parametrize("typed", ["", "zzz", "*", "zzz/*", "[", "qqqq/wwww"])
def test_nothing_is_near(typed: str) -> None:
    """No far-fetched names, and a broken glob is no error."""
    assert near(typed, NAMES) == []
    assert did_you_mean(typed, NAMES) == ""


def test_a_name_is_not_near_itself() -> None:
    """Who typed it knows it."""
    assert "step" not in near("step", NAMES)


def test_how_many() -> None:
    """No more than asked for, and none twice."""
    assert near("encoder/layer_1/kernels", NAMES, 2) == ["encoder/layer_1/kernel"]
    assert len(set(near("stip", ["step", "stop", "snip", "strip"], 3))) == 3
    assert len(near("stip", ["step", "stop", "snip", "strip"], 1)) == 1
    assert did_you_mean("stpe", ["step", "stop"]) == " Did you mean step or stop?"


def test_very_many_names_are_looked_at() -> None:
    """The one of 100,000 names that differs in a word is found."""
    names = [f"block_{i}/dense/kernel" for i in range(100_000)]
    assert near("block_99999/desne/kernel", names) == ["block_99999/dense/kernel"]
