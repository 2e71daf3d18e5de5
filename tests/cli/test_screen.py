"""Lines of names with notes fit a terminal, and no name is broken."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from terminal import in_terminal

from initreg.cli.screen import fitted

NAME = "encoder/layer_{0..11}/attention/{query,key,value}/kernel"


@pytest.mark.parametrize(
    ("line", "width", "expected"),
    [
        ("  head/w  (3,) float32", 80, ["  head/w  (3,) float32"]),
        (f"  {NAME}  36 x (64, 64) float32", 60, [f"  {NAME}", "      36 x (64, 64) float32"]),
        (f"  {NAME}  36 x float32", 20, [f"  {NAME}", "      36 x float32"]),
        (
            "  checked  the digests of all arrays in m.safetensors.manifest.json",
            50,
            ["  checked  the digests of all arrays in", "      m.safetensors.manifest.json"],
        ),
        (
            "no array has the name of a variable",
            20,
            ["no array has the", "    name of a", "    variable"],
        ),
        (NAME, 10, [NAME]),
    ],
)
def test_a_long_line(line: str, width: int, expected: list[str]) -> None:
    """A note goes below a long name, and goes on below; a name is whole, however narrow it is."""
    assert list(fitted(line, width)) == expected


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two models that differ, with long names."""
    names = [f"encoder/layer_{i}/attention/self/query/kernel" for i in range(12)]
    arrays = {name: np.ones((64, 64), "f4") for name in names}
    np.savez(tmp_path / "a.npz", **arrays, **{"head/kernel": np.ones((64, 2), "f4")})
    arrays[names[3]] = arrays[names[3]] + np.float32(0.5)
    np.savez(tmp_path / "b.npz", **arrays, **{"head/kernel": np.ones((64, 3), "f4")})
    arrays[names[3]][0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    return tmp_path


@pytest.mark.parametrize("columns", [50, 80, 200])
@pytest.mark.parametrize(
    ("command", "code", "begin"),
    [
        (["diff", "a.npz", "b.npz"], 1, "1 array different"),
        (["diff", "a.npz", "b.npz", "--fold"], 1, "LAYER"),
        (["merge", "a.npz", "b.npz", "c.npz", "--dry-run", "--drop", "head/*"], 0, "12 arrays"),
        (["report", "a.npz", "-o", "a.html"], 0, "a.html"),
        (["show", "a.npz", "head/kernel[:3]"], 0, "head/kernel[:3]"),
        (["plan", "a.npz", "--onto", "b.npz"], 1, "it would fail: "),
        (["verify", "nan.npz"], 1, "nan.npz: "),
        (["convert", "a.npz", "b.npz", "out.npz"], 0, "out.npz: "),
        (["probe", "a.npz"], 0, "a.npz: npz"),
        (["dump", "a.npz", "w.npz", "--inference"], 0, "w.npz: "),
        (["help"], 0, "usage: "),
        (["ls", "a.npz", "b.npz", "--fold"], 0, "a.npz (npz)"),
        (["stats", "a.npz", "--tree"], 0, "NAME"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_screens(columns: int, command: list[str], code: int, begin: str, here: Path) -> None:
    """No line is longer than the terminal, unless it is one name, whole."""
    shown = in_terminal(command, columns=columns, cwd=here, NO_COLOR="1", PAGER="cat")
    assert shown.code == code, shown.text
    lines = [line.rpartition("\r")[2] for line in shown.lines]  # after a bar that was wiped out
    assert any(line.startswith(begin) for line in lines), shown.text
    for line in lines:
        assert len(line) <= columns or " " not in line.strip(), line


def test_colours_of_an_answer(here: Path) -> None:
    """What differs is red, and what is equal is green."""
    shown = in_terminal(["diff", "a.npz", "b.npz"], columns=100, cwd=here)
    assert "\x1b[31m1 array different\x1b[0m" in shown.lines
    assert "\x1b[32m11 arrays equal, bit by bit\x1b[0m" in shown.lines
    shown = in_terminal(["verify", "nan.npz"], columns=100, cwd=here)
    assert shown.lines[0].startswith("\x1b[31mnan.npz: 1 problem")
    shown = in_terminal(["verify", "a.npz"], columns=100, cwd=here)
    assert "\x1b[32ma.npz: fine" in shown.text


def test_ctrl_c(here: Path) -> None:
    """The process ends by the signal, so that a loop of the shell ends with it."""
    code = (
        "import os, signal, sys, time\nsys.argv = ['initreg', 'ls', 'a.npz']\n"
        "from initreg.cli import main\nfrom initreg.cli.verbs import ls\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for '&'\n"
        "def run(options):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\n"
        "ls.run = run\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
