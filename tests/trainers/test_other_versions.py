"""Versions of Keras and tensorpack that gave other names to private things that initreg uses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import initreg

pytestmark = [pytest.mark.framework, pytest.mark.slow]

HERE = Path(__file__).parent


def run(folder: Path, epochs: int, *args: str) -> tuple[Any, str]:
    """The result of other_keras_run.py, and what it logged."""
    script = str(HERE / "other_keras_run.py")
    command = [sys.executable, "-W", "ignore", script, str(folder), str(epochs), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_renamed_function_of_keras(library: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("module", "name"),
    [("tensorpack.callbacks.monitor", "_dic"), ("tensorpack.train.base", "_callbacks")],
)
def test_a_renamed_attribute_of_tensorpack(module: str, name: str, tmp_path: Path) -> None:
    """It is one error before anything is trained, and not the end of a training at its save."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from renaming import Renaming\n"
        "Renaming.install(*sys.argv[2:4])\n"
        "import tensorpack_run\n"
        "tensorpack_run.main(*sys.argv[4:])\n"
    )
    result = tmp_path / "result.npz"
    command = [sys.executable, "-W", "ignore", "-c", code, str(HERE), module, name]
    command += [str(tmp_path / "run"), "2", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "initreg.errors.InitregError: a " in done.stderr
    assert f"of this version of tensorpack has no {name!r}" in done.stderr
    assert "STARTING 0" in done.stdout
    assert "EPOCH" not in done.stdout
    assert not list((tmp_path / "run").glob("model-*"))
