"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import initreg
import numpy as np
import pytest
import torch

# More of them: INITREG_FUZZ=20000 make formats FORMATS=torch ARGS="-k damage"
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


@pytest.mark.parametrize("is_new", [True, False], ids=["archive", "before 1.6"])
def test_damaged_files_are_one_error(tmp_path: Path, is_new: bool) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    base = torch.arange(12.0).reshape(3, 4)
    value = {"net": model, "t": base.t(), "s": base[:, 1:3], "n": np.arange(3), "step": 7}
    path = tmp_path / "m.pt"
    torch.save(value, path, _use_new_zipfile_serialization=is_new)
    data, source = path.read_bytes(), random.Random(0)
    opened = 0
    for _ in range(INPUTS):
        path.write_bytes(mutated(data, source))
        with (
            contextlib.suppress(initreg.InitregError),
            initreg.open(path, format="torch") as arrays,
        ):
            opened += 1
            for array in arrays.values():
                with contextlib.suppress(initreg.InitregError):
                    found = array.read()
                    assert found.shape == array.shape
    assert 0 < opened < INPUTS
