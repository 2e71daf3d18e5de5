"""``initreg show``: values on the screen, in a pipe, and in a file."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg.cli import main

ARRAYS = {
    "w": np.arange(6, dtype="f4").reshape(2, 3),
    "b": np.array([np.nan, 0.1], "f4"),
    "x[0]": np.ones((2, 1, 1)),
}


@pytest.fixture
def npz(tmp_path: Path) -> str:
    np.savez(tmp_path / "m.npz", **ARRAYS)
    return str(tmp_path / "m.npz")


def test_values_on_the_screen(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Several arrays, each under a line that names it."""
    assert main(["show", npz, "w[1, :2]", "b"]) == 0
    said = capsys.readouterr().out
    assert said == "w[1, :2]  (2,) float32\n[3. 4.]\nb  (2,) float32\n[nan 0.1]\n"


def test_json(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as in Python, with NaN as a text."""
    assert main(["show", npz, "--json", "w", "b"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == initreg.show(npz, "w", "b").to_dict()
    assert found["arrays"][1]["values"] == ["nan", 0.1]


def test_a_damaged_array_is_the_only_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a later array is damaged, nothing of the values is printed: no half of a document."""
    path = tmp_path / "m.npz"
    np.savez(path, a=np.ones(3, "f4"), b=np.ones(1000, "f4"))
    content = bytearray(path.read_bytes())
    content[-800] ^= 1
    path.write_bytes(content)
    assert main(["show", str(path), "a", "b", "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"] == "DamagedFile"
    assert main(["show", str(path), "a", "b", "--to", "json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "array 'b' fails its crc32" in printed.err
    assert main(["show", str(path), "a", "--to", "csv"]) == 0
    assert capsys.readouterr().out == "1.0\n1.0\n1.0\n"


def test_formats_on_stdout(npz: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """CSV, JSON and npy hold the values alone. JSON can hold several arrays, by name."""
    assert main(["show", npz, "w", "--to", "csv"]) == 0
    assert capsysbinary.readouterr().out == b"0.0,1.0,2.0\n3.0,4.0,5.0\n"
    assert main(["show", npz, "w[0]", "--to", "json"]) == 0
    assert capsysbinary.readouterr().out == b"[0.0, 1.0, 2.0]\n"
    assert main(["show", npz, "w[0]", "b", "--to", "json"]) == 0
    assert json.loads(capsysbinary.readouterr().out) == {"w[0]": [0, 1, 2], "b": ["nan", 0.1]}


def test_npy_in_a_pipe(npz: str) -> None:
    """numpy reads it. On a terminal it is an error, because it is not text."""
    command = [sys.executable, "-m", "initreg", "show", npz, "w", "--to", "npy"]
    done = subprocess.run(command, capture_output=True, check=True)
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout)), ARRAYS["w"])
    ours, theirs = pty.openpty()
    on_a_terminal = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.close(ours)
    assert on_a_terminal.returncode == 2
    assert "npy is not text" in on_a_terminal.stderr


@pytest.mark.parametrize("ending", ["csv", "json", "npy"])
def test_the_ending_says_the_format(npz: str, tmp_path: Path, ending: str) -> None:
    """All values are written, also of an array that would be summarised on the screen."""
    big = np.random.default_rng(0).normal(size=(70, 40)).astype("f4")
    np.savez(npz, big=big)
    path = tmp_path / f"out.{ending}"
    assert main(["show", npz, "big", "-o", str(path)]) == 0
    readers = {
        "csv": lambda: np.loadtxt(path, delimiter=",", dtype="f4"),
        "json": lambda: np.array(json.loads(path.read_text()), "f4"),
        "npy": lambda: np.load(path),
    }
    np.testing.assert_array_equal(readers[ending](), big)


def test_what_cannot_be_written_leaves_nothing(
    npz: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what to type, and there is no file."""
    out = str(tmp_path / "out.csv")
    for arguments, said in (
        (["w", "b", "-o", out], "--to csv writes one array, and these are 2"),
        (["x[0]", "-o", out], "CSV has two"),
        (["w", "-o", out + ".txt"], ".csv, .json or .npy"),
        (["w", "-o", out, "--json"], "Leave out --to and --output"),
        (["nope", "-o", out], "has no array 'nope'"),
        (["w", "--cast", "bfloat16", "-o", str(tmp_path / "o.npy")], "--cast float32"),
    ):
        assert main(["show", npz, *arguments]) == 2
        captured = capsys.readouterr()
        assert said in captured.err + captured.out
    assert os.listdir(tmp_path) == ["m.npz"]


def test_the_source_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who writes into the file that is read gets an error, and the file is as it was."""
    path = tmp_path / "w.npy"
    np.save(path, np.arange(5))
    assert main(["show", str(path), "w[:2]", "-o", str(path)]) == 2
    assert "the values are read from this file" in capsys.readouterr().err
    assert np.load(path).tolist() == [0, 1, 2, 3, 4]


def test_lines_are_as_wide_as_the_terminal(npz: str) -> None:
    """numpy breaks lines at the width of the screen."""
    np.savez(npz, v=np.arange(60.0))
    command = [sys.executable, "-m", "initreg", "show", npz, "v"]
    widths = {}
    for columns in (80, 200):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns)}
        subprocess.run(command, stdout=theirs, check=True, env=environment)
        os.close(theirs)
        text = os.read(ours, 1 << 16).decode()
        os.close(ours)
        widths[columns] = max(map(len, text.splitlines()))
    assert 60 < widths[80] <= 80
    assert 160 < widths[200] <= 200


def test_rare_dtypes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """bfloat16 and float8 have their values as numbers."""
    arrays = {"b": np.array([0.1, 2], ml_dtypes.bfloat16), "f": np.ones(1, ml_dtypes.float8_e5m2)}
    path = initreg.save(tmp_path / "m.safetensors", arrays)
    assert main(["show", str(path), "b", "f", "--to", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"b": [0.10009765625, 2.0], "f": [1.0]}


def test_code_as_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What code builds has values, too."""
    (tmp_path / "built.py").write_text("def weights():\n    return {'w': [1.0, 2.0]}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["show", "built.py:weights", "w[1]"]) == 0
    assert capsys.readouterr().out == "w[1]  () float64\n2.0\n"
