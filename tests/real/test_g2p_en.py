"""The npz that the PyPI package g2p-en ships: a grapheme-to-phoneme GRU, written by numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import SmartInit


@pytest.fixture(scope="session")
def checkpoint(wheel: Callable[[str], Path]) -> Path:
    return wheel("g2p-en==2.1.0") / "g2p_en" / "checkpoint20.npz"


def test_every_array_is_what_numpy_reads(checkpoint: Path) -> None:
    """Names in numpy's order, and each array bit for bit what np.load gives."""
    with np.load(checkpoint) as expected, initreg.open(checkpoint) as arrays:
        assert arrays.format == "npz"
        assert list(arrays) == expected.files
        assert len(arrays) == 12
        for name in expected.files:
            wanted = expected[name]
            got = np.asarray(arrays[name])
            assert arrays[name].shape == got.shape == wanted.shape
            assert arrays[name].dtype == got.dtype == wanted.dtype
            assert got.tobytes() == wanted.tobytes(), name


def test_a_slice_is_a_slice_of_the_array(checkpoint: Path) -> None:
    """Indexing a lazy array of the real file gives what indexing numpy's array gives."""
    with np.load(checkpoint) as expected, initreg.open(checkpoint) as arrays:
        assert np.array_equal(arrays["enc_emb"][2:4], expected["enc_emb"][2:4])


def test_it_fills_a_dict_of_arrays(checkpoint: Path) -> None:
    """Restored into arrays of the same names, every value arrives and no name is left over."""
    with np.load(checkpoint) as expected:
        target = {name: np.full_like(expected[name], np.nan) for name in expected.files}
        plan = SmartInit(checkpoint).init(target)
        assert [row.name for row in plan.restored] == expected.files
        assert plan.counts == {"matched": 12}
        for name in expected.files:
            assert target[name].tobytes() == expected[name].tobytes(), name
