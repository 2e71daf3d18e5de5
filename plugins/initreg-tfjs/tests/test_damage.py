"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path

import initreg
import numpy as np

# More of them: INITREG_FUZZ=20000 make formats FORMATS=tfjs ARGS="-k damage"
INPUTS = int(os.environ.get("INITREG_FUZZ", "400"))
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(data: bytes, random: random.Random) -> bytes:
    """The bytes with a few changes: single bytes, runs that are copied, cut out, or cut off."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        at = random.randrange(len(found))
        way = random.random()
        if way < 0.7:
            found[at] = random.choice((*NUMBERS, random.randrange(256), found[at] ^ 1))
        elif way < 0.8:
            begin = random.randrange(len(found))
            run = found[begin : begin + random.randrange(1, 40)]
            found[at : at + len(run)] = run
        elif way < 0.9:
            del found[at : at + random.randrange(1, 16)]
        else:
            found[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
        if not found:
            return b""
    return bytes(found)


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
    files = {**shards, "model.json": json.dumps(model).encode()}
    source, opened, path = random.Random(0), 0, tmp_path / "model.json"
    for turn in range(INPUTS):
        # A shard has few bytes that mean anything: the lengths of the texts.
        changed = "model.json" if turn % 8 else "group1-shard2of2.bin"
        for name, data in files.items():
            (tmp_path / name).write_bytes(mutated(data, source) if name == changed else data)
        with (
            contextlib.suppress(initreg.InitregError),
            initreg.open(path, format="tfjs") as arrays,
        ):
            opened += 1
            for array in arrays.values():
                with contextlib.suppress(initreg.InitregError):
                    found = array.read()
                    assert found.shape == array.shape
    assert 0 < opened < INPUTS
