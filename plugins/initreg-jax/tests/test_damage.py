"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import flax.serialization
import numpy as np
import orbax.checkpoint as ocp
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


@pytest.mark.parametrize("layout", [{"use_ocdbt": True}, {"use_ocdbt": False}], ids=str)
def test_damaged_checkpoints_of_orbax_are_one_error(tmp_path: Path, layout: dict[str, Any]) -> None:
    """The same of every file of a checkpoint, although tensorstore reads them."""
    tree = {"params": {"w": np.arange(12, dtype="f4").reshape(3, 4), "b": np.ones(2, "f2")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**layout)) as saver:
            saver.save((tmp_path / "m").absolute(), tree | {"step": 7})
    files = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in sorted((tmp_path / "m").rglob("*"))
        if path.is_file()
    }
    names = {"_METADATA", "manifest.ocdbt", ".zarray", "0", "0.0"}
    changed = [name for name in files if Path(name).name in names or "/d/" in name]
    check_damage(tmp_path, files, "jax", source="m", changed=changed, native=True)
