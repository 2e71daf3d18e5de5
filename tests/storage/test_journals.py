"""initreg.storage.journals: a save that was killed midway leaves no parts behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.storage import journals
from initreg.storage.output import written

_KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import initreg
replace, unlink, left = os.replace, os.unlink, int(sys.argv[2])
def count(call):
    def counted(*args, **more):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*args, **more)
    return counted
os.replace, os.unlink = count(replace), count(unlink)
arrays = {name: np.full(100, 2, "f4") for name in "abc"}
initreg.save(sys.argv[1], arrays, **eval(sys.argv[3]))
print("saved")
"""


def visible(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if not name.startswith(".initreg-")}


@pytest.mark.parametrize(
    ("name", "options"),
    [("m.safetensors", {"shard_size": 400}), ("m.ckpt", {}), ("m.npz", {"manifest": True})],
)
def test_killed_before_each_rename_and_removal(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    """After a kill, the complete old or new save is there; after the next save, only its own
    files."""
    outcomes = set()
    for steps in range(30):
        folder = tmp_path / str(steps)
        folder.mkdir()
        path = folder / name
        arrays = {key: np.full(100, 1, "f4") for key in "abc"}
        opened_by = initreg.save(path, arrays, **options)
        wanted = visible(folder)
        code = [sys.executable, "-c", _KILLED, str(path), str(steps), repr(options)]
        done = subprocess.run(code, capture_output=True, text=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        values = {float(v) for a in initreg.load(opened_by).values() for v in np.unique(a)}
        assert values in ({1.0}, {2.0})
        assert initreg.verify(opened_by).ok
        outcomes.add((values.pop(), done.returncode))
        for _ in range(3):  # the second or third has the names back that were taken
            assert initreg.save(path, arrays, **options) == opened_by
            if visible(folder) == wanted:
                break
        assert visible(folder) == wanted
        assert not [n for n in os.listdir(folder) if n.endswith("journal")]
        if done.returncode == 0:
            break
    assert outcomes == {(1.0, -9), (2.0, -9), (2.0, 0)}


def test_nothing_is_written_where_nothing_can_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single file needs no journal. Several files have one while they are renamed."""
    seen: list[bool] = []
    replace = os.replace

    def see(source: Path, target: Path) -> None:
        seen.append(any(name.endswith("-journal") for name in os.listdir(tmp_path)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", see)
    with written(tmp_path / "m") as out:
        out.file()
    with written(tmp_path / "n") as out:
        out.file("n.1")
        out.file("n.2")
    assert seen == [False, True, True]
    assert visible(tmp_path) == set(os.listdir(tmp_path)) == {"m", "n.1", "n.2"}


def test_a_journal_of_somebody_alive_is_left_alone(tmp_path: Path) -> None:
    """A running save holds a lock on its journal, even if the folder cannot be locked."""
    (tmp_path / "old").write_bytes(b"old")
    code = (
        "import sys, pathlib; from initreg.storage import journals\n"
        "with journals.journal(pathlib.Path(sys.argv[1]), 'gone', [], ['old']):\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        journals.recover(tmp_path)
        assert len(os.listdir(tmp_path)) == 2
        process.kill()
        process.wait()
        journals.recover(tmp_path)  # the save had ended, but for what it was to remove
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"whole": "x", "old": [["victim"]], "new": []}',
        '{"whole": "x", "old": [[]], "new": []}',
        '{"whole": "x", "old": [["victim", 1, 2, 3]], "new": []}',
        '{"whole": "x", "old": [["../victim", 1, 2, 3]], "new": []}',
        '{"whole": "/etc/passwd", "old": [], "new": [["victim", 1, 2, 3]]}',
        '{"whole": 7}',
    ],
)
def test_a_strangers_journal_removes_nothing_but_itself(tmp_path: Path, content: str) -> None:
    """A journal that does not identify its files exactly removes none of them."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "victim").write_bytes(b"mine")
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / ".initreg-0123abcd-journal").write_text(content)
        initreg.save(folder / "m.npz", {"a": np.ones(1)})
        assert (folder / "victim").read_bytes() == b"mine"
        assert "journal" not in " ".join(os.listdir(folder))


def test_a_file_that_took_the_name_since_is_left_alone(tmp_path: Path) -> None:
    """A file with a listed name is not removed if it is another file by now."""
    (tmp_path / "part").write_bytes(b"old")
    with journals.journal(tmp_path, "gone", [], ["part"]):
        name = next(n for n in os.listdir(tmp_path) if n.endswith("journal"))
        content = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "part").unlink()
    (tmp_path / "part").write_bytes(b"another")
    journals.recover(tmp_path)
    assert (tmp_path / "part").read_bytes() == b"another"


def test_a_disk_that_is_full_at_the_journal(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """If the journal itself cannot be written, nothing is renamed, and no part of it stays."""
    (tmp_path / "part").write_bytes(b"1")
    (tmp_path / "old").write_bytes(b"2")
    with (
        full_disk(20),
        pytest.raises(OSError, match="too large"),
        journals.journal(tmp_path, "index", [("m.data", tmp_path / "part")], ["old"]),
    ):
        pytest.fail("the block was run")
    assert sorted(os.listdir(tmp_path)) == ["old", "part"]
