"""What is on a terminal: colours, widths, the pager; and what is not in a pipe."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from terminal import in_terminal

CODES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a few arrays, and with very many."""
    layers = {
        f"encoder/layer_{i}/attention/output/dense/kernel": np.ones((64, 64), "f4") for i in "ab"
    }
    np.savez(tmp_path / "few.npz", **layers, step=np.int64(1))
    np.savez(tmp_path / "many.npz", **{f"w{i}": np.ones(1) for i in range(100)})
    return tmp_path


def test_colours_on_a_terminal(here: Path) -> None:
    """Headings, dtypes and totals are styled, and without the codes it is the text of a pipe."""
    shown = in_terminal(["ls", "few.npz"], columns=120, cwd=here)
    assert shown.lines[0].startswith("\x1b[1mNAME\x1b[0m ")
    command = [sys.executable, "-m", "initreg", "ls", "few.npz"]
    piped = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout
    assert CODES.sub("", shown.text) == piped
    assert "\x1b" not in piped


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}]
)
@pytest.mark.parametrize("arguments", [["ls", "few.npz"], ["--help"], ["stats", "few.npz"]])
def test_no_colours(environment: dict[str, str], arguments: list[str], here: Path) -> None:
    """NO_COLOR and a dumb terminal have none, whatever FORCE_COLOR says."""
    shown = in_terminal(arguments, cwd=here, **environment)
    assert shown.code == 0
    assert "\x1b" not in shown.text
    assert len(shown.lines) > 3


def test_forced_colours(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR paints in a pipe, too, but never JSON."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for options, is_painted in ((["few.npz"], True), (["few.npz", "--json"], False)):
        command = [sys.executable, "-m", "initreg", "ls", *options]
        piped = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
        assert ("\x1b[1m" in piped.stdout) is is_painted


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize("verb", ["ls", "stats"])
def test_every_width(verb: str, columns: int, here: Path) -> None:
    """No line is longer than the terminal, but for a name that alone is, and no name is broken."""
    shown = in_terminal([verb, "few.npz"], columns=columns, cwd=here, NO_COLOR="1", PAGER="cat")
    assert shown.code == 0
    for layer in "ab":
        name = f"encoder/layer_{layer}/attention/output/dense/kernel"
        assert any(line.split("  ")[0] == name for line in shown.lines)
    long = [line for line in shown.lines if len(line) > columns]
    assert all(line.startswith("encoder/") and " " not in line for line in long)


def test_what_there_is_no_room_for(here: Path) -> None:
    """A narrow terminal says which columns it lacks. A wide one has them."""
    narrow = in_terminal(["stats", "few.npz"], columns=70, cwd=here, NO_COLOR="1")
    assert narrow.lines[-1].startswith("no room for HISTOGRAM")
    wide = in_terminal(["stats", "few.npz"], columns=200, cwd=here, NO_COLOR="1")
    assert "HISTOGRAM" in wide.lines[0]
    assert "no room" not in wide.text


def test_the_pager(here: Path) -> None:
    """What is longer than the terminal goes through PAGER; what fits, --no-pager and cat do not."""
    pager = "sed s/^/paged:/"
    shown = in_terminal(["ls", "many.npz"], cwd=here, NO_COLOR="1", PAGER=pager)
    assert shown.code == 0
    assert len(shown.lines) == 102
    assert all(line.startswith("paged:") for line in shown.lines)
    for arguments, program in (
        (["ls", "few.npz"], pager),
        (["ls", "many.npz", "--no-pager"], pager),
        (["ls", "many.npz"], "cat"),
        (["ls", "many.npz"], ""),
        (["ls", "many.npz", "--json"], pager),
    ):
        shown = in_terminal(arguments, cwd=here, NO_COLOR="1", PAGER=program)
        assert "paged:" not in shown.text
        assert shown.code == 0


def test_a_pager_that_stops_or_is_missing(here: Path) -> None:
    """One that reads a line only is no error, and without any everything is printed."""
    stopped = in_terminal(["ls", "many.npz"], cwd=here, NO_COLOR="1", PAGER="head -n 1")
    assert (stopped.lines, stopped.code) == (["NAME  SHAPE  DTYPE    SIZE"], 0)
    missing = in_terminal(["ls", "many.npz"], cwd=here, NO_COLOR="1", PAGER="no-such-pager-here")
    assert missing.lines[-1] == "100 arrays, 100 numbers, 800 B"
    assert missing.code == 0


def test_less_as_git_runs_it(here: Path) -> None:
    """Without LESS, it is FRX; a LESS of the user's own is kept."""
    for environment, seen in (({}, "FRX"), ({"LESS": "X"}, "X")):
        shown = in_terminal(
            ["ls", "many.npz"], cwd=here, PAGER="cat >/dev/null; echo $LESS", **environment
        )
        assert shown.text == f"{seen}\n"
