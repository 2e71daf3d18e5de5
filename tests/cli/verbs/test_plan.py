"""initreg plan: a dry run, its exit codes, its JSON, its hints."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from terminal import in_terminal

from initreg.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a base, a head and a model's own weights, and we are in it."""
    monkeypatch.chdir(tmp_path)
    w, b = np.ones((3, 4), "f4"), np.zeros(4, "f4")
    np.savez("base.npz", **{"fc/W": w, "fc/b": b, "old": np.zeros(9)})
    np.savez("head.npz", **{"head/W": w})
    np.savez("model.npz", **{"fc/W": w, "fc/b": b, "head/W": w})
    np.savez("prefixed.npz", **{"model/fc/W": w, "model/fc/b": b, "model/head/W": w})
    np.savez("torch.npz", **{"fc.W": w.T.copy(), "fc.b": b, "head.W": w.T.copy()})
    return tmp_path


def run(*arguments):
    return main(["plan", *arguments])


def test_it_would_load(folder, capsys):
    """Exit code 0, the plan, the verdict; a chain is planned as one, and nothing is written."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("base.npz", "head.npz", "--onto", "model.npz") == 0
    assert capsys.readouterr().out.splitlines() == [
        "base.npz + head.npz -> model.npz: 3 of 3 variables will be restored",
        "  3 matched",
        "    fc/W  (3, 4) float32  [base.npz]",
        "    fc/b  (4,) float32  [base.npz]",
        "    head/W  (3, 4) float32  [head.npz]",
        "  1 only in the source, not used",
        "    old  (9,) float64  [base.npz]",
        "it would load",
    ]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_it_would_fail(capsys):
    """Exit code 1, and the last line says why, for each reason there is."""
    assert run("prefixed.npz", "--onto", "model.npz") == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "hint: 3 of 3 names match after removing 'model/': --strip-prefix model/",
        "it would fail: no array in prefixed.npz has the name of a variable in model.npz",
    ]
    assert run("base.npz", "--onto", "model.npz", "--on-missing", "error") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(
        "it would fail: 1 variable is supplied by no source, which --on-missing error"
    )
    assert run("torch.npz", "--onto", "model.npz", "--rename-regex", r"\.", "/") == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "hint: 2 arrays would fit transposed: --transpose fc/W --transpose head/W",
        "it would fail: 2 arrays do not fit",
    ]


def test_what_the_hint_says_can_be_typed(capsys):
    """Following the hints one after the other ends in a plan that loads."""
    arguments = ["torch.npz", "--onto", "model.npz"]
    for _ in range(2):
        assert run(*arguments) == 1
        hint = next(li for li in capsys.readouterr().out.splitlines() if li.startswith("hint: "))
        echo = ["sh", "-c", f'printf "%s\\n" {hint.rsplit(": ", 1)[1]}']
        arguments += subprocess.check_output(echo, text=True).splitlines()
    assert run(*arguments) == 0


def hints_of(capsys, *arguments):
    run(*arguments)
    lines = capsys.readouterr().out.splitlines()
    return [line.rsplit(": ", 1)[1] for line in lines if line.startswith("hint: ")]


def test_where_options_would_not_do_it_the_hint_is_python(capsys):
    """They hold for every source, and are applied in their own order, each prefix once."""
    np.savez("xy.npz", **{"x/y/fc/W": np.ones((3, 4), "f4"), "x/y/fc/b": np.zeros(4, "f4")})
    assert hints_of(capsys, "xy.npz", "--onto", "base.npz", "--strip-prefix", "x/") == [
        'SmartInit(SmartInit("xy.npz", strip_prefix="x/"), strip_prefix="y/")'
    ]
    assert hints_of(capsys, "base.npz", "prefixed.npz", "--onto", "model.npz") == [
        'SmartInit(["base.npz", SmartInit("prefixed.npz", strip_prefix="model/")])'
    ]
    np.savez("dash.npz", **{"-m/fc/W": np.ones((3, 4), "f4"), "-m/fc/b": np.zeros(4, "f4")})
    assert hints_of(capsys, "dash.npz", "--onto", "base.npz") == ["--strip-prefix=-m/"]
    assert run("dash.npz", "--onto", "base.npz", "--strip-prefix=-m/") == 0


def test_a_file_name_that_is_no_text(folder):
    """It is told with its bytes spelt out, and the answer is the plan's, in JSON as well."""
    os.rename(b"base.npz", b"b\xff.npz")
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "initreg", "plan", b"b\xff.npz", "--onto", "model.npz"]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run([*command, *more], capture_output=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"b\\udcff.npz" in done.stdout
    assert json.loads(done.stdout)["sources"] == ["b\udcff.npz"]


def test_it_cannot_be_planned(capsys):
    """Exit code 2: a missing file, a rule that touches nothing, an unknown option."""
    assert run("no.npz", "--onto", "model.npz") == 2
    assert "initreg: no.npz: no such file" in capsys.readouterr().err
    assert run("base.npz", "--onto", "model.npz", "--drop", "hed/*") == 2
    assert "--drop 'hed/*' matches no array" in capsys.readouterr().err
    assert run("base.npz", "--onto", "model.npz", "--permute", "fc/W") == 2
    assert "--permute fc/W: give a glob, '=' and a value" in capsys.readouterr().err
    assert run("", "--onto", "model.npz") == 2
    assert "the path is empty" in capsys.readouterr().err
    assert run("base.npz", "--onto", "model.npz", *["--rename", "old", "x"] * 2) == 2
    assert "a name is renamed twice" in capsys.readouterr().err
    assert run("base.npz", "--onto", "modle.npz") == 2
    err = capsys.readouterr().err
    assert "Similar names: model.npz" in err
    assert "or code as package.module:callable" in err
    for arguments in (
        ["base.npz"],
        ["--onto", "model.npz"],
        ["a", "--onto", "b", "--on-missing=x"],
    ):
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == 2


def test_json(capsys):
    """The plan as its to_dict(), and the error that init would raise."""
    assert run("base.npz", "--onto", "model.npz", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["sources"], answer["target"]) == (True, ["base.npz"], "model.npz")
    assert answer["counts"] == {"matched": 2, "only in target": 1, "only in source": 1}
    assert "error" not in answer
    assert run("prefixed.npz", "--onto", "model.npz", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["error"]) == (False, "NothingMatched")
    assert answer["hints"][0]["options"] == {"strip_prefix": "model/"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--keep", "fc/*", "--keep", "old"], "3 of 3 variables"),
        (["--drop", "old"], "dropped, as requested"),
        (["--strip-prefix", "fc/", "--prefix", "fc/", "--drop", "old"], "  2 matched"),
        (["--rename", "old", "head/W"], "head/W  shape (9,) does not fit (3, 4)"),
        (["--rename", "old", "x", "--rename", "fc/b", "y"], "    x  (9,) float64, from old"),
        (["--rename-regex", "^old$", "new"], "    new  (9,) float64, from old"),
        (["--transpose", "*/W"], "shape (4, 3) does not fit"),
        (["--permute", "*/W=1,0"], "shape (4, 3) does not fit"),
        (["--slice", "*/W=0,1,3"], "shape (2, 4) does not fit"),
        (["--slice", "*/W=0,1,"], "shape (2, 4) does not fit"),
        (["--pad", "*/W=0,5"], "shape (5, 4) does not fit"),
        (["--pad", "*/W=0,5,mean"], "shape (5, 4) does not fit"),
        (["--pad", "*/W=0,5,-1.5"], "shape (5, 4) does not fit"),
        (["--cast", "float16"], "    old  (9,) float16, cast from float64"),
        (["--cast", "*=float64", "--cast", "old=int8"], "old  (9,) int8, cast from float64"),
        (["--rename", "old", "head/W", "--ignore-mismatch"], "1 mismatched, skipped"),
        (["--expect-missing", "head/*"], "1 only in the target, as expected"),
        (["--expect-unused", "old", "--on-unused", "error"], "1 only in the source, as expected"),
        (["--ignore", "fc/b"], "1 dropped, as requested"),
        (["--format", "npz"], "it would load"),
    ],
    ids=" ".join,
)
def test_every_rule_is_an_option(options, line, capsys):
    """Each does what the keyword of its name does."""
    onto = "base.npz" if options[0] == "--keep" else "model.npz"
    assert run("base.npz", "--onto", onto, *options) in (0, 1)
    assert line in capsys.readouterr().out


