"""initreg.storage.output: the files of one save are all there, or none is."""

# ruff: noqa: PT012 - what raises is a save, which is a block

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError
from initreg.errors import UnwritableFile
from initreg.storage.output import Output, written


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    """The old file is there until the new one is complete."""
    path = tmp_path / "m.bin"
    path.write_bytes(b"old")
    with written(path) as out:
        beside = out.file()
        beside.write_bytes(b"new")
        assert beside.parent == tmp_path
        assert beside.name.endswith("-m.bin")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["m.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InitregError])
def test_whatever_raises_leaves_the_old(tmp_path: Path, error: type[BaseException]) -> None:
    """If the block raises, the old file stays, nothing else is left, and the error is not
    changed."""
    path = tmp_path / "m.bin"
    path.write_bytes(b"old")
    with pytest.raises(error, match=r"^why$"):
        with written(path) as out:
            out.file().write_bytes(b"new")
            out.file("m.part").write_bytes(b"new")
            raise error("why")
    assert names(tmp_path) == ["m.bin"]
    assert path.read_bytes() == b"old"


def test_an_error_of_the_system_says_what_it_means(tmp_path: Path) -> None:
    """A full disk is an UnwritableFile, which is an OSError too, and names the file."""
    path = tmp_path / "m.bin"
    with pytest.raises(UnwritableFile, match=r"m\.bin: cannot be written: No space left") as caught:
        with written(path) as out:
            out.file()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert isinstance(caught.value, OSError)
    assert names(tmp_path) == []


def test_files_become_visible_in_the_order_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are renamed in the order in which they were asked for, so that an index comes last."""
    seen: list[list[str]] = []
    replace = os.replace

    def see(source: Path, target: Path) -> None:
        replace(source, target)
        seen.append([name for name in names(tmp_path) if not name.startswith(".")])

    monkeypatch.setattr(os, "replace", see)
    with written(tmp_path / "m") as out:
        first, last = out.file("m.data"), out.file("m.index")
        last.write_bytes(b"2")
        first.write_bytes(b"1")
    assert seen == [["m.data"], ["m.data", "m.index"]]


def test_all_is_flushed_before_anything_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is flushed before the first rename, and the folder after the last one."""
    events: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (events.append("sync"), sync(d))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("name"), replace(a, b))[1])
    with written(tmp_path / "m") as out:
        out.file("a")
        out.file("b")
    assert events == ["sync", "sync", "name", "name", "sync"]


def test_what_is_large_is_flushed_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread flushes a large file while it is written; an error of the thread fails the save."""
    flushed = threading.Event()
    sync = os.fsync

    def see(descriptor: int) -> None:
        sync(descriptor)
        if threading.current_thread() is not threading.main_thread():
            flushed.set()
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", see)
    with pytest.raises(UnwritableFile, match="Input/output error"):
        with written(tmp_path / "m") as out:
            with open(out.file(), "wb") as file:
                file.write(bytes(9 << 20))
                file.flush()
                assert flushed.wait(30)
    assert names(tmp_path) == []
    assert "initreg-flush" not in [thread.name for thread in threading.enumerate()]


def test_a_new_part_goes_if_the_whole_cannot_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the rename of the index fails, the data file that was renamed before is removed."""
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if str(target).endswith("index"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    (tmp_path / "m.index").write_bytes(b"old")
    with pytest.raises(UnwritableFile, match="Input/output error"):
        with written(tmp_path / "m") as out:
            out.file("m.data")
            out.file("m.index")
    assert names(tmp_path) == ["m.index"]
    assert (tmp_path / "m.index").read_bytes() == b"old"


def test_what_is_obsolete_goes_last(tmp_path: Path) -> None:
    """Obsolete files are removed last, only after success, and never if they were just written."""
    for name in ("m.1", "m.2"):
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        with written(tmp_path / "m") as out:
            out.obsolete("m.1")
            raise ZeroDivisionError
    assert names(tmp_path) == ["m.1", "m.2"]
    with written(tmp_path / "m") as out:
        for name in ("m.1", "m.2", "m.3"):
            out.obsolete(name)
        out.file("m.2").write_bytes(b"new")
        assert (tmp_path / "m.1").exists()
    assert names(tmp_path) == ["m.2"]
    assert (tmp_path / "m.2").read_bytes() == b"new"


def test_the_mode_is_that_of_any_new_file_or_of_the_old_one(tmp_path: Path) -> None:
    """A new file has the usual mode or that of the old file, not 0600 like a temporary file."""
    mask = os.umask(0o027)
    try:
        with written(tmp_path / "new") as out:
            out.file()
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o604)
        with written(tmp_path / "old") as out:
            out.file()
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")]
    assert modes == [0o640, 0o604]


