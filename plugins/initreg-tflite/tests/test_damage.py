"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import tflite_models as models
from initreg.testing import check_damage

# More of them: INITREG_FUZZ=20000 make formats FORMATS=tflite ARGS="-k damage"


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    symmetric = models.quantisation([0.5, 2], [0, 0])
    shifted = models.quantisation([0.5], [3])
    texts = np.array([b"a", b"bc", b""], object)
    small = np.array([1, -2, 3]).astype(ml_dtypes.int4)
    found = models.model(
        [
            ("w", np.arange(6, dtype="f4").reshape(2, 3)),
            ("q", np.ones((2, 3), "i1"), {"quantization": symmetric}),
            ("z", np.ones(4, "u1"), {"quantization": shifted}),
            ("texts", texts),
            ("small", small),
        ],
        [("w", np.ones((2, 2), "f2"))],
        names=["main", "body"],
    )
    check_damage(tmp_path, {"m.tflite": models.data_of(found)}, "tflite")
