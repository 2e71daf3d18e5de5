"""Versions of Keras whose private functions have other names: saving does without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import initreg

SCRIPT = Path(__file__).with_name("other_keras_run.py")


def run(folder: Path, epochs: int, *args: str) -> tuple[Any, str]:
    """The result of other_keras_run.py, and what it logged."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(epochs), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_renamed_function(library: str, tmp_path: Path) -> None:
    """A training with such a Keras is saved and resumed, and ends in the values, logs and states of
    an uninterrupted one with the Keras that is installed. The log says once how it is saved."""
    wanted, said = run(tmp_path / "whole", 4, library)
    assert wanted["started"] == 0
    assert said.count("does not write weights in memory") == 0
    first, said = run(tmp_path / "parts", 2, library, "_save_state")
    assert said.count("does not write weights in memory (AttributeError: ") == 1
    assert first["epochs"] == [0, 1]
    second, _ = run(tmp_path / "parts", 4, library, "_save_state")
    assert second == {**wanted, "started": 2}
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == names
    for name in names:
        if name.endswith((".h5", ".npz")):
            ours = initreg.load(tmp_path / "parts" / name)
            theirs = initreg.load(tmp_path / "whole" / name)
            assert {key: each.tolist() for key, each in ours.items()} == {
                key: each.tolist() for key, each in theirs.items()
            }
    point = initreg.resume(tmp_path / "parts", verify=True)
    assert point is not None
    assert (point.epoch, point.step, point.skipped) == (4, 8, ())
