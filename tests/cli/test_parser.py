"""The parser never guesses which option or which value was meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from initreg.cli import VERBS, main

NAMES = VERBS


@pytest.mark.parametrize("verb", NAMES)
def test_no_option_is_abbreviated(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--all`` is not ``--allow-pickle``: a beginning of an option is no option, for any verb."""
    needed = {
        "plugins": [],
        "convert": ["a", "b"],
        "dump": ["a", "b"],
        "diff": ["a", "b"],
        "show": ["a", "b"],
        "plan": ["a", "--onto", "b"],
        "map": ["a", "--onto", "b"],
        "merge": ["a", "b", "c"],
        "completion": ["bash"],
    }
    with pytest.raises(SystemExit) as caught:
        main([verb, *needed.get(verb, ["a"]), "--js"])
    assert caught.value.code == 2
    assert f"initreg {verb}: there is no option --js" in capsys.readouterr().err


def test_ls_all_runs_no_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle is opened only by its own option, typed in full."""

    class Runs:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "it ran",))

    np.save(tmp_path / "zoo.npy", np.array({"a": Runs()}, object))
    for option in ("--all", "--allow"):
        with pytest.raises(SystemExit) as caught:
            main(["ls", option, str(tmp_path / "zoo.npy")])
        assert caught.value.code == 2
        assert not (tmp_path / "it ran").exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["convert", "a", "b", "--strip-prefix", "x", "--strip-prefix=y"], "--strip-prefix"),
        (["convert", "a", "b", "--prefix", "x", "--prefix", "y"], "--prefix"),
        (["convert", "a", "b", "--to", "npz", "--to", "h5"], "--to"),
        (["ls", "a", "--format", "npz", "--format", "npz"], "--format"),
        (["plan", "a", "--onto", "b", "--onto", "c"], "--onto"),
        (["plan", "a", "--onto", "b", "--by", "name", "--by", "order"], "--by"),
        (["ls", "a", "--max-inflation", "1", "--max-inflation", "2"], "--max-inflation"),
    ],
)
def test_an_option_of_one_value_is_given_once(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of two values does not win in silence."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert f"argument {option}: it is given twice" in capsys.readouterr().err


def test_an_option_that_may_be_repeated(tmp_path: Path) -> None:
    """``--drop`` collects."""
    np.savez(tmp_path / "a.npz", **{name: np.ones(1) for name in "abc"})
    out = tmp_path / "out.npz"
    assert main(["convert", str(tmp_path / "a.npz"), str(out), "--drop", "a", "--drop", "b"]) == 0
    assert np.load(out).files == ["c"]


def test_bad_usage_prints_no_controls(capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that cannot be printed is escaped in the message."""
    with pytest.raises(SystemExit):
        main(["ls", "a", "--\x1b[31m\u202e"])
    said = capsys.readouterr().err
    assert said.replace("\n", "").isprintable()
    assert r"\x1b[31m\u202e" in said


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["ls"], "initreg ls: the following arguments are required: SOURCE"),
        (["ls", "a.npz", "--dept", "1"], "no option --dept. Did you mean --depth?"),
        (["ls", "a.npz", "--sort", "sise"], "invalid choice: 'sise'. Did you mean size?"),
        (["diff", "a.npz", "b.npz", "c.npz"], "too many arguments: c.npz"),
        (["dif", "a.npz"], "there is no verb 'dif'. Did you mean diff?"),
    ],
)
def test_bad_usage_is_json_if_that_is_asked_for(
    capsys: pytest.CaptureFixture[str], typed: list[str], why: str
) -> None:
    """A program that reads JSON gets it for what is typed wrongly, too, and nothing on stderr."""
    with pytest.raises(SystemExit) as caught:
        main([*typed, "--json"])
    found = capsys.readouterr()
    assert (caught.value.code, found.err) == (2, "")
    answer = json.loads(found.out)
    assert answer["error"] == "BadUsage"
    assert why in answer["message"]


def test_json_as_an_argument_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    """After ``--``, it is the name of a file."""
    with pytest.raises(SystemExit):
        main(["diff", "a.npz", "b.npz", "--", "--json"])
    found = capsys.readouterr()
    assert found.out == ""
    assert "--json" in found.err
