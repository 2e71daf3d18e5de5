"""Nodes say how what they multiply is stored, and initreg.map follows them."""

from __future__ import annotations

from pathlib import Path

import initreg
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


@pytest.mark.parametrize(
    ("operator", "is_turned"), [("MatMul", False), ("Gemm", False), ("Gemm", True)]
)
def test_square_kernels_are_mapped_as_their_nodes_take_them(
    tmp_path: Path, operator: str, is_turned: bool
) -> None:
    """Whatever they are called, and whatever the kernels beside them are."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3)).astype("f4")
    first, square = random.normal(size=(4, 3)), random.normal(size=(4, 4))
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight"], ["h"], transB=1),
        helper.make_node(
            *(operator, ["h", "b.weight"], ["y"]), **({"transB": 1} if is_turned else {})
        ),
    ]
    tensors = [
        numpy_helper.from_array(array.astype("f4"), name)
        for name, array in (("a.weight", first), ("b.weight", square))
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, size))]
        for name, size in (("x", 3), ("y", 4))
    ]
    made = helper.make_model(helper.make_graph(nodes, "g", *ends, tensors))
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    target = {"a/kernel": np.zeros((3, 4), "f4"), "b/kernel": np.zeros((4, 4), "f4")}
    mapped = initreg.map(path, target)
    mapped.save(tmp_path / "m.toml")
    initreg.SmartInit(path, rules=tmp_path / "m.toml", on_missing="error").init(target)
    expected = ReferenceEvaluator(made).run(None, {"x": x})[0]
    np.testing.assert_allclose(x @ target["a/kernel"] @ target["b/kernel"], expected, rtol=1e-4)


def test_the_axes_of_what_nodes_multiply(tmp_path: Path) -> None:
    """Convolutions have the outputs first. What two nodes take in two ways has no order, and what
    another node takes has none either."""
    taken = [("Conv", "c", {}), ("ConvTranspose", "t", {}), ("MatMul", "m", {})]
    taken += [("Gemm", "g", {}), ("Gemm", "b", {"transB": 1}), ("Gemm", "b0", {"transB": 0})]
    taken += [("MatMul", "both", {}), ("Gemm", "both", {"transB": 1}), ("Add", "added", {})]
    nodes = [helper.make_node(kind, ["x", name], ["y"], **more) for kind, name, more in taken]
    nodes.append(helper.make_node("MatMul", ["x", "not_an_array"], ["y"]))
    tensors = [
        numpy_helper.from_array(np.ones((2, 2, 1, 1) if name in "ct" else (2, 2), "f4"), name)
        for name in dict.fromkeys(name for _, name, _ in taken)
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with initreg.open(tmp_path / "m.onnx") as found:
        assert found.said_of("kernel_axes") == {
            **dict.fromkeys(("c", "t", "b"), "out, in"),
            **dict.fromkeys(("m", "g", "b0"), "in, out"),
        }
