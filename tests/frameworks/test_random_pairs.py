"""Random models of the same architecture in torch and in Keras: right, or said to be open."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
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


def test_no_random_model_is_wrong_in_silence(tmp_path: Path) -> None:
    """What is mapped completely computes the same, and all else is open or missing. Most of them
    are complete: it would be no answer to leave all of them open."""
    complete: list[bool] = []

    @given(architectures())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        print_blob=True,
    )
    def tried(made: Architecture) -> None:
        complete.append(is_complete_and_right(made, tmp_path))

    tried()
    assert 2 * sum(complete) > len(complete) >= EXAMPLES // 2


def is_complete_and_right(made: Architecture, path: Path) -> bool:
    """Whether the map of a model is complete. One that is and computes something else fails."""
    torch_side, keras_side = torch_model(made), keras_model(made)
    torch.save(torch_side.state_dict(), path / "m.pth")
    mapped = initreg.map(path / "m.pth", keras_side)
    count = sum(len(each.variables) for each in mapped.open)
    assert not mapped.missing or count, mapped.to_text()
    if not mapped.is_complete:
        return False
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
    return True
