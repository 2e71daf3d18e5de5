"""A process that forks while its threads read: the child can use initreg, and what it inherited.

Each test runs a program in a process of its own, which is ended if it hangs.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import initreg

_SECONDS = 120
_BEGIN = """
import os, sys, threading, time
import numpy as np
import initreg

def fork(child):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            child()
            sys.stdout.flush()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

path = sys.argv[1]
"""


def _run(program: str, path: Path) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", _BEGIN + textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@pytest.fixture(params=[".npz", ".safetensors", ".h5"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of several megabytes, some of it in large arrays that several threads read."""
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.standard_normal((64, 1024)).astype("f4") for i in range(20)}
    arrays["large"] = np.arange(3 << 20, dtype="f4")
    found = tmp_path / f"m{request.param}"
    initreg.save(found, arrays, compress=request.param == ".npz")
    return found


@pytest.mark.slow
def test_fork_while_threads_restore(path: Path) -> None:
    """Children that are forked at any moment of restores restore the file themselves."""
    printed = _run(
        """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                target = {"large": np.zeros(3 << 20, "f4"), "w3": np.zeros((64, 1024), "f4")}
                initreg.SmartInit(path).init(target)
        import warnings
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=work) for _ in range(2)]
        for each in threads: each.start()
        def child():
            target = {"large": np.zeros(3 << 20, "f4")}
            initreg.SmartInit(path, keep="large").init(target)
            print(int(target["large"][-1]) + 1 == 3 << 20)
        for moment in range(12):
            time.sleep(0.003 * moment)
            print(fork(child))
        stop.set()
        for each in threads: each.join()
        """,
        path,
    )
    assert printed == ["True", "0"] * 12


def test_fork_at_the_first_use(path: Path) -> None:
    """A child that is forked while a thread imports what it needs does not wait for that."""
    printed = _run(
        """
        thread = threading.Thread(target=initreg.load, args=(path,))
        thread.start()
        time.sleep(0.02)
        print(fork(lambda: print(len(initreg.load(path)))))
        thread.join()
        """,
        path,
    )
    assert printed == ["21", "0"]


def test_inherited_map(path: Path) -> None:
    """A child reads from a map that threads of its parent read from, and closes it."""
    printed = _run(
        """
        arrays = initreg.open(path)
        stop = threading.Event()
        def work():
            while not stop.is_set():
                arrays["large"].read()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for each in threads: each.start()
        def child():
            print(int(arrays["large"].read()[-1]) + 1 == 3 << 20)
            arrays.close()
        for moment in range(12):
            time.sleep(0.003 * moment)
            print(fork(child))
        stop.set()
        for each in threads: each.join()
        arrays["w1"].read()
        arrays.close()
        """,
        path,
    )
    assert printed == ["True", "0"] * 12
