"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import initreg
import numpy as np
from onnx import TensorProto, helper, numpy_helper

# More of them: INITREG_FUZZ=20000 make formats FORMATS=onnx ARGS="-k damage"
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
    weights = [
        numpy_helper.from_array(np.arange(6, dtype="f4").reshape(2, 3), "w"),
        helper.make_tensor("typed", TensorProto.INT64, (3,), [1, -1, 300]),
        helper.make_tensor("packed", TensorProto.INT4, (2, 3), [1, 2, 3, -4, 5, 6]),
        helper.make_tensor("texts", TensorProto.STRING, (2,), [b"a", b"bc"]),
    ]
    constant = helper.make_node("Constant", [], ["c"], value=weights[0])
    graph = helper.make_graph([constant], "g", [], [], weights)
    branch = helper.make_node("If", ["x"], ["o"], then_branch=graph, else_branch=graph)
    outer = helper.make_graph([branch], "h", [], [], weights)
    path, whole = tmp_path / "m.onnx", helper.make_model(outer).SerializeToString()
    external = weights[0]
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "8", "length": "24"}.items():
        external.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(bytes(range(32)))
    other = helper.make_model(helper.make_graph([], "g", [], [], weights)).SerializeToString()
    source, opened = random.Random(0), 0
    for turn in range(2 * INPUTS):
        path.write_bytes(mutated(other if turn % 2 else whole, source))
        with (
            contextlib.suppress(initreg.InitregError),
            initreg.open(path, format="onnx") as arrays,
        ):
            opened += 1
            for array in arrays.values():
                with contextlib.suppress(initreg.InitregError):
                    found = array.read()
                    assert found.shape == array.shape
    assert 0 < opened < 2 * INPUTS
