"""Random models of the same architecture in torch and in Keras: right, or said to be open."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

import initreg
from initreg import SmartInit
from tests.frameworks.random_models import (
    Architecture,
    architectures,
    inputs,
    keras_model,
    torch_model,
    torch_output,
)

EXAMPLES = int(os.environ.get("INITREG_PAIRS", "60"))
found = {"complete": 0, "open": 0}


@given(architectures())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    print_blob=True,
)
def test_no_random_model_is_wrong_in_silence(made: Architecture) -> None:
    """What is mapped completely computes the same, and all else is open or missing."""
    torch_side, keras_side = torch_model(made), keras_model(made)
    path = Path(os.environ["INITREG_PAIRS_IN"])
    torch.save(torch_side.state_dict(), path / "m.pth")
    mapped = initreg.map(path / "m.pth", keras_side)
    count = sum(len(each.variables) for each in mapped.open)
    assert not mapped.missing or count, mapped.to_text()
    if not mapped.is_complete:
        found["open"] += 1
        return
    found["complete"] += 1
    mapped.save(path / "m.toml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", initreg.AxesWarning)  # of sizes that look flattened
        plan = SmartInit(path / "m.pth", rules=path / "m.toml", on_missing="error").init(keras_side)
    assert plan.ok
    x = inputs(made)
    expected = torch_output(made, torch_side, x)
    got = np.asarray(keras_side(x, training=False))
    if made.domain == "image" and got.ndim == 4:
        got = np.moveaxis(got, -1, 1)
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(got - expected).max() < 1e-3 * scale, mapped.to_text()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INITREG_PAIRS_IN", str(tmp_path))


def test_most_of_them_are_complete() -> None:
    """It would be no answer to leave all of them open."""
    assert found["complete"] > found["open"], found
