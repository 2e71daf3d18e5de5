"""initreg convert: what it writes, what it prints, and when it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main


def test_a_chain_is_merged(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The later source wins; rules apply; the path, the count and the size are printed."""
    np.savez(tmp_path / "later.npz", b=np.zeros(3, "f4"), c=np.ones(2))
    out = tmp_path / "out.ckpt"
    rules = ["--drop", "c", "--prefix", "net/"]
    assert main(["convert", str(base), str(tmp_path / "later.npz"), str(out), *rules]) == 0
    found = initreg.load(out)
    assert {name: array.tolist() for name, array in found.items()} == {
        "net/w": [[2, 2, 2]] * 2,
        "net/b": [0, 0, 0],
    }
    files = [path.stat().st_size for path in tmp_path.glob("out.ckpt*")]
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 2 arrays, {sum(files)} B\n"
    assert printed.err == ""  # no terminal, no bar


def test_json(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for machines; ``--to`` is the format, whatever the ending."""
    out = tmp_path / "model-3.weights"
    assert main(["convert", str(base), str(out), "--to", "tf_checkpoint", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    size = sum(path.stat().st_size for path in tmp_path.glob("model-3.weights*"))
    assert answer == {"path": str(out), "arrays": 2, "nbytes": size}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{base}", "{out}.docx"], "no format has this file extension"),
        (["{base}", "{out}.ckpt", "--drop", "typo/*"], "--drop 'typo/*'"),
        (["{base}", "{out}.ckpt", "--shard-size", "large"], "is not a size"),
        (["{base}", "{out}.ckpt", "--to", "nothing"], "format 'nothing' is not saved"),
        (["", "{out}.ckpt"], "the path is empty"),
        (["{out}/gone.npz", "{out}.ckpt"], "gone.npz"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str],
    message: str,
    base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Code 2, the reason on stderr, and nothing written."""
    before = sorted(os.listdir(tmp_path))
    typed = [each.format(base=base, out=tmp_path / "out") for each in arguments]
    assert main(["convert", *typed]) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before


def test_one_path_is_no_conversion(base: Path) -> None:
    """There are a source and a destination."""
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(base)])
    assert caught.value.code == 2


def test_a_terminal_gets_a_bar(base: Path, tmp_path: Path) -> None:
    """It is on stderr, says how much of how many bytes is done, and leaves stdout alone."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # else it has no room
    command = [sys.executable, "-m", "initreg", "convert", str(base), str(tmp_path / "o.ckpt")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.set_blocking(ours, False)
    shown = os.read(ours, 1 << 16).decode()  # before the other side is closed, and it is gone
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, shown
    assert "B/s" in shown
    assert done.stdout.startswith(f"{tmp_path / 'o.ckpt'}: 2 arrays, ")
