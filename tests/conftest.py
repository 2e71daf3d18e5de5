"""Settings for every test: a quiet TensorFlow, hypothesis without deadlines, what runs first, and a
sign of life during long tests."""

from __future__ import annotations

import os

# Before anything imports TensorFlow: its C++ side reads these once, when it is loaded. Subprocesses
# that the tests start inherit them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no banners on stderr, which some tests read
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # sums in one order: the same bits everywhere
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the tests are about the CPU
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# No deadline: the first example may import TensorFlow, and machines differ. In CI the examples are
# the same each time, so that a failure there is about the change and not about luck.
settings.register_profile(
    "initreg", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", settings.get_profile("initreg"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "initreg")


# Files that import a framework at their top, themselves or by a helper of the tests. Tests that do
# so inside have the marker `framework`.
_FRAMEWORK = re.compile(
    r"^(?:import|from) (?:tensorflow|keras|tf_keras|tensorpack|safetensors\.tensorflow"
    r"|google\.protobuf|keras_models|layer_models)\b",
    re.MULTILINE,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-framework",
        action="store_true",
        help="leave out the tests that need TensorFlow, Keras or tensorpack",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --no-framework, do not import a file, or a folder's conftest.py, that imports one."""
    if not config.getoption("--no-framework"):
        return None
    folder = collection_path.is_dir()
    path = collection_path / "conftest.py" if folder else collection_path
    is_code = path.suffix == ".py" and path.is_file()
    return True if is_code and _FRAMEWORK.search(path.read_text("utf-8")) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --no-framework, tests with the marker are deselected."""
    if config.getoption("--no-framework"):
        marked = [item for item in items if item.get_closest_marker("framework")]
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in set(marked)]


class _SignsOfLife:
    """Prints which tests are running whenever none has ended for half a minute.

    Only for runs with several processes. There this process runs no test, so what it prints is
    never captured as the output of one.
    """

    seconds = 30.0

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._running: dict[str, float] = {}
        self._last = time.monotonic()
        self._within_line = False  # of dots
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._last = time.monotonic()
        self._within_line = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1):
            now = time.monotonic()
            if now - self._last >= self.seconds:
                self._last = now
                running = self._running.copy().items()
                tests = [f"{nodeid} ({now - since:.0f} s)" for nodeid, since in running]
                newline = "\n" if self._within_line else ""
                self._within_line = False
                what = f"still running: {', '.join(tests)}" if tests else "still collecting tests"
                self._reporter.write_line(newline + what)


@pytest.hookimpl(trylast=True)  # after pytest's own, which makes the reporter
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_SignsOfLife(reporter), "initreg-signs-of-life")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An npz of two arrays: w, all 2, and b, all 3."""
    np.savez(tmp_path / "base.npz", w=np.full((2, 3), 2, "f4"), b=np.full(3, 3, "f4"))
    return tmp_path / "base.npz"


@contextmanager
def _full_disk(nbytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """``with full_disk(nbytes):`` no file grows beyond so many bytes; the system says EFBIG."""
    return _full_disk
