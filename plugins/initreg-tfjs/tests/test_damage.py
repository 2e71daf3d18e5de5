"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from initreg.testing import check_damage

# More of them: INITREG_FUZZ=20000 make formats FORMATS=tfjs ARGS="-k damage"


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    layer = {"class_name": "Dense", "config": {"name": "dense_1"}}
    weights = [
        {"name": "dense_1/kernel", "shape": [2, 3], "dtype": "float32"},
        {"name": "text", "shape": [2], "dtype": "string"},
        {
            "name": "dense_1/bias",
            "shape": [3],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
        },
    ]
    row = np.arange(6, dtype="<f4").tobytes() + b"\1\0\0\0a\0\0\0\0" + bytes(3)
    shards = {"group1-shard1of2.bin": row[:14], "group1-shard2of2.bin": row[14:]}
    manifest = [{"paths": list(shards), "weights": weights}]
    topology = {"model_config": {"class_name": "Sequential", "config": [layer]}}
    model = {"modelTopology": topology, "weightsManifest": manifest}
    files = {"model.json": json.dumps(model).encode(), **shards}
    # A shard has few bytes that mean anything: the lengths of the texts.
    changed = ["model.json"] * 7 + ["group1-shard2of2.bin"]
    check_damage(tmp_path, files, "tfjs", changed=changed)
