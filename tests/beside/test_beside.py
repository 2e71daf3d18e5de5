"""Keras's own tests, run with initreg beside what they load: the instrument sees what it is for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # its modules are also run by themselves

import beside  # noqa: E402

pytestmark = [pytest.mark.framework, pytest.mark.slow]

# A test as a suite of Keras has it: it saves a model, and loads the file into another one.
SAVES = """
import keras
import numpy as np

def test_it(tmp_path):
    models = []
    for _ in range(2):
        inputs = keras.Input((3,))
        x = keras.layers.Dense(3, name="one")(inputs)
        models.append(keras.Model(inputs, keras.layers.Dense(3, name="two")(x)))
    models[0].save_weights(tmp_path / "m.weights.h5")
    {change}
    models[1].load_weights(tmp_path / "m.weights.h5")
    models[1].compile("sgd", "mse")
    models[1].fit(np.ones((2, 3)), np.ones((2, 3)), verbose=0)
"""
# What takes a part of a restore away, as a fault would.
FAULTY = """
import initreg_targets.variables as variables

assign = variables.assign

def wrong(variable, value):
    if variable.path.endswith("bias"):
        value = value + 1
    assign(variable, value)

variables.assign = wrong
"""


def found(tmp_path: Path, code: str) -> list[dict[str, Any]]:
    """What a run of this test finds."""
    test = tmp_path / "keras_test.py"
    test.write_text(code)
    output = tmp_path / "found.jsonl"
    output.write_text("")
    code_ = beside.run("keras", tmp_path, [test], output, tmp_path / "log")
    assert code_ == 0, (tmp_path / "log").read_text()
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_loads_are_compared(tmp_path: Path) -> None:
    """Each load of a test is compared, and a model that was trained is saved in every format."""
    rows = found(tmp_path, SAVES.format(change="pass"))
    assert {row["outcome"] for row in rows} <= {"equal", "equal, warned"}
    compared = {row["loader"] for row in rows}
    assert {".weights.h5", "trip .keras", "twin legacy .h5", "trip Checkpoint(model=)"} <= compared
    assert all(row["loaded"] >= 4 for row in rows)  # so many variables were changed by Keras


def test_a_fault_is_seen(tmp_path: Path) -> None:
    """A bias that is off by one is a difference, with the names of the variables."""
    rows = found(tmp_path, FAULTY + SAVES.format(change="pass"))
    (row,) = [row for row in rows if row["loader"] == ".weights.h5"]
    assert row["outcome"] == "differs"
    assert "one/bias" in row["detail"]
    assert "one/kernel" not in row["detail"]
    assert "differs: Functional" in beside.report(rows)


def test_what_both_refuse(tmp_path: Path) -> None:
    """A damaged file that both refuse is neither a difference nor a fault."""
    broken = 'import pathlib, pytest; (tmp_path / "m.weights.h5").write_bytes(b"no")\n'
    broken += '    with pytest.raises(OSError): models[1].load_weights(tmp_path / "m.weights.h5")\n'
    broken += "    return"
    rows = found(tmp_path, SAVES.format(change=broken))
    assert [row["outcome"] for row in rows if row["loader"] == ".weights.h5"] == ["both refuse"]
