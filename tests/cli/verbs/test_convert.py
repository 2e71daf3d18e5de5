"""initreg convert: what it writes, what it prints, and when it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    assert printed.out.splitlines() == [
        f"{out}: 2 arrays, {sum(files)} B",
        "1 name in several sources, of which the last one wins",
        f"  net/b  from {tmp_path / 'later.npz'}, not {base}",
    ]
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


_SLOW = """
import time
import numpy as np

class Slow:
    shape, dtype = (64,), np.dtype("f4")

    def __array__(self, dtype=None, copy=None):
        time.sleep(0.4)
        return np.ones(64, "f4")

def arrays():
    return {name: Slow() for name in "abcd"}
"""


def on_a_terminal(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, its stdout, which is a pipe, and its stderr, a terminal."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # else it has no room
    command = [sys.executable, "-m", "initreg", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 1 << 16).decode()  # before the other side is closed, and it is gone
    except BlockingIOError:
        shown = ""
    os.close(theirs)
    os.close(ours)
    return done.returncode, done.stdout, shown


@pytest.mark.parametrize("verb", ["convert", "stats", "diff"])
def test_a_terminal_gets_a_bar(verb: str, tmp_path: Path) -> None:
    """It is on stderr, says how much of all bytes is done, and leaves stdout alone. A pipe gets
    none."""
    slow = tmp_path / "slow.py"
    slow.write_text(_SLOW)
    out = str(tmp_path / "o.ckpt")
    given = {
        "convert": [f"{slow}:arrays", out],
        "stats": [f"{slow}:arrays"],
        "diff": [f"{slow}:arrays", f"{slow}:arrays"],
    }[verb]
    code, found, shown = on_a_terminal(verb, *given)
    assert code == 0, shown
    assert "/1.02k" in shown  # 4 arrays of 256 bytes, known from the first one on
    assert "B/s" in shown
    assert "\r" not in found
    command = [sys.executable, "-m", "initreg", verb, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "line", [["o.npz"], ["o.ckpt"], ["o.h5", "--manifest"], ["o.safetensors", "--shard-size", "8"]]
)
def test_a_dry_run_writes_nothing(line: list[str], base: Path, tmp_path: Path, capsys: Any) -> None:
    """It shows the arrays, and leaves the folder as it was, down to the last byte and time."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "other.txt").write_text("x")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    times = folder.stat().st_mtime_ns
    out = folder / line[0]
    assert main(["convert", "--dry-run", str(base), str(out), *line[1:]]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: would be written, with 2 arrays of ")
    assert "and replaced" not in said
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before
    assert folder.stat().st_mtime_ns == times
    assert main(["convert", str(base), str(out), *line[1:]]) == 0
    capsys.readouterr()
    kept = {p: p.read_bytes() for p in folder.iterdir()}
    assert main(["convert", "--dry-run", str(base), str(base), str(out), *line[1:]]) == 0
    said = capsys.readouterr().out
    assert ("and replaced" in said) == ("--shard-size" not in line)  # whose files have other names
    assert "2 names in several sources" in said
    assert {p: p.read_bytes() for p in folder.iterdir()} == kept


def test_a_dry_run_as_json(base: Path, tmp_path: Path, capsys: Any) -> None:
    """Names, shapes and dtypes of what would be written."""
    line = [
        "convert",
        "--json",
        "--dry-run",
        str(base),
        str(tmp_path / "o.npz"),
        "--cast",
        "float16",
    ]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dry_run"] is True
    assert {each["name"]: each["dtype"] for each in found["arrays"]}["w"] == "float16"
    assert found["replaces"] is False
    assert not (tmp_path / "o.npz").exists()


def test_a_dry_run_finds_what_the_save_would_refuse(
    base: Path, tmp_path: Path, capsys: Any
) -> None:
    """A dtype that the format lacks, a folder that is not there, a file that would be lost, an
    option of another format: code 2, and nothing is written."""
    words = initreg.save(tmp_path / "s.npz", {"s": np.array(["a"])})
    head = initreg.save(tmp_path / "head.npz", {"head/w": np.ones(2)})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for line, why in (
        ([str(words), "o.safetensors"], "cannot store array 's'"),
        ([str(base), "none/o.npz"], "does not exist"),
        ([str(base), str(head)], "has arrays that would not be in the new file"),
        ([str(base), "o.h5", "--shard-size", "1GB"], "HDF5 is always one file"),
        ([str(base), "o.npz", "--drop", "nope"], "matches no array"),
    ):
        out = tmp_path / line[1]
        assert main(["convert", "--dry-run", line[0], str(out), *line[2:]]) == 2
        assert why in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_that_are_overridden_as_json(base: Path, tmp_path: Path, capsys: Any) -> None:
    """The sources of each name that several have, the one that wins last."""
    np.savez(tmp_path / "later.npz", b=np.zeros(3, "f4"))
    line = ["convert", "--json", str(base), str(tmp_path / "later.npz"), str(tmp_path / "o.npz")]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)["overridden"]
    assert found == {"b": [str(base), str(tmp_path / "later.npz")]}