def test_a_link_stays_one(tmp_path: Path) -> None:
    """A link stays a link, and its target is replaced."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far/m").write_bytes(b"old")
    (tmp_path / "link").symlink_to("far/m")
    with written(tmp_path / "link") as out:
        out.file().write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far/m").read_bytes() == b"new"
    assert names(tmp_path / "far") == ["m"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The error for a missing folder says to create it."""
    with pytest.raises(UnwritableFile, match=r"folder .*nowhere' does not exist\. Create it first"):
        with written(tmp_path / "nowhere/m") as out:
            out.file()


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    """A folder is not replaced by a file."""
    (tmp_path / "m").mkdir()
    with pytest.raises(UnwritableFile, match="is a folder"):
        with written(tmp_path / "m") as out:
            out.file()
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../m"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """A format can only write into the folder of the path."""
    with pytest.raises(InitregError, match="is not a valid file name"):
        with written(tmp_path / "m") as out:
            out.file(name)
    assert names(tmp_path) == []


def test_one_name_twice(tmp_path: Path) -> None:
    """Asking for a name twice is an error, since one of the files would be lost."""
    with pytest.raises(InitregError, match="written twice"):
        with written(tmp_path / "m") as out:
            out.file("a")
            out.file("a")


def test_no_path() -> None:
    """An empty path is an error."""
    with pytest.raises(UnwritableFile, match="the path is empty"):
        Output("")


def test_a_disk_with_too_little_room(tmp_path: Path) -> None:
    """A disk that is too full is an error before anything is written, with both numbers."""
    with pytest.raises(UnwritableFile, match="needs 1,152,921,504,606,846,976 bytes, but only "):
        with written(tmp_path / "m") as out:
            out.need(1 << 60)
    with written(tmp_path / "m") as out:
        out.need(1)
        out.file()


def test_what_a_killed_process_left_is_taken_away_later(tmp_path: Path) -> None:
    """After an hour, hidden files that nobody holds are removed; those of a running save
    never are."""
    hour = 3600
    for name, age in (("m", 2 * hour), ("fresh", hour // 2)):
        (tmp_path / f".initreg-0123abcd-{name}").write_bytes(b"left")
        then = time.time() - age
        os.utime(tmp_path / f".initreg-0123abcd-{name}", (then, then))
    (tmp_path / ".initreg-x-m").write_bytes(b"not ours")
    os.utime(tmp_path / ".initreg-x-m", (0, 0))
    with written(tmp_path / "slow") as slow:
        beside = slow.file()
        os.utime(beside, (0, 0))
        with written(tmp_path / "m") as out:
            out.file()
        assert beside.exists()
    assert names(tmp_path) == [".initreg-0123abcd-fresh", ".initreg-x-m", "m", "slow"]


_SAVE_FOR_EVER = """
import sys
from pathlib import Path
from initreg.storage.output import written
for i in range(1_000_000):
    with written(Path(sys.argv[1], "m")) as out:
        first, last = out.file("m.data"), out.file("m.index")
        first.write_bytes(b"%d" % i * 1000)
        last.write_bytes(b"%d" % i)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """After a kill at any moment, the index is complete: that of this save or the one before."""
    for i in range(3):
        process = subprocess.Popen([sys.executable, "-c", _SAVE_FOR_EVER, str(tmp_path)])
        deadline = time.monotonic() + 30
        while not (tmp_path / "m.index").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 + 0.037 * i)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        index = int((tmp_path / "m.index").read_bytes())
        data = (tmp_path / "m.data").read_bytes()
        assert data in (b"%d" % index * 1000, b"%d" % (index + 1) * 1000)
        (tmp_path / "m.index").unlink()


def test_a_file_that_another_library_wrote(tmp_path: Path) -> None:
    """A file that take() adds is flushed and renamed in order, and removed if the block raises."""
    for fails in (True, False):
        (tmp_path / "theirs").write_bytes(b"new")
        (tmp_path / "m.index").write_bytes(b"old")
        try:
            with written(tmp_path / "m") as out:
                out.file("m.json").write_text("{}")
                out.take(tmp_path / "theirs", "m.index")
                out.flush()
                assert (tmp_path / "m.index").read_bytes() == b"old"
                if fails:
                    raise InitregError("why")
        except InitregError:
            assert fails
        standing = b"old" if fails else b"new"
        assert (tmp_path / "m.index").read_bytes() == standing
        assert names(tmp_path) == (["m.index"] if fails else ["m.index", "m.json"])


