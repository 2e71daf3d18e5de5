"""Ours and a peer's, each time in a fresh process, alternating.

The parent has imported what both need and run none of it; a fork of it is as fresh as a process
that has just imported them, and is there at once. In the fork memory is touched first: the first
touch of a page in a virtual machine costs many times the next.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
import traceback
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


def alternate(runs: dict[str, Run], megabytes: float, times: int) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            found[name].append(in_fork(run, megabytes))
    return found


def median(figures: list[Figures], what: str) -> float:
    return statistics.median(getattr(each, what) for each in figures)


def in_fork(run: Run, megabytes: float) -> Figures:
    """Raises RuntimeError if the fork fails."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = json.dumps(vars(measured(run, megabytes)))
        except BaseException:
            answer = ""
            traceback.print_exc()
        os.write(writing, answer.encode())
        sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("the measured process failed")
    return Figures(**json.loads(text))


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
