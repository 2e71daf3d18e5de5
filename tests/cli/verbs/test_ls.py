"""``initreg ls`` with rules: what they make of the arrays of a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from initreg.cli import main


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    arrays = {"a/ih": np.ones(8, "f4"), "a/hh": np.ones(8, "f4"), "w": np.ones((8, 3), "f4")}
    np.savez(tmp_path / "m.npz", **arrays)
    return tmp_path / "m.npz"


def test_rules_of_a_file(npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and shapes are those that the rules leave."""
    rules = tmp_path / "r.toml"
    rules.write_text('sum = { b = ["a/ih", "a/hh"] }\ntranspose = "w"\n')
    assert main(["ls", str(npz), "--rules", str(rules)]) == 0
    said = capsys.readouterr().out
    assert "(3, 8)" in said
    assert "a/ih" not in said


def test_rules_that_are_typed(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has what an array is made of, and what was done to it."""
    flags = ["--sum", "b=a/ih,a/hh", "--gates", "b=0,iofc,ifco", "--drop", "w"]
    assert main(["ls", "--json", str(npz), *flags]) == 0
    [array] = json.loads(capsys.readouterr().out)["arrays"]
    assert array["name"] == "b"
    assert array["made_of"] == ["a/ih", "a/hh"]
    assert array["changes"] == ["summed with a/hh", "gates i o f c as i f c o along axis 0"]


def test_a_rule_that_matches_nothing(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the error that it is everywhere, in the words of the command line."""
    assert main(["ls", str(npz), "--drop", "x"]) == 2
    assert "--drop x matches no array" in capsys.readouterr().err