def test_a_file_to_take_that_is_not_there(tmp_path: Path) -> None:
    """take() of a missing file is one error, and so is a name that is used twice."""
    with pytest.raises(UnwritableFile, match="No such file"):
        with written(tmp_path / "m") as out:
            out.take(tmp_path / "theirs", "m.index")
    (tmp_path / "theirs").write_bytes(b"")
    with pytest.raises(InitregError, match="'m' is written twice"):
        with written(tmp_path / "m") as out:
            out.file()
            out.take(tmp_path / "theirs", "m")


# --- permissions, names and what is no file -----------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("m.npz", {}),
        ("m.npz", {"manifest": True}),
        ("m.h5", {}),
        ("m.ckpt", {}),
        ("m.safetensors", {}),
        ("m.safetensors", {"shard_size": 100}),
    ],
)
def test_what_is_private_stays_private(
    tmp_path: Path, name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of a save that replaces private ones is private, from the moment that it exists:
    data files and shards under new names, manifests, and one file in the place of shards."""
    seen: list[int] = []
    opened = os.open

    def see(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        descriptor = opened(path, flags, mode, **more)
        if flags & os.O_CREAT:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    arrays = {"a": np.ones(40), "b": np.ones(40)}
    initreg.save(tmp_path / name, arrays, **options)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    monkeypatch.setattr(os, "open", see)
    initreg.save(tmp_path / name, arrays, **options)
    assert set(modes(tmp_path).values()) == {0o600}
    initreg.save(tmp_path / name, arrays, manifest=True)
    assert set(modes(tmp_path).values()) == {0o600}
    assert set(seen) == {0o600}


def test_a_checkpoint_that_the_group_may_read(tmp_path: Path) -> None:
    """A new data file is as private as the index and the old data files all are."""
    initreg.save(tmp_path / "m.ckpt", {"a": np.ones(2)})
    (tmp_path / "m.ckpt.index").chmod(0o644)
    (tmp_path / "m.ckpt.data-00000-of-00001").chmod(0o640)
    initreg.save(tmp_path / "m.ckpt", {"a": np.ones(2)})
    data = {mode for name, mode in modes(tmp_path).items() if ".data-" in name}
    assert data == {0o640}
    assert modes(tmp_path)["m.ckpt.index"] == 0o644


@pytest.mark.parametrize("length", [200, 238, 250, 255])
@pytest.mark.parametrize("letter", ["a", "\N{GREEK SMALL LETTER PI}"])
@pytest.mark.parametrize("ending", [".npz", ".h5", ".safetensors"])
def test_a_long_name(tmp_path: Path, length: int, letter: str, ending: str) -> None:
    """A file name may have 255 bytes, as the system allows, though hidden names are longer."""
    room = length - len(ending)
    name = letter * (room // len(letter.encode())) + ending
    path = initreg.save(tmp_path / name, {"a": np.arange(3.0)})
    assert os.listdir(tmp_path) == [name]
    assert initreg.load(path)["a"].tolist() == [0, 1, 2]
    initreg.save(path, {"a": np.arange(4.0)})
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    """It is an UnwritableFile, and nothing is left."""
    with pytest.raises(UnwritableFile, match="File name too long"):
        initreg.save(tmp_path / ("a" * 256 + ".npz"), {"a": np.ones(1)})
    assert os.listdir(tmp_path) == []


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor is a link to one, or a socket. A device is told in the same way; none is tried here."""
    os.mkfifo(tmp_path / "pipe.npz")
    os.symlink("pipe.npz", tmp_path / "link.npz")
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(tmp_path / "s.npz"))
    before = sorted(os.listdir(tmp_path))
    for name in before:
        with pytest.raises(UnwritableFile, match="is a pipe, a socket or a device"):
            initreg.save(tmp_path / name, {"a": np.ones(1)})
    assert sorted(os.listdir(tmp_path)) == before
    assert stat.S_ISFIFO((tmp_path / "pipe.npz").stat().st_mode)
    assert stat.S_ISSOCK((tmp_path / "s.npz").stat().st_mode)
