"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from initreg.testing import check_damage
from onnx import TensorProto, helper, numpy_helper

# More of them: INITREG_FUZZ=20000 make formats FORMATS=onnx ARGS="-k damage"


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
    whole = helper.make_model(outer).SerializeToString()
    external = weights[0]
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "8", "length": "24"}.items():
        external.external_data.add(key=key, value=value)
    other = helper.make_model(helper.make_graph([], "g", [], [], weights)).SerializeToString()
    check_damage(tmp_path, {"m.onnx": whole}, "onnx")
    files = {"n.onnx": other, "w.bin": bytes(range(32))}
    check_damage(tmp_path, files, "onnx", changed=["n.onnx"])
