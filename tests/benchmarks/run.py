"""``make bench``: every subject in a fresh process, its rows as a table in docs/benchmarks.md.

``--quick`` takes smaller sizes and writes nothing. A subject is a module of this folder that has a
TITLE, a NOTE, and prints its rows as JSON when it is run. Names of subjects as further arguments
choose among them: their sections of the page are replaced, if it was made with the same versions.
A section is written as soon as its subject is measured. All of them take an hour, and if they are
stopped, the rest can be named the next time.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from measure import Row

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
PLOT = DOCS / "benchmarks.svg"
SUBJECTS = ("restoring", "growing", "pytorch", "remote", "saving", "starting", "planning")
BRIDGE = HERE.parents[1] / ".venv-bridge" / "bin" / "python"
NO_TORCH = (
    "Not measured: torch was not installed. `make bridge` makes `.venv-bridge`, which has it."
)
PACKAGES = ("initreg", "numpy", "tensorflow", "keras", "h5py", "safetensors", "tensorpack")
PACKAGES += ("isal", "fastcrc", "ml-dtypes", "pluggy")

HEAD = """\
# Benchmarks

`make bench` writes this page. `make bench QUICK=1` prints a smaller one, for the before and after
of a change. Ours and the peer take turns. Times are medians, with the least and the most beside
them. Compare ratios, because seconds depend on the machine. A row that misses its goal says so.

![Times faster than each peer, and growth](benchmarks.svg)
"""


def seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def goal(row: Row) -> str:
    if row.met is None:
        return ""
    if row.goal_mb is not None:
        bound = f"peak under {row.goal_mb:.0f} MB"
    elif row.goal_seconds is not None:
        bound = f"under {row.goal_seconds:g} s"
    elif row.faster is not None:
        bound = f"{row.faster:g}x faster"
    else:
        bound = f"at most {row.goal_ratio:.3g}x"
    return f"{bound}: {'met' if row.met else '**missed**'}"


def spread(least: float | None, most: float | None) -> str:
    return "" if least is None or most is None else f"{seconds(least)} to {seconds(most)}"


def memory(ours: float | None, peer: float | None) -> str:
    if ours is None:
        return ""
    return f"{ours:.3g}" if peer is None else f"{ours:.0f} / {peer:.0f}"


def beside(row: Row) -> str:
    if not row.peer:
        return "| | |"
    times = spread(row.peer_least, row.peer_most)
    return f"{row.peer} | {seconds(row.theirs)} | {times} | {1 / row.ratio:.2f}x"


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| what | n | MB | ours | spread | peer | peer's | spread | faster | peak MB | after "
        "| trained | goal |",
        "| --- | --: | --: | --: | --- | --- | --: | --- | --: | --: | --: | --: | --- |",
    ]
    lines += [
        f"| {row.what} | {row.n:,} | {memory(row.megabytes, None)} | {seconds(row.ours)} "
        f"| {spread(row.least, row.most)} | {beside(row)} "
        f"| {memory(row.peak_mb or None, row.peer_peak_mb)} "
        f"| {memory(row.after_mb, row.peer_after_mb)} "
        f"| {memory(row.trained_mb or None, row.peer_trained_mb)} | {goal(row)} |"
        for row in rows
    ]
    return "\n".join(lines)


def constants(subject: str) -> tuple[str, str]:
    """TITLE and NOTE of a subject, which is not imported: it may import TensorFlow."""
    tree = ast.parse((HERE / f"{subject}.py").read_text("utf-8"))
    found = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return found["TITLE"], found["NOTE"]


def interpreter(subject: str) -> str | None:
    """The Python that measures a subject, None if there is none that has what it needs."""
    if subject != "pytorch" or importlib.util.find_spec("torch"):
        return sys.executable
    return str(BRIDGE) if BRIDGE.exists() else None


def measured(subject: str, quick: bool, python: str) -> list[Row]:
    command = [python, str(HERE / f"{subject}.py"), *(["--quick"] if quick else [])]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [Row(**row) for row in json.loads(done.stdout)]


def main(quick: bool, subjects: Sequence[str]) -> None:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    made_with = (
        f"Python {platform.python_version()}, {versions}; {platform.system()}, "
        f"{len(os.sched_getaffinity(0))} cores.\n"
    )
    page = f"{HEAD}\n{made_with}"
    if subjects and not quick:
        page = PAGE.read_text("utf-8")
        if made_with not in page:
            raise SystemExit(f"{PAGE} was made with other versions: run all subjects")
    found: dict[str, list[Row]] = {}
    failed: list[str] = []
    for subject in subjects or SUBJECTS:
        title, note = constants(subject)
        python = interpreter(subject)
        try:
            found[subject] = measured(subject, quick, python) if python else []
        except subprocess.CalledProcessError:
            failed.append(subject)  # it has said why. An hour of the others is not lost
            continue
        rows = table(found[subject]) if python else NO_TORCH
        print(f"{title}\n\n{rows}\n", flush=True)
        page = with_section(page, title, f"{note}\n{rows}\n")
        if not quick:
            PAGE.write_text(page, "utf-8")
    if not quick and {"restoring", "growing"} <= found.keys():
        from plot import draw  # which imports matplotlib

        draw(found["restoring"], found["growing"], PLOT)
    if failed:
        raise SystemExit(f"These subjects failed: {', '.join(failed)}")


def with_section(page: str, title: str, text: str) -> str:
    """The page with a section of this title, in the place of the one that it had, or at its end."""
    section = f"## {title}\n\n{text}"
    parts = re.split(r"\n(?=## )", page)
    titles = [part.partition("\n")[0] for part in parts]
    if f"## {title}" in titles:
        parts[titles.index(f"## {title}")] = section
    else:
        parts.append(section)
    return "\n".join(parts)


if __name__ == "__main__":
    main("--quick" in sys.argv, [each for each in sys.argv[1:] if not each.startswith("-")])
