"""``initreg diff`` with code in the place of a source, rules of each source, and layers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.cli import main

_CODE = """
import numpy as np

def base():
    return {"encoder/block_%d/w" % i: np.full((3,), i, "f4") for i in range(4)}

def tuned():
    found = base()
    found["encoder/block_2/w"][1] += 0.5
    return found

def nothing():
    return None
"""

_MODELS = """
import keras

def base():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, name=name) for name in ("first", "second", "head")]
    return keras.Sequential([keras.Input((4,)), *layers], name="net")

def tuned():
    model = base()
    model.layers[-1].kernel.assign_add(model.layers[-1].kernel * 0.1)
    return model
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "made.py"
    path.write_text(_CODE)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.usefixtures("code")
def test_code_is_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    """What the named code builds is compared with a file, on either side. The exit code is that
    of diff."""
    assert main(["convert", "made.py:base", "base.npz"]) == 0
    capsys.readouterr()
    assert main(["diff", "base.npz", "made.py:base"]) == 0
    assert "4 arrays equal, bit by bit" in capsys.readouterr().out
    assert main(["diff", "made.py:tuned", "base.npz"]) == 1
    assert "encoder/block_2/w  max 0.5" in capsys.readouterr().out
    assert main(["diff", "base.npz", "made.py:none"]) == 2
    assert "made.py:none" in capsys.readouterr().err
    assert main(["diff", "base.npz", "made.py:nothing"]) == 2
    assert "made.py:nothing returned None" in capsys.readouterr().err


@pytest.mark.usefixtures("code")
def test_rules_of_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    """--for names the source that the rules after it are for, also if it is code."""
    initreg.save("old.npz", {f"model/{n}": a for n, a in _base().items()})
    assert main(["diff", "old.npz", "made.py:base"]) == 1
    line = ["diff", "old.npz", "made.py:base", "--for", "old.npz", "--strip-prefix", "model/"]
    assert main(line) == 0
    line = ["diff", "old.npz", "made.py:base", "--for", "made.py:base", "--prefix", "model/"]
    assert main(line) == 0
    capsys.readouterr()


def _base() -> dict[str, Any]:
    return {f"encoder/block_{i}/w": np.full((3,), i, "f4") for i in range(4)}


@pytest.mark.usefixtures("code")
def test_layers(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each layer that differs, and one for all that do not."""
    assert main(["diff", "made.py:base", "made.py:tuned", "--fold"]) == 1
    out = capsys.readouterr().out
    assert "encoder/block_2/w       1          1      0.5" in out
    assert "3 layers without a difference\n  encoder/block_{0,1,3}/w" in out
    assert "4 arrays: 1 different, 3 equal, bit by bit" in out
    assert main(["diff", "made.py:base", "made.py:tuned", "--depth", "1", "--json"]) == 1
    (layer,) = json.loads(capsys.readouterr().out)["layers"]
    assert (layer["name"], layer["differing"], layer["values"]["largest"]) == ("encoder", 1, 0.5)


@pytest.mark.framework
def test_did_my_fine_tuning_change_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that a module builds is compared with a file of it, layer by layer."""
    (tmp_path / "training.py").write_text(_MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["convert", "training:base", "base.safetensors"]) == 0
    assert main(["diff", "base.safetensors", "training:base", "--fold"]) == 0
    capsys.readouterr()
    assert main(["diff", "base.safetensors", "training:tuned", "--fold"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["A  base.safetensors", "B  Keras model 'net'"]
    assert [line.split()[:3] for line in lines[3:4]] == [["net/head", "2", "1"]]
    assert "9.09%" in lines[3]
    assert "net/{first,second}" in " ".join(lines)


@pytest.mark.skipif(shutil.which("h5diff") is None, reason="h5diff is not installed")
def test_as_h5diff_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """h5diff finds as many different values, with and without a tolerance, and has the same exit
    code."""
    rng = np.random.default_rng(0)
    a = {f"l{i}/w": rng.normal(size=(6, 5)) for i in range(4)}
    b = {name: array.copy() for name, array in a.items()}
    b["l1/w"][2] += 1e-3
    b["l3/w"][:, 1] += 1e-6
    one, other = (str(initreg.save(tmp_path / f"{n}.h5", of)) for n, of in (("a", a), ("b", b)))
    for atol in (0.0, 1e-4, 1e-2):
        theirs = subprocess.run(
            ["h5diff", "-r", f"-d{atol}", one, other], capture_output=True, text=True, check=False
        )
        code = main(["diff", "--json", one, other, "--atol", str(atol)])
        found = json.loads(capsys.readouterr().out)["arrays"]
        assert code == theirs.returncode
        beyond = {e["name"]: e["values"]["beyond"] for e in found if e["kind"] == "different"}
        counts = [int(w.split()[0]) for w in theirs.stdout.splitlines() if "differences found" in w]
        counts = [count for count in counts if count]  # it also names arrays without any
        assert sorted(beyond.values()) == sorted(counts)
