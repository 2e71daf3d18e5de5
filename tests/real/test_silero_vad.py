"""The safetensors that the PyPI package silero-vad ships: a voice-activity detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors

import initreg
from initreg import SmartInit


@pytest.fixture(scope="session")
def weights(wheel: Callable[[str], Path]) -> Path:
    return wheel("silero-vad==6.2.3") / "silero_vad" / "data" / "silero_vad_16k.safetensors"


def test_every_array_is_what_safetensors_reads(weights: Path) -> None:
    """Names, shapes, dtypes and bits are those of the reference library."""
    with safetensors.safe_open(weights, "np") as expected, initreg.open(weights) as arrays:
        assert arrays.format == "safetensors"
        assert sorted(arrays) == sorted(expected.keys())
        assert len(arrays) == 15
        for name in expected.keys():  # noqa: SIM118 - safe_open is no mapping
            wanted = expected.get_tensor(name)
            got = arrays[name].read()
            assert arrays[name].shape == got.shape == wanted.shape
            assert arrays[name].dtype == got.dtype == wanted.dtype
            assert got.tobytes() == wanted.tobytes(), name


def test_it_fills_a_dict_of_arrays(weights: Path) -> None:
    """Restored into arrays of the same names, every value arrives and no name is left over."""
    expected = initreg.load(weights)
    target = {name: array * 0 for name, array in expected.items()}
    plan = SmartInit(weights).init(target)
    assert plan.counts == {"matched": len(expected)}
    for name, array in expected.items():
        assert target[name].tobytes() == array.tobytes(), name
