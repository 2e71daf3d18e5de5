"""Given for docs/cli.md: a model of three layers, and the same after some training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def given(page: SimpleNamespace) -> None:
    arrays = {}
    for i in range(3):
        arrays[f"encoder/layer_{i}/kernel"] = np.ones((16, 16), "f4")
        arrays[f"encoder/layer_{i}/bias"] = np.zeros(16, "f4")
    arrays["head/kernel"] = np.ones((16, 2), "f2")
    np.savez("a.npz", **arrays)
    np.savez("b.npz", **{**arrays, "head/kernel": np.zeros((16, 2), "f2")})
