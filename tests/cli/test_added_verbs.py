"""Verbs of plugins on the command line: of distributions as an installer leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TALLY = """
from initreg import RuleError, Verb, hookimpl
from initreg.verb_tools import *
import initreg

def add_arguments(parser):
    add_sources(parser)
    add_opening(parser)
    add_rules(parser)
    parser.add_argument("--fail", choices=("error", "ours", "exit", "no"))

def run(options):
    if options.fail == "error":
        raise ValueError("oh\\nno")
    if options.fail == "ours":
        raise RuleError("that cannot be")
    if options.fail == "exit":
        raise SystemExit(7)
    if options.fail == "no":
        return 1
    arrays = initreg.load(sources_of(options), **opening_of(options), **rules_of(options))
    count = sum(array.size for array in arrays.values())
    show_json(count) if options.json else show(f"{count} numbers in \\x1b")

@hookimpl
def initreg_verbs():
    examples = [("initreg tally model.npz --keep '*/kernel'", "kernels only")]
    return [Verb("tally", "Count the numbers of sources.", add_arguments, run, examples)]
"""


def install(site: Path, name: str, code: str) -> None:
    """A distribution with one module, as pip would leave it."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[initreg]\n{module} = {module}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of distributions, one of which adds a verb, and a file of weights."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "initreg-tally", TALLY)
    np.savez(tmp_path / "m.npz", **{"a/kernel": np.ones((2, 3)), "a/bias": np.ones(3)})
    return site


def run(
    site: Path, *arguments: str, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.run(
        [sys.executable, *python, "-m", "initreg", *arguments],
        cwd=site.parent,
        env=os.environ | {"PYTHONPATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_run(site: Path) -> None:
    """With the options of opening and the rules of all verbs, and printing without controls."""
    done = run(site, "tally", "m.npz", "--keep", "*/kernel")
    assert (done.stdout, done.stderr, done.returncode) == ("6 numbers in \\x1b\n", "", 0)
    assert json.loads(run(site, "tally", "m.npz", "--json").stdout) == 9


def test_it_is_in_the_help(site: Path) -> None:
    """In the list, in its own help with its examples, and in what may have been meant."""
    assert "\nof plugins\n  tally       Count the numbers of sources.\n" in run(site, "help").stdout
    text = run(site, "tally", "--help").stdout
    assert "usage: initreg tally [OPTION]... SOURCE...\n" in text
    assert "$ initreg tally model.npz --keep '*/kernel'  kernels only" in text
    assert text == run(site, "help", "tally").stdout
    assert "there is no verb 'taly'. Did you mean tally?" in run(site, "taly", "m.npz").stderr
    assert (
        "there is no option --kep. Did you mean --keep?"
        in run(site, "tally", "m.npz", "--kep", "x").stderr
    )


def test_its_answers(site: Path) -> None:
    """Its exit code counts. An error of initreg is printed as always; any other is one line."""
    assert run(site, "tally", "m.npz", "--fail", "no").returncode == 1
    assert run(site, "tally", "m.npz", "--fail", "exit").returncode == 7
    done = run(site, "tally", "m.npz", "--fail", "ours")
    assert (done.stderr, done.returncode) == ("initreg: that cannot be\n", 2)
    done = run(site, "tally", "m.npz", "--fail", "error")
    assert done.returncode == 2
    assert done.stderr == (
        "initreg: the plugin 'initreg_tally' (of initreg-tally 1.2): the verb 'tally' failed: "
        "ValueError: oh no. 'python -X dev -m initreg tally ...' shows where\n"
    )
    done = run(site, "tally", "m.npz", "--fail", "error", python=("-X", "dev"))
    assert "Traceback" in done.stderr


def test_names_that_are_taken(site: Path) -> None:
    """Two plugins with one verb are an error that names both; initreg's own verbs stay."""
    install(site, "initreg-rival", TALLY)
    done = run(site, "tally", "m.npz")
    assert done.returncode == 2
    for name in ("initreg-tally 1.2", "initreg-rival 1.2"):
        assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1
    install(site, "initreg-thief", TALLY.replace('Verb("tally"', 'Verb("ls"'))
    assert run(site, "ls", "m.npz").stdout.startswith("NAME")
    done = run(site, "plugins")
    assert done.returncode == 1
    assert (
        "verbs   the verb 'ls' is initreg's own, and that of the plugin 'initreg_thief' (of "
        "initreg-thief 1.2) is not used\n"
    ) in done.stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_library", "the plugin 'initreg_odd' is broken: cannot be imported: "),
        (TALLY.replace(", examples)]", ", examples, 1)]"), "adds no verbs: TypeError"),
        (TALLY.replace('Verb("tally"', 'Verb("Tally"'), "adds no verbs: a verb is called 'Tally'"),
    ],
)
def test_a_broken_plugin(code: str, said: str, site: Path) -> None:
    """One line says why a verb may be missing. Others, and initreg's own, do not notice."""
    install(site, "initreg-odd", code)
    done = run(site, "odd")
    assert done.returncode == 2
    warning, error, *_ = done.stderr.splitlines()
    assert warning.startswith("initreg: warning: the plugin 'initreg_odd'")
    assert said in warning
    assert error.startswith("initreg: there is no verb 'odd'")
    assert run(site, "tally", "m.npz").returncode == 0
    assert run(site, "ls", "m.npz").stderr == ""


def test_arguments_that_cannot_be_added(site: Path) -> None:
    """The verb is in the help, and typing it is one clear error."""
    code = TALLY.replace("    add_sources(parser)", "    parser.add_argument('--json')")
    install(site, "initreg-odd", code.replace('Verb("tally"', 'Verb("odd"'))
    done = run(site, "odd", "m.npz")
    assert done.returncode == 2
    assert "the verb 'odd' cannot add its arguments: ArgumentError: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "  odd " in run(site, "help").stdout


@pytest.mark.parametrize("arguments", [["probe", "m.npz"], ["--version"], ["probe", "--help"]])
def test_plugins_are_loaded_once_or_not_at_all(arguments: list[str], site: Path) -> None:
    """probe imports each plugin once, and asks none for its verbs. Help and version load none."""
    code = "import os\nos.write(2, b'imported\\n')\n" + TALLY.replace(
        "def initreg_verbs():", "def initreg_verbs():\n    os.write(2, b'asked\\n')"
    )
    install(site, "initreg-loud", code)
    done = run(site, *arguments)
    assert done.returncode == 0
    assert done.stderr == ("imported\n" if arguments == ["probe", "m.npz"] else "")
