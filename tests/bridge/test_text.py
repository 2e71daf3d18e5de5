"""What was mapped, as the text of a rule file."""

from __future__ import annotations

import tomllib

from initreg.bridge.lines import OpenQuestion
from initreg.bridge.text import rule_text


def dropped(names: list[str], asked: tuple[str, ...] = (), unused: tuple[str, ...] = ()) -> object:
    """What a file drops that has these arrays in doubt, or left over."""
    questions = [OpenQuestion(("dense/kernel",), asked, "two fit")] if asked else []
    text = rule_text(["a for b"], [], questions, missing=(), unused=unused, dropped=names, tied=())
    return tomllib.loads(text)["step"][0]["drop"]


def test_many_arrays_of_one_name_are_one_glob() -> None:
    """The counters of all batch norms are a line."""
    assert dropped(["a.num_batches_tracked", "b.num_batches_tracked"]) == ["*.num_batches_tracked"]


def test_no_glob_takes_an_array_that_the_user_is_asked_about() -> None:
    """The state of an optimizer may be called as the weights are: the answer must find them."""
    state, weight = "optimizer/vars/0", "layers/dense/vars/0"
    assert dropped([state], asked=(weight,)) == [state]
    assert dropped([state], unused=(weight,)) == [state]
    assert dropped([state]) == ["*/0"]


def test_an_array_that_is_known_is_not_asked_for() -> None:
    """If only the order of its elements is open, and no lines are known, the comment says so."""
    question = OpenQuestion(("dense/kernel",), ("dense.weight",), "its order is not known")
    text = rule_text(["a for b"], [], [question], missing=(), unused=(), dropped=(), tied=())
    assert "# OPEN: its order is not known:\n#     dense.weight for dense/kernel\n" in text
    assert "add a step at the end that renames and changes it" in text
    assert "Which of these" not in text
