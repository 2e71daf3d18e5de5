"""--rules: rule files on the command line, for all sources and for each its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sources and three rule files, in the current folder."""
    monkeypatch.chdir(tmp_path)
    np.savez("bert.npz", **{"bert/w": np.ones(2, "f4"), "head/w": np.zeros(1, "f4")})
    np.savez("gpt.npz", **{"gpt/w": np.full(2, 3, "f4")})
    Path("bert.toml").write_text('keep = "bert/*"\nrename = [["^bert/", "encoder/"]]')
    Path("gpt.toml").write_text('rename = { "gpt/w" = "decoder/w" }')
    Path("all.toml").write_text('prefix = "net/"')
    return tmp_path


OWN = ["--rules", "bert.npz=bert.toml", "--rules", "gpt.npz=gpt.toml", "--rules", "all.toml"]


def test_each_source_has_its_own(here: Path) -> None:
    """SOURCE=FILE is for one source; a file alone is applied afterwards, to all of them."""
    assert main(["convert", "bert.npz", "gpt.npz", "out.npz", *OWN, "--cast", "float64"]) == 0
    found = initreg.load("out.npz")
    assert {name: (str(a.dtype), a.tolist()) for name, a in found.items()} == {
        "net/encoder/w": ("float64", [1, 1]),
        "net/decoder/w": ("float64", [3, 3]),
    }


def test_plan_takes_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dry run sees the names that the files leave."""
    initreg.save("target.npz", {f"net/{n}/w": np.zeros(2, "f4") for n in ("encoder", "decoder")})
    assert main(["plan", "bert.npz", "gpt.npz", "--onto", "target.npz", *OWN]) == 0
    assert "it would load" in capsys.readouterr().out


def test_two_meanings_are_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be called as a source and its file would be; neither reading is chosen."""
    Path("gpt.npz=gpt.toml").write_text('drop = "*"')
    assert main(["convert", "gpt.npz", "out.npz", "--rules", "gpt.npz=gpt.toml"]) == 2
    said = capsys.readouterr().err
    assert "the rules gpt.toml for the source gpt.npz" in said
    assert "the rules gpt.npz=gpt.toml for all sources" in said
    assert main(["convert", "gpt.npz", "out.npz", "--rules", "gpt.npz=./gpt.toml"]) == 0
    assert list(initreg.load("out.npz")) == ["decoder/w"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('drop = "typo/*"', 'initreg: gpt.npz: gpt.toml, line 1: drop = "typo/*" matches no array'),
        ("dorp = 1", "initreg: gpt.toml, line 1: 'dorp' is not a rule. Did you mean drop?"),
        (
            'pad = { "*" = { axis = 0, length = 1 } }',
            'initreg: gpt.npz: gpt.toml, line 1: pad = { "*" = { axis = 0, length = 1 } }: array '
            "'gpt/w': axis 0 of shape (2,) is already longer than 1: shorten it with slice",
        ),
    ],
)
def test_errors_are_spelt_as_in_the_file(
    text: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They name the line, and options as a file has them, not as the command line does."""
    Path("gpt.toml").write_text(text)
    assert main(["convert", "gpt.npz", "out.npz", "--rules", "gpt.toml"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out.npz").exists()


def test_a_file_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the option as it is typed here."""
    assert main(["convert", "gpt.npz", "out.npz", "--rules", "gone.toml"]) == 2
    assert "gone.toml: no such file, in --rules gone.toml" in capsys.readouterr().err


def test_reverse_takes_a_model_back(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """convert with rules, and then with --reverse: the names and bits that it came from."""
    Path("a.toml").write_text('rename = { "gpt/w" = "w" }\nprefix = "n/"')
    Path("b.toml").write_text('[stack]\n"n/ww" = { axis = 0, of = ["n/w", "n/other"] }')
    initreg.save("in.npz", {"gpt/w": np.arange(3.0), "other": np.ones(3)})
    assert main(["convert", "in.npz", "ours.npz", "--rules", "a.toml", "--rules", "b.toml"]) == 0
    assert list(initreg.load("ours.npz")) == ["n/ww"]
    back = ["--reverse", "a.toml", "--reverse", "b.toml"]
    assert main(["convert", "ours.npz", "again.npz", *back]) == 0
    found = initreg.load("again.npz")
    assert {name: array.tolist() for name, array in found.items()} == {
        "gpt/w": [0, 1, 2],
        "other": [1, 1, 1],
    }


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ('drop = "a"', [], 'r.toml, line 1: drop = "a" cannot be undone: the arrays that it '),
        (
            'prefix = "a"',
            ["--drop", "b"],
            "--reverse r.toml and --drop: are these to be undone as ",
        ),
        ("", [], "--reverse r.toml: there are no rules to undo"),
    ],
)
def test_what_cannot_be_reversed(
    text: str, more: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an error, and nothing is written."""
    Path("r.toml").write_text(text)
    assert main(["convert", "gpt.npz", "out.npz", "--reverse", "r.toml", *more]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out.npz").exists()