def test_all_shows_every_name(folder, capsys):
    """Without it long lists are cut, and what is cut is counted."""
    np.savez("many.npz", **{f"x{i}/{i * i}": np.zeros(1) for i in range(60)}, w=np.zeros(1))
    np.savez("one.npz", w=np.zeros(1))
    assert run("many.npz", "--onto", "one.npz") == 0
    assert "... and 40 names more" in capsys.readouterr().out
    assert run("many.npz", "--onto", "one.npz", "--all") == 0
    assert "x59/3481  (1,) float64" in capsys.readouterr().out


def test_a_pickle_is_opened_only_if_it_is_said(capsys):
    """--allow-pickle holds for the sources and for the target."""
    np.save("zoo.npy", {"a": np.zeros(3)})
    assert run("zoo.npy", "--onto", "zoo.npy") == 2
    assert "--allow-pickle" in capsys.readouterr().err
    assert run("zoo.npy", "--onto", "zoo.npy", "--allow-pickle") == 0


def test_on_a_terminal_it_is_in_colours(folder):
    """Titles are green, yellow or red, and without the codes it is the text of a pipe."""
    command = ["plan", "base.npz", "--onto", "model.npz"]
    shown = in_terminal(command, columns=200)
    assert shown.code == 0
    assert "\x1b[32m  " in shown.text
    assert shown.lines[-1] == "\x1b[32mit would load\x1b[0m"
    run = [sys.executable, "-m", "initreg", *command]
    piped = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown.text) == piped
