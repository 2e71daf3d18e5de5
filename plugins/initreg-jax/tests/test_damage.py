"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

from pathlib import Path

import flax.serialization
import numpy as np
import pytest
from initreg.testing import check_damage

# More of them: INITREG_FUZZ=20000 make formats FORMATS=jax ARGS="-k damage"


def test_damaged_files_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 16)
    value = {
        "params": {"w": np.arange(12, dtype="f4").reshape(3, 4), "b": np.ones(2, "f2")},
        "step": 7,
        "rate": 0.5,
        "scale": np.float32(2),
        "z": 1j,
    }
    data = flax.serialization.msgpack_serialize(value)
    check_damage(tmp_path, {"m.msgpack": data}, "jax")
