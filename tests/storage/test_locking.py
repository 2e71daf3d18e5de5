"""initreg.storage.locking: one save at a time gives its files their names in a folder."""

from __future__ import annotations

import fcntl
import linecache
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from initreg import UnwritableFile
from initreg.storage import locking
from initreg.storage.locking import locked


def test_a_thread_waits_for_another(tmp_path: Path) -> None:
    """A thread waits for the block of another thread, but not for a lock of another folder."""
    (tmp_path / "other").mkdir()
    order: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def first() -> None:
        with locked(tmp_path):
            inside.set()
            assert go.wait(30)
            order.append("first")

    def second() -> None:
        with locked(tmp_path):
            order.append("second")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(30)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    with locked(tmp_path / "other"):
        order.append("other")
    go.set()
    for thread in threads:
        thread.join(30)
    assert order == ["other", "first", "second"]


def test_the_same_thread_may_enter_again(tmp_path: Path) -> None:
    """A thread can take a lock again, by any path of the folder, and holds it to the last
    block's end."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with locked(tmp_path):
        with locked(link):
            pass
        assert subprocess.run([*_TRY, str(tmp_path)], check=False).returncode == 3
    assert subprocess.run([*_TRY, str(tmp_path)], check=False).returncode == 0


def test_interrupted_at_any_line(tmp_path: Path) -> None:
    """Ctrl-C at any line of the locking leaves nothing that is locked once the thread has locked
    and left the folder again."""

    class Interrupt:
        count, at = 0, -1

        def __call__(self, frame: FrameType, event: str, argument: object) -> object:
            if frame.f_code.co_filename != locking.__file__:
                return None
            # Python looks for signals at calls and jumps. A bare "try:" is a line to a tracer only.
            line = linecache.getline(locking.__file__, frame.f_lineno).strip()
            if event == "line" and line != "try:":
                self.count += 1
                if self.count == self.at:
                    raise KeyboardInterrupt
            return self

    def interrupted(folder: Path, at: int) -> int:
        tracer = Interrupt()
        tracer.at = at
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            with locked(folder):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        return tracer.count

    lines = interrupted(tmp_path, -1)
    assert lines > 20
    for at in range(1, lines + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        interrupted(folder, at)
        with locked(folder):
            pass
        other = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"the folder is locked after an interrupt at line {at} of {lines}")
        finally:
            os.close(other)


_TRY = [
    sys.executable,
    "-c",
    "import fcntl, os, sys\n"
    "try: fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError: sys.exit(3)\n",
]
_HOLD = (
    "import sys; from pathlib import Path; from initreg.storage.locking import locked\n"
    "with locked(Path(sys.argv[1])): print('ready', flush=True); sys.stdin.read()\n"
)


def test_a_process_waits_for_another_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process waits for another one up to a limit; a killed process holds no lock."""
    monkeypatch.setattr(locking, "PATIENCE", 0.2)
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(
            UnwritableFile, match=r"has held its lock for 0\.2 s\. Nothing was changed"
        ):
            with locked(tmp_path):
                pass
        process.kill()
        process.wait()
        with locked(tmp_path):
            assert os.listdir(tmp_path) == []


def test_a_forked_child_neither_has_nor_keeps_the_lock(tmp_path: Path) -> None:
    """A worker that is forked during a save does not hold its lock, nor wait for its
    parent's threads."""
    read, write = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if not child:  # waits for its parent to be out
            os.read(read, 1)
            with locked(tmp_path):
                os._exit(0)
    assert subprocess.run([*_TRY, str(tmp_path)], check=False).returncode == 0
    os.write(write, b"x")
    assert os.waitpid(child, 0)[1] == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Locking a missing folder is no error and does not create it; writing into it is an error."""
    entered = False
    with locked(tmp_path / "no"):
        entered = True
    assert entered
    assert os.listdir(tmp_path) == []


def test_an_error_gives_it_back(tmp_path: Path) -> None:
    """The lock is released if the block raises."""
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert subprocess.run([*_TRY, str(tmp_path)], check=False).returncode == 0
