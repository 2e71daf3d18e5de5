"""``make compare BASE=main~10``: this checkout beside another commit, in ten minutes.

The commit is checked out into a temporary folder. Each workload runs in fresh processes, those of
the two checkouts in turn, and the first one alternates, so that whatever else the machine does
meets both. Three measures are printed, as ratios of ours to theirs:

- steps: instructions of Python's virtual machine (:mod:`counting`), which are the same each time.
- instructions of the processor, by ``valgrind --tool=callgrind`` or ``perf stat``, if one of them
  is installed and can count. They differ by about a thousandth from run to run. The start of
  Python and the imports are among them.
- processor time: the median of the ratios of neighbouring runs, with their quartiles. If the
  quartiles are on both sides of 1, the run proves nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAMES = 2_000  # of a workload
COUNTED = 500  # of one whose steps are counted, which is a hundred times slower

_INIT = """
import pathlib, sys, tempfile, time
sys.path.insert(0, {here!r})
import counting
names = [f"encoder/layer_{{i // 8}}/attention/{{i % 8}}" for i in range({n})]
with tempfile.TemporaryDirectory() as folder:
    calls = dict(counting.workloads(names, pathlib.Path(folder)))
    call = calls[{what!r}]
    call()
    start = time.process_time()
    for _ in range({times}):
        call()
    print(time.process_time() - start)
"""


def environment(checkout: Path) -> dict[str, str]:
    """That of a process that imports initreg and its plugins from a checkout."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    plugins = [checkout / "plugins", *sorted(checkout.glob("plugins/initreg-*/src"))]
    paths = os.pathsep.join(map(str, [checkout, *plugins]))
    return kept | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0"}


def run(checkout: Path, command: Sequence[str]) -> str:
    done = subprocess.run(
        [*command], env=environment(checkout), capture_output=True, text=True, check=False
    )
    missing = re.search(r"^ModuleNotFoundError: No module named '(.+)'$", done.stderr, re.MULTILINE)
    if missing and checkout != ROOT:
        raise SystemExit(
            f"The other commit needs the module {missing[1]}, which is not installed. Install it "
            "beside what this one needs, and compare again"
        )
    if done.returncode:
        raise RuntimeError(f"{command} failed in {checkout}: {done.stderr[-2000:]}")
    return done.stdout + done.stderr


def counter() -> Callable[[Path, Sequence[str]], float] | None:
    """What counts the instructions that a process of a checkout executes, None if nothing can."""
    if shutil.which("perf"):
        command = ["perf", "stat", "-x,", "-e", "instructions:u"]

        def by_perf(checkout: Path, python: Sequence[str]) -> float:
            found = re.search(r"^(\d+),", run(checkout, [*command, *python]), re.MULTILINE)
            return float(found[1]) if found else 0.0

        if by_perf(ROOT, [sys.executable, "-c", "pass"]):
            return by_perf
    if shutil.which("valgrind"):
        with tempfile.NamedTemporaryFile() as file:
            out = f"--callgrind-out-file={file.name}"
        grind = ["valgrind", "--tool=callgrind", out]

        def by_valgrind(checkout: Path, python: Sequence[str]) -> float:
            found = re.search(r"Collected : (\d+)", run(checkout, [*grind, *python]))
            Path(file.name).unlink(missing_ok=True)
            return float(found[1]) if found else 0.0

        return by_valgrind
    return None


def steps(checkout: Path) -> dict[str, float]:
    """The steps of each workload. Those of the base are counted by the code of this checkout."""
    text = run(checkout, [sys.executable, str(HERE / "counting.py"), str(COUNTED)])
    lines = [line.strip().partition("  ") for line in text.splitlines()]
    return {what: float(count) for count, _, what in lines}


def timed(what: str, times: int) -> list[str]:
    return [sys.executable, "-c", _INIT.format(here=str(HERE), n=NAMES, what=what, times=times)]


def ratios(base: Path, what: str, until: float) -> list[float]:
    """Of processor times, of runs next to each other."""
    found: list[float] = []
    times = 5
    while len(found) < 4 or time.monotonic() < until:
        order = (ROOT, base) if len(found) % 2 else (base, ROOT)
        seconds = {checkout: float(run(checkout, timed(what, times))) for checkout in order}
        found.append(seconds[ROOT] / seconds[base])
    return found


def compared(base: Path, minutes: float) -> None:
    here, there = steps(ROOT), steps(base)
    print(f"{'':36}{'steps':>10}   processor time (quartiles)")
    for what in here:
        found = ratios(base, what, time.monotonic() + 60 * minutes / len(here))
        low, middle, high = statistics.quantiles(found, n=4)
        told = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        print(f"{what:36}{here[what] / there[what]:10.3f}   {told}", flush=True)
    count = counter()
    if count is None:
        print("Neither perf nor valgrind can count instructions here.")
        return
    print("\ninstructions of whole processes, in millions (import numpy is the same on both sides)")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "m.safetensors")
        made = f"import initreg, numpy; initreg.save({path!r}, {{'w': numpy.zeros(3)}})"
        run(ROOT, [sys.executable, "-c", made])
        for what, command in (
            ("python -c 'import numpy'", ["-c", "import numpy"]),
            ("initreg probe", ["-m", "initreg", "probe", path]),
            ("initreg ls", ["-m", "initreg", "ls", path]),
            ("import initreg, plan a dict", ["-c", _PLAN]),
        ):
            python = [sys.executable, *command]
            both = []
            for checkout in (ROOT, base):
                run(checkout, python)  # so that the bytecode is there
                both.append(count(checkout, python) / 1e6)
            print(f"{what:36}{both[0]:10.0f} {both[1]:10.0f} {both[0] / both[1]:8.3f}", flush=True)


_PLAN = """
import numpy, initreg
arrays = {f"a/{i}": numpy.zeros(2) for i in range(2000)}
initreg.SmartInit(arrays).plan({name: a.copy() for name, a in arrays.items()})
"""


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        raise SystemExit("usage: comparing.py COMMIT [MINUTES]")
    minutes = float(arguments[1]) if len(arguments) > 1 else 8.0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(base), arguments[0]], check=True)
        try:
            compared(base, minutes)
        finally:
            subprocess.run([*git, "remove", "--force", str(base)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
