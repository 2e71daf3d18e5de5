"""What holds for every test: a quiet TensorFlow, and hypothesis without a clock."""

from __future__ import annotations

import os

# Before anything imports TensorFlow: its C++ side reads these once, when it is loaded. Subprocesses
# that the tests start inherit them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no banners on stderr, which some tests read
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # sums in one order: the same bits everywhere
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the tests are about the CPU
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import resource
import signal
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
