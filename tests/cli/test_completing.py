"""Completion: what is offered, and that bash, zsh and fish show it."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from initreg import cli
from initreg.cli import main
from initreg.cli.completing import complete, unquoted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files of weights, and a command ``initreg`` on the path."""
    monkeypatch.chdir(tmp_path)
    many = {f"net/layer_{i}/{part}": np.ones(2) for i in range(30) for part in ("kernel", "bias")}
    np.savez("many.npz", **many)
    np.savez("few.npz", **{"a/w": np.ones((2, 3), "f4"), "a/b": np.ones(1), "b c": np.ones(1)})
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "initreg"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m initreg "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def offered(*words: str) -> list[str]:
    return [line.partition("\t")[0] for line in complete(cli.parser(), words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pl"], ["plugins", "plan"]),
        (["--v"], ["--version"]),
        (["ls", "--so"], ["--sort"]),
        (["ls", "few.npz", "--d"], ["--depth", "--drop"]),
        (["ls", "--sort", ""], ["name", "size", "dtype", "file"]),
        (["stats", "few.npz", "--sort", "n"], ["name", "norm", "nan"]),
        (["plan", "--by", "p"], ["place"]),
        (["convert", "few.npz", "x", "--to", "s"], ["safetensors"]),
        (["ls", ""], [":files"]),
        (["ls", "fe"], [":files"]),
        (["plan", "few.npz", "--rules", ""], [":files"]),
        (["ls", "few.npz", "--keep", ""], ["a/w", "a/b", "b c"]),
        (["ls", "--keep", "a/", "few.npz", "--drop", "a"], ["a/w", "a/b"]),
        (["ls", "few.npz", "--keep", "=", "b"], ["b c"]),
        (["ls", "few.npz", "--rename", "a/"], ["a/w", "a/b"]),
        (["ls", "few.npz", "--rename", "a/w", ""], []),
        (["ls", "gone.npz", "--keep", ""], []),
        (["ls", "few.npz", "many.npz", "--for", ""], ["few.npz", "many.npz"]),
        (["ls", "many.npz", "--keep", ""], ["net/"]),
        (
            ["ls", "many.npz", "--keep", "net/layer_29"],
            ["net/layer_29/kernel", "net/layer_29/bias"],
        ),
        (["plan", "few.npz", "--onto", "many.npz", "--expect-missing", "n"], ["net/"]),
        (["help", "ru"], ["rules"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["nonsense", ""], []),
        (["ls", "--", "--k"], [":files"]),
    ],
    ids=str,
)
def test_what_is_offered(words: list[str], expected: list[str], here: Path) -> None:
    """Verbs, options, choices, formats, names in natural order, or files."""
    assert offered(*words) == expected


def test_names_say_what_they_are(here: Path) -> None:
    """Beside a name there are its shape and dtype, and beside an option what it does."""
    assert complete(cli.parser(), ["ls", "few.npz", "--keep", "a/w"]) == ["a/w\t(2, 3) float32"]
    assert complete(cli.parser(), ["ls", "--for"])[0].startswith("--format\tthe format of ")


def test_every_option_is_offered() -> None:
    """Of each verb, --json and --help last."""
    for name, parser in cli.parser().verbs.items():
        options = {a.option_strings[-1] for a in parser._actions if a.option_strings}
        found = offered(name, "--")
        assert set(found) == options
        assert found[-2:] == ["--json", "--help"]


def test_names_that_would_deceive_a_shell(here: Path) -> None:
    """A name with control characters is left out. A pickle is not opened."""
    np.savez("odd.npz", **{name: np.ones(1) for name in ("a\nb", "a\tb", "a\x1b", "ok")})
    assert offered("ls", "odd.npz", "--keep", "") == ["ok"]
    np.save("zoo.npy", np.array({"w": 1}, object))
    assert offered("ls", "zoo.npy", "--keep", "") == []


def test_words_of_bash() -> None:
    """bash passes them with their quotes, and the last one as far as it was typed."""
    assert unquoted([r"my\ file", "'a b", '"c', "d", ""]) == ["my file", "a b", "c", "d", ""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_where_it_goes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In its first lines; in a pipe there is nothing else."""
    assert main(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert f"initreg completion {shell}" in captured.out.split("\n# For each one")[0]
    assert captured.err == ""


# --- real shells ----------------------------------------------------------------------------------


_CONTROLS = re.compile(r"\x07|.\x08|\x1b\[[0-9;?]*[A-Za-z]")


def typed_into(command: list[str], begin: str, keys: str, wanted: str, patience: float = 60) -> str:
    """What an interactive shell shows after some keys, once it shows what is wanted."""
    environment = {**os.environ, "TERM": "dumb", "PS1": "> ", "HISTFILE": "/dev/null"}
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, environment)
    shown = ""
    stop = time.monotonic() + patience
    try:
        os.write(terminal, f"{begin}; echo re''ady\n".encode())
        is_typed = False
        while time.monotonic() < stop:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 65536).decode(errors="replace")
                except OSError:
                    break
            if not is_typed and re.search(r"^ready", shown, re.MULTILINE):
                os.write(terminal, keys.encode())
                is_typed, shown = True, ""
            if is_typed and wanted in _CONTROLS.sub("", shown):
                break
        return _CONTROLS.sub("", shown)
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


INTERACTIVE = [
    pytest.param(
        ["bash", "--norc", "--noprofile", "-i"],
        'eval "$(initreg completion bash)"',
        marks=needs("bash"),
    ),
    pytest.param(
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; source <(initreg completion zsh)",
        marks=needs("zsh"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "begin"), INTERACTIVE)
@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("initreg conv\t", "initreg convert "),
        ("initreg ls fe\t", "few.npz "),
        ("initreg ls few.npz --keep a/w\t--js\t", "a/w --json "),
        ("initreg ls few.npz --keep b\t", r"--keep b\ c "),
        ("initreg ls many.npz --keep n\tlayer_29/k\t", "net/layer_29/kernel "),
    ],
)
def test_interactive_shells(
    command: list[str], begin: str, keys: str, wanted: str, here: Path
) -> None:
    """A real shell, in a terminal: TAB completes what is typed, or lists what there is."""
    shown = typed_into(command, begin, keys, wanted)
    assert wanted in shown, shown


@pytest.mark.slow
@needs("fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("initreg conv", "convert\tWrite the arrays"),
        ("initreg ls few.npz --sor", "--sort\tsort by"),
        ("initreg ls few.npz --keep a/w", "a/w\t(2, 3) float32"),
        ("initreg ls few.npz --keep b", "b c\t(1,) float64"),
        ("initreg ls fe", "few.npz"),
    ],
)
def test_fish(line: str, expected: str, here: Path) -> None:
    """fish says by itself what it would offer."""
    code = f"initreg completion fish | source; complete -C {shlex.quote(line)}"
    environment = os.environ | {"XDG_CONFIG_HOME": str(here), "XDG_DATA_HOME": str(here)}
    done = subprocess.run(
        ["fish", "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert any(each.startswith(expected) for each in done.stdout.splitlines()), done
