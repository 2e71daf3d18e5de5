"""initreg.rules.taking: elements of an axis by their indices, or by the tokens of vocabularies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit, SourceNotFound
from initreg.cli import main

EMB = np.arange(8, dtype="f4").reshape(4, 2)
OLD = ["[PAD]", "the", "cat", " dog"]
NEW = ["[PAD]", " dog", "bird", "the", "fish"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("old.txt").write_text("\n".join(OLD) + "\n")
    Path("new.txt").write_text("\r\n".join(NEW))
    Path("old.json").write_text(json.dumps({token: i for i, token in enumerate(OLD)}))
    Path("new.json").write_text(json.dumps(NEW))
    indices = {token: i for i, token in reversed(list(enumerate(NEW)))}  # in any order
    Path("indices.json").write_text(json.dumps(indices))
    return tmp_path


def test_by_index() -> None:
    """As numpy's take: in any order, some twice and some not at all, along any axis."""
    assert initreg.load({"e": EMB}, take={"e": (0, [3, 1, 1])})["e"].tolist() == [
        [6, 7],
        [2, 3],
        [2, 3],
    ]
    assert initreg.load({"e": EMB}, take={"*": (-1, np.array([1, 0]))})["e"].tolist() == (
        EMB[:, ::-1].tolist()
    )
    assert initreg.load({"e": EMB}, take={"e": (0, [])})["e"].shape == (0, 2)
    words = np.array(["a", "b"], "O")
    assert initreg.load({"e": words}, take={"e": (0, [1])})["e"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("old", "new"), [("old.txt", "new.txt"), ("old.json", "new.json"), ("old.txt", "indices.json")]
)
@pytest.mark.parametrize(("fill", "row"), [(0, [0, 0]), (-1.5, [-1.5, -1.5]), ("mean", [3, 4])])
def test_by_token(old: str, new: str, fill: Any, row: list[float], here: Path) -> None:
    """Rows follow their tokens, and those of new tokens are filled as asked."""
    target = {"e": np.full((5, 2), 9, "f4")}
    plan = SmartInit({"e": EMB}, take={"e": (0, old, Path(new), fill)}).init(target)
    assert target["e"].tolist() == [[0, 1], [6, 7], row, [2, 3], row]
    assert plan[0].changes == ("taken from (4, 2), with 2 new",)


def test_in_a_file_and_on_the_command_line(here: Path) -> None:
    """A rule file and the options do what the keyword does."""
    initreg.save("in.npz", {"e": EMB, "f": EMB})
    Path("r.toml").write_text(
        '[take]\ne = { axis = 0, old = "old.txt", new = "new.txt", fill = "mean" }\n'
        "f = { axis = 1, indices = [1, 0] }"
    )
    expected = initreg.load(
        "in.npz", take={"e": (0, "old.txt", "new.txt", "mean"), "f": (1, [1, 0])}
    )
    assert main(["convert", "in.npz", "a.npz", "--rules", "r.toml"]) == 0
    typed = ["--take", "e=0,old.txt,new.txt,mean", "--take", "f=1,1,0"]
    assert main(["convert", "in.npz", "b.npz", *typed]) == 0
    for found in map(initreg.load, ("a.npz", "b.npz")):
        assert {n: a.tobytes() for n, a in found.items()} == {
            n: a.tobytes() for n, a in expected.items()
        }
    Path("again.toml").write_text(initreg.rules_text(rules="r.toml"))
    again = initreg.load("in.npz", rules="again.toml")
    assert all(np.array_equal(again[name], expected[name]) for name in expected)


def test_an_order_is_undone(here: Path) -> None:
    """If each element is taken once; anything else is lost or doubled, and an error."""
    Path("new.txt").write_text("\n".join(OLD[::-1]))
    rules: dict[str, Any] = {"take": {"e": (0, "old.txt", "new.txt"), "f": (1, [1, 0])}}
    ours = initreg.load({"e": EMB, "f": EMB}, **rules)
    assert ours["e"].tolist() == EMB[::-1].tolist()
    found = initreg.load(initreg.convert(ours, "back.npz", reverse=True, **rules))
    assert found["e"].tolist() == found["f"].tolist() == EMB.tolist()
    with pytest.raises(RuleError, match="cannot be undone: not each element is taken once"):
        initreg.rules_text(take={"e": (0, [1, 1])}, reverse=True)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ((2, [0]), r"shape \(4, 2\) has no axis 2"),
        ((0, [4]), r"axis 0 of shape \(4, 2\) has no index 4"),
        ((0, [-1]), r"axis 0 of shape \(4, 2\) has no index -1"),
        ((1, "old.txt", "old.txt"), r"has 2 elements, and old.txt has 4 tokens"),
        ((0, "old.txt", "new.txt"), r"old.txt lacks 2 tokens of new.txt: 'bird', 'fish'. Say what"),
        (
            (0, "old.txt", "twice.txt"),
            r"twice.txt: the token 'a' is there twice, as number 0 and 2",
        ),
        ((0, "old.txt", "odd.json"), r"odd.json: the indices of its tokens are not 0 to 1"),
        ((0, "old.txt", "list.json"), r"list.json: this is not a vocabulary"),
        ((0, "old.txt", "bad.json"), r"bad.json: this is not a vocabulary"),
    ],
)
def test_what_cannot_be_taken(how: Any, said: str, here: Path) -> None:
    """The error names the rule, the array, the file and the token."""
    Path("twice.txt").write_text("a\nb\na\n")
    Path("odd.json").write_text('{"a": 0, "b": 2}')
    Path("list.json").write_text("[1, 2]")
    Path("bad.json").write_text("[")
    with pytest.raises(RuleError, match=rf"take=.*array 'e': .*{said}"):
        initreg.open({"e": EMB}, take={"e": how})


def test_a_vocabulary_that_is_not_there(here: Path) -> None:
    """Is a file that is not found."""
    with pytest.raises(SourceNotFound, match=r"gone\.txt: no such file, in take="):
        initreg.open({"e": EMB}, take={"e": (0, "old.txt", "gone.txt")})


@pytest.mark.parametrize(
    "how", [3, (0,), (0, "a"), (0, [0.5]), (0, "a", "b", "median"), (0, "a", "b", 1, 2), (0, 1, 2)]
)
def test_wrong_values(how: Any) -> None:
    """They are errors before any file is opened."""
    with pytest.raises(RuleError, match=r"^take=.*: give \(axis, indices\), or"):
        SmartInit("gone.npz", take={"e": how})