# --- what stands at the destination -------------------------------------------------------------


def refused(line: list[str], capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What is said of a conversion that is refused. Nothing is written."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["convert", *line]) == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return capsys.readouterr().err


def test_a_forgotten_destination(base: Path, tmp_path: Path, capsys: Any) -> None:
    """The last source is not overwritten: its other arrays would be lost."""
    head = initreg.save(tmp_path / "head.npz", {"head/w": np.ones(2)})
    said = refused([str(base), str(head)], capsys, tmp_path)
    assert said == (
        f"initreg: {head}: the file exists and has arrays that would not be in the new file: "
        "head/w. The destination comes last. To replace what is there, pass --force\n"
    )
    assert main(["convert", str(base), str(head), "--force"]) == 0
    assert sorted(initreg.load(head)) == ["b", "w"]


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".ckpt"])
def test_a_source_that_is_the_destination(tmp_path: Path, ending: str, capsys: Any) -> None:
    """Under any of its names: a link, a path with dots, the index of a checkpoint."""
    path = initreg.save(tmp_path / f"m{ending}", {"a": np.ones(2), "b": np.ones(2)})
    names = [str(path), f"{tmp_path}/./m{ending}"]
    if ending == ".ckpt":
        names.append(f"{path}.index")
    else:
        (tmp_path / f"link{ending}").symlink_to(path)
        names.append(str(tmp_path / f"link{ending}"))
    for name in names:
        for line in ([name, str(path)], [name, str(path), "--drop", "a"]):
            assert "--force" in refused(line, capsys, tmp_path)
    assert main(["convert", names[-1], str(path), "--drop", "a", "--force"]) == 0
    assert list(initreg.load(path)) == ["b"]


def test_a_destination_of_another_format(base: Path, tmp_path: Path, capsys: Any) -> None:
    """A file of another format, or none of weights, whatever its ending. An empty one is free."""
    initreg.save(tmp_path / "o.npz", {"w": np.ones(1), "b": np.ones(1)}, format="safetensors")
    (tmp_path / "notes.npz").write_text("what I found out")
    (tmp_path / "empty.npz").touch()
    said = refused([str(base), str(tmp_path / "o.npz")], capsys, tmp_path)
    assert "is a file of the format safetensors, and npz would be written" in said
    said = refused([str(base), str(tmp_path / "notes.npz")], capsys, tmp_path)
    assert "cannot be opened as npz" in said
    assert main(["convert", str(base), str(tmp_path / "empty.npz")]) == 0
    assert main(["convert", str(base), str(tmp_path / "notes.npz"), "--force"]) == 0


def test_a_conversion_may_be_repeated(base: Path, tmp_path: Path) -> None:
    """The same names again, with other values or more arrays: nothing is lost that is not new."""
    out = tmp_path / "out.npz"
    assert main(["convert", str(base), str(out), "--drop", "b"]) == 0
    assert main(["convert", str(base), str(out)]) == 0
    assert main(["convert", str(base), str(out), "--cast", "float16"]) == 0
    assert initreg.load(out)["w"].dtype == np.float16
