"""Plugins that others wrote: installed into a throwaway environment, with no change to initreg."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "writing-a-plugin.md"
GGUF = ROOT / "plugins" / "initreg-gguf"

# Offline, and with the build backend that the test group brings. Nothing is compiled.
PIP = "--no-index --no-build-isolation --disable-pip-version-check --quiet"

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own that also sees what the running one has installed."""

    folder: Path

    def run(self, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a shell command as a user does who has activated the environment."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
        path = f"{self.folder / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=cwd,
            env={**kept, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def must_run(self, command: str, cwd: Path) -> str:
        """What the command prints; it has to succeed."""
        run = self.run(command, cwd)
        assert run.returncode == 0, f"$ {command}\n{run.stdout}"
        return run.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A fresh environment, with the three commands that the guide uses."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    parent = sysconfig.get_path("purelib")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    for name, line in {
        "initreg": 'exec python -m initreg "$@"',
        "pip": f'verb="$1"; shift; exec python -m pip "$verb" {PIP} "$@"',
        "pytest": 'exec python -m pytest -q -p no:cacheprovider "$@"',
    }.items():
        script = folder / "bin" / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    return Environment(folder)


# --- the guide --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """One fenced block of the guide, and the line on which it begins."""

    language: str
    text: str
    line: int

    @property
    def title(self) -> str:
        """The file that a block's first line names."""
        return self.text.split("\n", 1)[0].removeprefix("# ")

    @property
    def body(self) -> str:
        """What comes after the first line."""
        return self.text.split("\n", 1)[1]


def blocks() -> list[Block]:
    """Every block of the guide, in order."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 1) for m in found]


def follow(block: Block, project: Path, environment: Environment) -> None:
    """Do what a reader does with a block; fail if it does not go as the guide says."""
    if block.language == "console":
        for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            found = environment.must_run(command, project)
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            fits = doctest.OutputChecker().check_output(expected, found, flags)
            assert fits or not expected, f"line {block.line}: $ {command}\n{found}"
    elif block.language == "pycon":
        script = project / "session.txt"
        script.write_text(block.text, encoding="utf-8")
        environment.must_run("python -m doctest session.txt", project)
    elif block.title.startswith("from initreg-gguf: "):
        quoted = GGUF / block.title.removeprefix("from initreg-gguf: ")
        assert block.body in quoted.read_text(encoding="utf-8"), (
            f"line {block.line}: not in the file"
        )
    elif block.title.endswith(", at the end"):
        path = project / block.title.removesuffix(", at the end")
        with path.open("a", encoding="utf-8") as file:
            file.write(block.body)
    elif block.language in ("python", "toml"):
        assert re.fullmatch(r"[\w/]+\.(py|toml)", block.title), f"line {block.line}: no file name"
        path = project / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
    else:
        raise AssertionError(f"line {block.line}: what to do with a {block.language!r} block?")


def test_the_guide_can_be_followed_to_the_letter(environment: Environment, tmp_path: Path) -> None:
    """Every block of docs/writing-a-plugin.md works, in order: files, commands and sessions."""
    project = tmp_path / "initreg-rawz"
    project.mkdir()
    for block in blocks():
        follow(block, project, environment)
    done = {block.language for block in blocks()}
    assert done == {"toml", "python", "console", "pycon"}


def test_installed_plugin_is_found_without_a_change_to_initreg(
    environment: Environment, tmp_path: Path
) -> None:
    """The guide's plugin, installed as a wheel: ``probe`` names it, ``plugins`` its distribution,
    and once it is uninstalled nobody claims the file."""
    project = tmp_path / "initreg-rawz"
    project.mkdir()
    for block in blocks():
        if block.title in ("pyproject.toml", "src/initreg_rawz/__init__.py"):
            follow(block, project, environment)
    (project / "m.rawz").write_bytes(b"RAWZ\2\0\0\0{}")
    before = environment.run("initreg probe m.rawz", project)
    assert (before.returncode, "no installed format claims it" in before.stdout) == (1, True)

    environment.must_run("pip install .", project)
    assert environment.must_run("initreg probe m.rawz", project).startswith(
        "m.rawz: rawz (EXACT: begins with 'RAWZ')\n"
    )
    plugins = json.loads(environment.must_run("initreg plugins --json", project))
    assert [p for p in plugins if p["distribution"] == "initreg-rawz"] == [
        {
            "name": "rawz",
            "distribution": "initreg-rawz",
            "version": "0.1.0",
            "module": "initreg_rawz",
            "kinds": ["format"],
            "broken": None,
            "missing": {},
        }
    ]

    environment.must_run("python -m pip uninstall -y -q initreg-rawz", project)
    assert environment.run("initreg probe m.rawz", project).stdout == before.stdout


# --- initreg new-plugin -----------------------------------------------------------------------


def test_a_new_format_works_at_once(environment: Environment, tmp_path: Path) -> None:
    """The folder that is made is installed, passes its own tests, and opens and saves its files."""
    printed = environment.must_run("initreg new-plugin my-rawz", tmp_path)
    project = tmp_path / "initreg-my-rawz"
    assert printed.endswith("  cd initreg-my-rawz\n  pip install --editable . pytest\n  pytest\n")
    environment.must_run("pip install --editable . pytest", project)
    tested = environment.must_run("pytest", project)
    assert int(re.search(r"^(\d+) passed, 6 skipped in", tested, re.MULTILINE)[1]) > 55, tested

    npz = ROOT / "demo" / "weights" / "digits.npz"
    environment.must_run(f"initreg convert {npz} m.my-rawz --manifest", tmp_path)
    probed = environment.must_run("initreg probe m.my-rawz", tmp_path)
    assert probed.startswith("m.my-rawz: my_rawz (EXACT: begins with 'MYRAWZ1')\n")
    assert "m.my-rawz: fine (my_rawz, 7 arrays, " in environment.must_run(
        "initreg verify m.my-rawz", tmp_path
    )
    same = environment.must_run(f"initreg diff {npz} m.my-rawz", tmp_path)
    assert "7 arrays equal, bit by bit" in same
    again = environment.run("initreg new-plugin my-rawz --directory other", tmp_path)
    assert again.returncode == 2
    assert "'my_rawz' is the name of an installed plugin, of initreg-my-rawz" in again.stdout


def test_a_new_format_is_a_wheel(environment: Environment, tmp_path: Path) -> None:
    """Installed as users will, not from its folder."""
    environment.must_run("initreg new-plugin rawz", tmp_path)
    environment.must_run("pip install ./initreg-rawz", tmp_path)
    code = "import initreg; initreg.save('m.rawz', {'a': [1.0]}); print(initreg.load('m.rawz'))"
    assert environment.must_run(f'python -c "{code}"', tmp_path) == "{'a': array([1.])}\n"


def test_a_new_target_works_at_once(environment: Environment, tmp_path: Path) -> None:
    """It is installed, passes its own tests, and its README is right."""
    environment.must_run("initreg new-plugin my-library --target", tmp_path)
    project = tmp_path / "initreg-my-library"
    environment.must_run("pip install --editable . pytest", project)
    tested = environment.must_run("pytest", project)
    assert int(re.search(r"^(\d+) passed, 6 skipped in", tested, re.MULTILINE)[1]) > 30, tested
    blocks = re.findall(
        r"^```pycon\n(.*?)^```", (project / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 1
    (project / "session.txt").write_text(blocks[0])
    environment.must_run("python -m doctest session.txt", project)
    listed = environment.must_run("initreg plugins", tmp_path)
    assert re.search(
        r"^my_library +target +initreg-my-library 0.1.0 +initreg_my_library$", listed, re.M
    )


def test_a_new_verb_works_at_once(environment: Environment, tmp_path: Path) -> None:
    """It is installed, passes its own tests, and is typed as initreg's own."""
    environment.must_run("initreg new-plugin my-verb --verb", tmp_path)
    project = tmp_path / "initreg-my-verb"
    environment.must_run("pip install --editable . pytest", project)
    assert re.search(r"^5 passed in", environment.must_run("pytest", project), re.MULTILINE)
    npz = ROOT / "demo" / "weights" / "digits.npz"
    printed = environment.must_run(f"initreg my-verb {npz} --count 1", tmp_path)
    assert printed == " 62.3%        16,384 bytes  hidden1/kernel\n"
    again = environment.run("initreg new-plugin other --verb", tmp_path)
    assert again.returncode == 0
    environment.must_run("pip install ./initreg-other", tmp_path)
    assert "other" in environment.must_run("initreg other --help", tmp_path)


# --- initreg-gguf -----------------------------------------------------------------------------


def test_gguf_is_installed_probed_and_passes_its_own_tests(
    environment: Environment, tmp_path: Path
) -> None:
    """plugins/initreg-gguf is a distribution like anybody's, and keeps the contract."""
    project = tmp_path / "initreg-gguf"
    shutil.copytree(GGUF, project, ignore=shutil.ignore_patterns("*cache*"))
    environment.must_run("pip install .", project)

    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    probed = environment.must_run("initreg probe m.gguf", tmp_path)
    assert probed.startswith("m.gguf: gguf (EXACT: begins with 'GGUF', version 3)\n")
    listed = environment.must_run("initreg plugins", tmp_path)
    assert re.search(r"^gguf +format +initreg-gguf 0.1.0 +initreg_gguf$", listed, re.MULTILINE)

    tested = environment.must_run("pytest tests", project)
    assert re.search(r"^\d{2,} passed", tested, re.MULTILINE), tested
    assert " failed" not in tested
    assert re.search(r"passed, \d\d skipped in", tested), tested  # what is about saving


def test_gguf_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    """An environment that has the plugin but not ``gguf`` claims the file and names the remedy."""
    program = (
        "import sys; sys.modules['gguf'] = None\n"
        "from importlib.metadata import EntryPoint\n"
        "from initreg.plugin.registry import Registry; from initreg.plugin.source import Source\n"
        "registry = Registry([EntryPoint('gguf', 'initreg_gguf', 'initreg')])\n"
        "source = Source('m.gguf')\n"
        "print(registry.probe(source).winner)\n"
        "try: registry.open(source)\n"
        "except ImportError as error: print(error)\n"
    )
    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(GGUF / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == [
        "gguf",
        "format 'gguf' needs gguf: pip install initreg-gguf",
    ]
