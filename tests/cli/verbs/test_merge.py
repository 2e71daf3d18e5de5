"""initreg merge: what it prints and writes, and when it says no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.cli import main
from initreg.cli.verbs import merge
from initreg.merging.combined import METHODS


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Three files of two layers and a counter."""
    found = []
    for i in range(3):
        own = np.random.default_rng(i)
        arrays: dict[str, Any] = {f"l{j}/w": own.normal(size=(3, 4)).astype("f4") for j in range(2)}
        path = initreg.save(tmp_path / f"m-{i}.npz", {**arrays, "step": np.int64(5)})
        found.append(str(path))
    return found


def test_an_average(models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is printed, and then what was written."""
    out = tmp_path / "new.safetensors"
    assert main(["merge", *models, str(out), "--weight", "1,1,2"]) == 0
    printed = capsys.readouterr()
    size = out.stat().st_size
    assert printed.out.splitlines() == [
        "average: weight 1, 1, 2, normalised",
        *(f"     {i}  {path}" for i, path in enumerate(models, 1)),
        "2 arrays merged",
        "  l{0,1}/w  2 x (3, 4) float32",
        "1 array kept unchanged",
        "  step  () int64: equal in all sources",
        f"{out}: 3 arrays, {size} B",
    ]
    assert printed.err == ""
    given = [initreg.load(path)["l1/w"] for path in models]
    wanted = (given[0] + given[1] + 2 * given[2]) / 4
    np.testing.assert_allclose(initreg.load(out)["l1/w"], wanted, atol=1e-6)


def test_json(models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan and what was written, for programs."""
    out = tmp_path / "new.npz"
    options = ["--method", "ties", "--base", models[0], "--density", "l0*=0.5", "--json"]
    assert main(["merge", *models[1:], str(out), *options]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["path"], answer["arrays"], answer["nonfinite"]) == (str(out), 3, [])
    assert answer["plan"]["settings"]["density"] == {"*": [1, 1], "l0*": [0.5, 0.5]}
    assert [row["kind"] for row in answer["plan"]["arrays"]] == ["merged", "merged", "kept"]


def test_a_dry_run(models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says whether the merge would be carried out, by the exit code, too."""
    out = tmp_path / "new.npz"
    assert main(["merge", *models, str(out), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "it would be written"
    initreg.save(models[1], {"l0/w": np.ones((3, 4), "f4"), "step": np.int64(6)})
    assert main(["merge", *models, str(out), "--dry-run"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"  l1/w  in {models[0]}, {models[2]}, not in {models[1]}" in lines
    assert "  step  int64, not floats, and the values differ" in lines
    assert any("--on-missing keep" in line for line in lines)
    assert any("--on-conflict first" in line for line in lines)
    assert lines[-1] == "it would fail: nothing written"
    assert main(["merge", *models, str(out)]) == 2
    assert "--on-conflict last" in capsys.readouterr().err
    assert not out.exists()


def test_switches(models: list[str], tmp_path: Path) -> None:
    """yes and no: a sum that is not divided by the weights."""
    out = tmp_path / "new.npz"
    assert main(["merge", *models[:2], str(out), "--normalize", "no", "--weight", "1,-1"]) == 0
    one, two = (initreg.load(each)["l0/w"] for each in models[:2])
    np.testing.assert_allclose(initreg.load(out)["l0/w"], one - two, atol=1e-6)


def test_rules_of_one_source(models: list[str], tmp_path: Path) -> None:
    """--for SOURCE gives a source rules of its own, the base among them."""
    other = initreg.save(
        tmp_path / "other.npz", {f"m/{n}": a for n, a in initreg.load(models[2]).items()}
    )
    out = tmp_path / "new.npz"
    options = ["--method", "task", "--base", str(other), "--for", str(other)]
    assert main(["merge", *models[:2], str(out), *options, "--strip-prefix", "m/"]) == 0
    base, one, two = (initreg.load(each)["l0/w"] for each in (models[2], *models[:2]))
    np.testing.assert_allclose(initreg.load(out)["l0/w"], one + two - base, atol=1e-6)


def test_what_exists_is_not_replaced(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who forgets the destination names a source in its place. --force replaces it."""
    before = Path(models[2]).read_bytes()
    assert main(["merge", *models]) == 2
    assert "the file exists and would be replaced" in capsys.readouterr().err
    assert Path(models[2]).read_bytes() == before
    assert main(["merge", *models, "--force"]) == 0
    assert Path(models[2]).read_bytes() != before
    assert main(["merge", *models[:2], models[1]]) == 2
    checkpoint = str(initreg.save(tmp_path / "more.ckpt", {"x": np.ones(2)}))
    assert main(["merge", *models[:2], checkpoint]) == 2
    assert capsys.readouterr().err.count("the file exists and would be replaced") == 2
    (tmp_path / "empty.npz").touch()
    assert main(["merge", *models[:2], str(tmp_path / "empty.npz")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight", "1,x"], "--weight 1,x: give a number, or several"),
        (["--weight", "1", "--weight", "2"], "--weight: it is given twice for '*'"),
        (
            ["--weight", "1,2"],
            "--weight 1,2: give a number, or 3 of them, one for each source, or these by globs",
        ),
        (["--method", "slerp"], "takes exactly 2 sources, and there are 3"),
        (["--method", "ema"], "needs --decay"),
        (["--method", "task"], "pass --base"),
        (["--density", "1"], "the method 'average' has no such parameter"),
        (["--dtype", "int8"], "--dtype int8: give a dtype of floats"),
        (["--base", ""], "the path is empty"),
    ],
    ids=str,
)
def test_bad_usage(
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    """One line on stderr with options as they are typed, the code 2, and nothing is written."""
    assert main(["merge", *models, str(tmp_path / "new.npz"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new.npz").exists()


@pytest.mark.filterwarnings("always::initreg.errors.MergeWarning")
def test_what_is_not_finite(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one warning on stderr."""
    initreg.save(models[0], {**initreg.load(models[0]), "l0/w": np.full((3, 4), np.nan, "f4")})
    assert main(["merge", *models, str(tmp_path / "new.npz")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("initreg: warning: ")
    assert f"l0/w  12 NaN, 0 infinite in {models[0]}" in error


def test_the_methods_that_parsing_knows_are_all() -> None:
    """Parsing imports nothing of merging, and offers every method."""
    assert list(merge._METHODS) == list(METHODS)
    code = "import sys; from initreg.cli import parser; parser(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
