"""One restore, measured in this process, which has done nothing else before.

Memory is touched first: the first touch of a page in a virtual machine costs many times the next.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Run:
    """``setup`` makes what is restored into, ``restore`` is timed, ``use`` reads every byte of it;
    ``step``, if there is one, trains for one step."""

    setup: Callable[[], Any]
    restore: Callable[[Any], Any]
    use: Callable[[Any], None]
    step: Callable[[Any], Any] | None = None


@dataclass
class Figures:
    """Of one run. Memory in MB: what the process took more at its peak, after the restore, and
    after a training step, than before the restore."""

    seconds: float
    peak: float
    after: float
    trained: float


def median(figures: list[Figures], what: str) -> float:
    return statistics.median(getattr(each, what) for each in figures)


def in_process(command: list[str]) -> Figures:
    """What a new Python process that prints the figures of a run says. Python may keep the bytecode
    of what it imports, as it does of an installed package."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr[-2000:]}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def measured(run: Run, megabytes: float) -> Figures:
    target = run.setup()
    touched = np.ones(int(megabytes * 1.5e6 / 8) + 1_000_000)
    del touched
    gc.collect()
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is counted from here
    start = time.perf_counter()
    kept = run.restore(target)
    seconds = time.perf_counter() - start
    peak = memory("VmHWM") - before
    run.use(target if kept is None else kept)
    gc.collect()
    after = memory("VmRSS") - before
    trained = 0.0
    if run.step is not None:
        run.step(target)
        gc.collect()
        trained = memory("VmRSS") - before
    return Figures(seconds, peak, after, trained)


def memory(which: str) -> float:
    """MB, of this process."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) * 1024 / 1e6
