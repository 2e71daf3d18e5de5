"""``make bench``: every subject in a fresh process, its rows as a table in docs/benchmarks.md.

``--quick`` takes smaller sizes and writes nothing. A subject is a module of this folder that has a
TITLE, a NOTE, and prints its rows as JSON when it is run.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from measure import Row

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
SUBJECTS = ("planning",)
PACKAGES = ("initreg", "numpy")

HEAD = """\
# Benchmarks

Made by `make bench`; `make bench QUICK=1` prints a smaller one, for the before and after of a
change. Ours and the peer alternate in one fresh process, after a warm-up; times are medians, with
the least and the most of them. Compare ratios: seconds depend on the machine. The peak is what
Python and numpy allocated in a run of its own. A row that misses its goal says so.
"""


def seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def goal(row: Row) -> str:
    if row.met is None:
        return ""
    bound = (
        f"under {row.goal_seconds:g} s"
        if row.goal_seconds is not None
        else f"at most {row.goal_ratio:g}x"
    )
    return f"{bound}: {'met' if row.met else '**missed**'}"


def table(rows: list[Row]) -> str:
    lines = [
        "| what | n | ours | spread | peer | peer's | ours/peer | peak | goal |",
        "| --- | --: | --: | --- | --- | --: | --: | --: | --- |",
    ]
    lines += [
        f"| {row.what} | {row.n:,} | {seconds(row.ours)} "
        f"| {seconds(row.least)} to {seconds(row.most)} | {row.peer} | {seconds(row.theirs)} "
        f"| {row.ratio:.1f} | {row.peak_mb:.3g} MB | {goal(row)} |"
        for row in rows
    ]
    return "\n".join(lines)


def measured(subject: str, quick: bool) -> list[Row]:
    command = [sys.executable, str(HERE / f"{subject}.py"), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Row(**row) for row in json.loads(done.stdout)]


def main(quick: bool) -> None:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    parts = [
        HEAD,
        f"Python {platform.python_version()}, {versions}, {platform.system()}, "
        f"{len(os.sched_getaffinity(0))} cores.\n",
    ]
    for subject in SUBJECTS:
        module = importlib.import_module(subject)
        rows = table(measured(subject, quick))
        print(f"{module.TITLE}\n\n{rows}\n", flush=True)
        parts.append(f"## {module.TITLE}\n\n{module.NOTE}\n{rows}\n")
    if not quick:
        PAGE.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main("--quick" in sys.argv)
