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
