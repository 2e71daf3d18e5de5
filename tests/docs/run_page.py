"""Run a page of the documentation: every block, from top to bottom, in the current folder.

    python run_page.py PAGE [GIVEN]

All blocks of a page share one namespace. What the page presupposes is made by ``given/PAGE.py``, a
module with any of these, where ``page`` has the names of the page as attributes:

    def given(page)         makes files in the current folder, and names: ``page.model = ...``
    BEFORE = {words: f}     ``f(page)`` goes before the one block that has these words
    AFTER = {words: f}      ``f(page, again)`` looks at what the block came to; ``again()`` runs it
                            once more, ``again(old, new)`` with a text replaced
    APART = {words: f}      the block is run in a process of its own, after ``f(page)``
    def after(page)         looks at what the page came to

``python`` blocks have to run, ``pycon`` blocks to print what they show, warnings included. Each
command of a ``console`` block is run by a shell, has to print what is shown, if anything is, and to
succeed, unless what is shown says that it does not. The exit code is 0 if all of that is so.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

from pages import Block, Command, blocks_of, commands_of

# What the output of a command that does not succeed looks like, and its exit code.
FAILURES = {
    r"^initreg: ": 2,  # an error
    r"^it would fail": 1,  # plan
    r": \d+ problems? \(": 1,  # verify
}


FOREIGN = r"initreg-gguf|^WARNING: All log messages before absl|^[IWE]\d{4} \d+:\d+:\d+\.\d+ "


class WrongPage(Exception):
    """The page says something else than what happens."""


def given_path(page: Path) -> Path:
    """Where what is given for a page would be."""
    name = page.parent.name if page.parent.parent.name == "plugins" else page.stem
    return Path(__file__).parent / "given" / f"{name}.py"


def load(path: Path) -> ModuleType:
    """The module of what is given; an empty one if there is none."""
    if not path.exists():
        return ModuleType("given")
    spec = importlib.util.spec_from_file_location("given_for_the_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_page(path: Path, given_by: Path) -> None:
    """Run all of it. Raises what a block raises, or WrongPage."""
    blocks = [block for block in blocks_of(path) if block.is_run]
    module = load(given_by)
    page = SimpleNamespace(__name__="__main__")
    steps = {kind: getattr(module, kind, {}) for kind in ("BEFORE", "AFTER", "APART")}
    for kind, functions in steps.items():
        for words in functions:
            count = sum(words in block.text for block in blocks)
            if count != 1:
                raise WrongPage(f"{given_by}: {kind}: {count} blocks have the words {words!r}")
    _call(module, "given", page)
    for block in blocks:

        def again(old: str = "", new: str = "", block: Block = block) -> None:
            if old not in block.text:
                raise WrongPage(f"{block.where}: has no {old!r}")
            changed = replace(block, text=block.text.replace(old, new) if old else block.text)
            apart = [words for words in steps["APART"] if words in block.text]
            if apart:
                _run_apart(changed, given_by, apart[0])
            else:
                _RUN[block.language](changed, page)

        print(f"--- {block.where}", flush=True)
        for words, function in steps["BEFORE"].items():
            if words in block.text:
                function(page)
        again()
        for words, function in steps["AFTER"].items():
            if words in block.text:
                function(page, again)
    _call(module, "after", page)


def _call(module: ModuleType, name: str, page: SimpleNamespace) -> None:
    function: Callable[[SimpleNamespace], None] | None = getattr(module, name, None)
    if function is not None:
        function(page)


# --- one block ------------------------------------------------------------------------------------


def _run_python(block: Block, page: SimpleNamespace) -> None:
    # With as many empty lines before it that a traceback shows the lines of the page.
    lines = "\n" * (block.line - 1)
    exec(compile(lines + block.text, block.page, "exec", dont_inherit=True), vars(page))


def _run_pycon(block: Block, page: SimpleNamespace) -> None:
    names = vars(page)
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.text, {}, block.where, str(block.page), block.line - 1)
    test.globs = names  # not a copy, which get_doctest makes
    if not test.examples:
        raise WrongPage(f"{block.where}: has no example")
    said: list[str] = []
    with _printed_warnings():
        result = doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
    if result.failed:
        raise WrongPage("".join(said))


@contextlib.contextmanager
def _printed_warnings() -> Iterator[None]:
    """Every warning is printed where the examples print, each time, without the place in a file."""

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        print(f"{category.__name__}: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def _run_console(block: Block, page: SimpleNamespace) -> None:
    commands = list(commands_of(block))
    if not commands or not block.text.startswith("$ "):
        raise WrongPage(f"{block.where}: a console block begins with a command: $ ...")
    for command in commands:
        if command.prefix is None:
            print(f"$ {command.text}", flush=True)
            _run_command(block, command)


def _run_command(block: Block, command: Command) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in (("initreg", "-P -m initreg"), ("python", "")):
            script = Path(folder, name)
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            script.chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", command.text],
            env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
    what = f"{block.where}: $ {command.text}"
    if command.shown and not fits(command.shown, done.stdout):
        raise WrongPage(f"{what}\nprints\n{done.stdout}\nand the page shows\n{command.shown}")
    codes = [code for words, code in FAILURES.items() if re.search(words, command.shown, re.M)]
    expected = codes[0] if codes else 0
    if done.returncode != expected:
        raise WrongPage(
            f"{what}\nends with exit code {done.returncode}, and by what the page shows it should "
            f"be {expected}. It prints\n{done.stdout}"
        )


def fits(shown: str, printed: str) -> bool:
    """Whether lines have the same words, where ``...`` stands for anything. Not counted are what
    TensorFlow logs when it is loaded, plugins that an environment may have besides ours, and the
    widths of columns, which vary with these."""

    def plain(text: str) -> str:
        lines = (" ".join(line.split()) for line in text.replace("gguf, ", "").splitlines())
        return "".join(f"{line}\n" for line in lines if not re.search(FOREIGN, line))

    return doctest.OutputChecker().check_output(plain(shown), plain(printed), doctest.ELLIPSIS)


_RUN = {"python": _run_python, "pycon": _run_pycon, "console": _run_console}


# --- a block in a process of its own --------------------------------------------------------------


def _run_apart(block: Block, given_by: Path, words: str) -> None:
    """Run the block by this program in another process."""
    place = [str(block.page), str(block.line), block.language]
    command = [sys.executable, __file__, "--apart", str(given_by), words, *place]
    done = subprocess.run(
        command, input=block.text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise WrongPage(f"{block.where}, in a process of its own:\n{done.stdout}")


def _be_apart(given_by: str, words: str, page: str, line: str, language: str) -> None:
    names = SimpleNamespace(__name__="__main__")
    load(Path(given_by)).APART[words](names)
    _RUN[language](Block(Path(page), int(line), language, sys.stdin.read(), None), names)


if __name__ == "__main__":
    first, *others = sys.argv[1:]
    sys.path[0] = ""  # as for Python's prompt in this folder: the page finds no module of the tests
    try:
        if first == "--apart":
            _be_apart(*others)
        else:
            run_page(Path(first), Path(others[0]) if others else given_path(Path(first)))
    except WrongPage as error:
        sys.exit(str(error))
