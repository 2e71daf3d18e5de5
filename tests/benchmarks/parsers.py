"""How long ``initreg probe`` takes if another library parses the command line.

    python tests/benchmarks/parsers.py [ROUNDS]

It writes the same verbs and options for each library that is installed (click, rich-click, typer,
cyclopts, rich-argparse, argcomplete), runs each in processes of its own, by turns, and prints the
median of the time of the processor, which other programs do not change much. CONTRIBUTING.md has
the figures and what was decided.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from initreg import cli

PROBE = """
import argparse
def probe(path):
    from initreg.cli.verbs import probe
    return probe.run(argparse.Namespace(path=path, json=False))
"""
WRAPPED = {
    "argparse": "from initreg.cli import main; main()",
    "rich_argparse": "import rich_argparse\nfrom initreg.cli import main; main()",
    "argcomplete": "import argcomplete\nfrom initreg import cli\n"
    "argcomplete.autocomplete(cli.parser()); cli.main()",
}


def options(verb: argparse.ArgumentParser) -> Iterator[tuple[str, str, bool, int, bool]]:
    """The flag, name, whether it takes no value, how many values, and whether it is repeated."""
    for action in verb._actions:
        if action.option_strings and action.dest != "help":
            many = action.nargs if isinstance(action.nargs, int) and action.nargs else 1
            repeated = isinstance(action, argparse._AppendAction)
            yield action.option_strings[-1], action.dest, action.nargs == 0, many, repeated


def with_click(library: str) -> str:
    lines = [f"import {library} as click", PROBE, "@click.group()\ndef top(): pass"]
    for name, verb in cli.parser().verbs.items():
        lines.append(f"@top.command({name!r})\n@click.argument('path')")
        for flag, dest, is_flag, many, repeated in options(verb):
            how = "is_flag=True" if is_flag else f"nargs={many}, multiple={repeated}"
            lines.append(f"@click.option({flag!r}, {dest!r}, {how}, help='What it does.')")
        lines.append("def run(path, **others): probe(path)")
    return "\n".join([*lines, "top()"])


def with_types(library: str) -> str:
    """typer and cyclopts read the signatures of functions."""
    is_typer = library == "typer"
    app = "typer.Typer()" if is_typer else "cyclopts.App(name='initreg')"
    mark = "typer.Option({0!r}" if is_typer else "cyclopts.Parameter(name={0!r}"
    lines = ["from typing import Annotated", f"import {library}", PROBE, f"top = {app}"]
    for name, verb in cli.parser().verbs.items():
        found = ["path: str"]
        for flag, dest, is_flag, _, repeated in options(verb):
            kind, default = ("list[str] | None", "None") if repeated else ("str", "''")
            kind, default = ("bool", "False") if is_flag else (kind, default)
            marked = mark.format(flag) + ", help='What it does.')"
            found.append(f"{dest}_: Annotated[{kind}, {marked}] = {default}")
        lines.append(f"@top.command(name={name!r})\ndef run({', '.join(found)}): probe(path)")
    return "\n".join([*lines, "top()"])


def main(rounds: int) -> None:
    programs = {name: text for name, text in WRAPPED.items() if _is_here(name)}
    programs |= {each: with_click(each) for each in ("click", "rich_click") if _is_here(each)}
    programs |= {each: with_types(each) for each in ("typer", "cyclopts") if _is_here(each)}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "m.npz", w=np.ones(3))
        for name, text in programs.items():
            (Path(folder) / f"with_{name}.py").write_text(text)
        for number in range(rounds + 1):  # the first round compiles the modules
            for name in programs:
                begin = used()
                command = [sys.executable, f"with_{name}.py", "probe", "m.npz"]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
                if not done.stdout.startswith("m.npz: npz (EXACT"):
                    sys.exit(f"{name}: {done.stdout}{done.stderr}")
                if number:
                    taken[name].append(used() - begin)
    base = statistics.median(taken["argparse"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:14} {1000 * median:.0f} ms  {median / base:.2f}x")


def used() -> float:
    """The time of the processor that processes of this one took so far, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def _is_here(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
