"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from initreg.testing import check_damage

# More of them: INITREG_FUZZ=20000 make formats FORMATS=torch ARGS="-k damage"


@pytest.mark.parametrize("is_new", [True, False], ids=["archive", "before 1.6"])
def test_damaged_files_are_one_error(tmp_path: Path, is_new: bool) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    base = torch.arange(12.0).reshape(3, 4)
    value = {"net": model, "t": base.t(), "s": base[:, 1:3], "n": np.arange(3), "step": 7}
    torch.save(value, tmp_path / "m.pt", _use_new_zipfile_serialization=is_new)
    check_damage(tmp_path, {"m.pt": (tmp_path / "m.pt").read_bytes()}, "torch")
