"""Damaged files: one InitregError, or arrays that agree with the lengths in the file."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from initreg.testing import check_damage

# More of them: INITREG_FUZZ=20000 make formats FORMATS=frozen-graph ARGS="-k damage"


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    """A changed file opens, or is one InitregError; what it gives has the size that it says."""
    graph = tf.compat.v1.GraphDef()
    arrays = {
        "w": np.arange(6, dtype="f4").reshape(2, 3),
        "splat": np.ones((3, 3), "f4"),
        "shape": np.array([1, -1, 300], "i8"),
        "half": np.array([1, 2, 2, 2], "f2"),
        "texts": np.array([b"a", b"bc"]),
        "flags": np.array([True, False, True]),
        "c": np.array([1 + 2j], "c8"),
    }

    def add(nodes, name, value):
        node = nodes.add(name=name, op="Const")
        node.attr["dtype"].type = value.dtype
        node.attr["value"].tensor.CopyFrom(value)

    for name, array in arrays.items():
        add(graph.node, name, tf.make_tensor_proto(array))
    graph.node.add(name="w/read", op="Identity", input=["w"])
    node = graph.node.add(name="v", op="VariableV2")
    node.attr["shape"].shape.dim.add(size=2)
    function = graph.library.function.add()
    function.signature.name = "body"
    add(function.node_def, "w", tf.make_tensor_proto(arrays["w"]))
    check_damage(tmp_path, {"m.pb": graph.SerializeToString()}, "frozen_graph")
