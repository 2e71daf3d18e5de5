"""Graphs that TensorFlow writes give the values that a session gives for their constants."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import initreg
import numpy as np
import pytest
import tensorflow as tf
from frozen_graphs import (
    NUMBERS,
    QUANTISED,
    TYPED,
    every,
    graph_of,
    plain,
    proto,
    reference,
    save,
)
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]


class TestFrozenGraph(FormatContract):
    """The kit: every dtype, as bytes and in typed fields."""

    format = "frozen_graph"
    exempt = {"truncation": "a graph may end after any node, and says nowhere how many it has"}

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes, and values in the typed fields, fewer and more than elements."""
        typed = {name: each for name, each in TYPED.items() if name not in QUANTISED}
        for name, constants in {"all.pb": every(), "typed.pb": typed}.items():
            graph = graph_of(constants)
            yield Sample(save(folder / name, graph), reference(graph))

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A handle, an unknown dtype and a variable, beside a constant."""
        graph = graph_of({"w": proto("float32", (2,), float_val=[1, 2])})
        for name, number in {"handle": tf.resource.as_datatype_enum, "unknown": 99}.items():
            node = graph.node.add(name=name, op="Const")
            node.attr["value"].tensor.dtype = number
            node.attr["value"].tensor.tensor_shape.dim.add(size=1)
        node = graph.node.add(name="v", op="VariableV2")
        node.attr["dtype"].type = NUMBERS["float32"]
        node.attr["shape"].shape.dim.add(size=2)
        path = save(folder / "odd.pb", graph)
        yield Sample(path, {"w": np.array([1, 2], "f4")}, unreadable=["handle", "unknown", "v"])


@pytest.mark.parametrize("name", TYPED)
def test_typed_values_follow_the_rule_of_tensorflow(tmp_path: Path, name: str) -> None:
    """Too few values repeat the last one, none are zeros, and too many are ignored."""
    graph = graph_of({name: TYPED[name]})
    path = save(tmp_path / "m.pb", graph)
    assert same(initreg.load(path)[name], reference(graph)[name])


def test_quantised_constants_keep_their_dtype(tmp_path: Path) -> None:
    """Their scale is elsewhere, so that they are integers that fit no plain variable."""
    graph = graph_of({name: proto(name, (2, 3), plain(name).tobytes()) for name in QUANTISED})
    path = save(tmp_path / "m.pb", graph)
    wanted = reference(graph)
    with initreg.open(path) as arrays:
        for name in QUANTISED:
            assert arrays[name].spec.dtype == name
            assert same(arrays[name].read(), wanted[name])
    with pytest.raises(initreg.MismatchError, match="qint8 has a scale, which is saved elsewhere"):
        initreg.SmartInit(path).init({"qint8": np.zeros((2, 3), "i1")})


def test_tensors_of_make_tensor_proto(tmp_path: Path) -> None:
    """What TensorFlow itself puts into typed fields, with and without compression."""
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.standard_normal((3, 4)).astype("f4"),
        "b": np.zeros((5, 5), "f4"),
        "c": np.full((300,), 7, "i8"),
        "d": np.array([1, 2, 2, 2, 2], "f2"),
        "e": np.array([[True, False]]),
        "f": np.array(3, "u1"),
    }
    graph = graph_of({name: tf.make_tensor_proto(array) for name, array in arrays.items()})
    with tf.Graph().as_default() as made:
        for name, array in arrays.items():
            tf.constant(array, name=f"g/{name}")
    graph.MergeFrom(made.as_graph_def())
    found = initreg.load(save(tmp_path / "m.pb", graph))
    for name, array in arrays.items():
        assert same(found[name], array), name
        assert same(found[f"g/{name}"], array), name


def frozen() -> tuple[Any, dict[str, Array]]:
    """A graph of TF1, frozen, and the values of its variables."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        v1 = tf.compat.v1
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        with v1.variable_scope("fc", use_resource=False):
            w = v1.get_variable("w", [4, 6], initializer=v1.random_normal_initializer(seed=1))
            y = tf.reshape(tf.matmul(x, w), [-1, 2, 3])
        with v1.variable_scope("out", use_resource=True):
            b = v1.get_variable("b", [3], initializer=v1.ones_initializer())
            y = tf.add(y, b)
        session.run(v1.global_variables_initializer())
        values = {"fc/w": session.run(w), "out/b": session.run(b)}
        graph = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [y.op.name]
        )
    return graph, values


def test_a_graph_of_tf1(tmp_path: Path) -> None:
    """Constants have the names of the variables that they were, and the graph's own are known."""
    graph, values = frozen()
    path = save(tmp_path / "m.pb", graph)
    with initreg.open(path) as arrays:
        assert set(arrays.parameters or ()) == values.keys()
        assert {name for name in arrays if name not in values} == {
            "fc/Reshape/shape" if "fc/Reshape/shape" in arrays else "Reshape/shape"
        }
        for name, value in values.items():
            assert same(arrays[name].read(), value)
    target = {name: np.zeros_like(value) for name, value in values.items()}
    plan = initreg.SmartInit(path, on_unused="error").init(target)  # the shape is not needed
    assert all(same(target[name], value) for name, value in values.items())
    assert "a number of the graph itself" in str(plan)


def test_a_graph_of_tf2(tmp_path: Path) -> None:
    """convert_variables_to_constants_v2 calls constants by the ops that read the variables."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    kernel = tf.Variable(np.arange(12, dtype="f4").reshape(3, 4), name="kernel")

    @tf.function
    def call(x: Any) -> Any:
        return tf.reshape(tf.matmul(x, kernel), [-1])

    function = convert_variables_to_constants_v2(
        call.get_concrete_function(tf.TensorSpec([None, 3], tf.float32))
    )
    path = save(tmp_path / "m.pb", function.graph.as_graph_def())
    with initreg.open(path) as arrays:
        (name,) = arrays.parameters or ()
        assert "MatMul/ReadVariableOp" in name
        assert same(arrays[name].read(), kernel.numpy())
    target = {"kernel": np.zeros((3, 4), "f4")}
    initreg.SmartInit(path, rename={name: "kernel"}).init(target)
    assert same(target["kernel"], kernel.numpy())


def test_constants_of_functions_have_their_name(tmp_path: Path) -> None:
    """A function has nodes of its own, with names that the graph may have, too."""
    graph = graph_of({"w": proto("float32", (1,), float_val=[1])})
    function = graph.library.function.add()
    function.signature.name = "body"
    inner = graph_of({"w": proto("float32", (1,), float_val=[2])})
    function.node_def.extend(inner.node)
    found = initreg.load(save(tmp_path / "m.pb", graph))
    assert {name: array.tolist() for name, array in found.items()} == {"w": [1], "body/w": [2]}


def test_a_graph_that_is_not_frozen_says_so(tmp_path: Path) -> None:
    """Its variables are listed, so that a plan that needs one says where the values are."""
    with tf.Graph().as_default() as graph:
        tf.compat.v1.get_variable("w", [2, 3])
    path = save(tmp_path / "graph.pb", graph.as_graph_def())
    with initreg.open(path) as arrays:
        assert arrays["w"].shape == (2, 3)
    with pytest.raises(initreg.InitregError, match="its values are in a checkpoint"):
        initreg.SmartInit(path).init({"w": np.zeros((2, 3), "f4")})


def wrap(number: int, content: bytes) -> bytes:
    size, length = bytearray(), len(content)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content


OTHERS = {
    "a SavedModel": b"\x08\x01" + wrap(2, wrap(1, wrap(4, b"serve"))),
    "a MetaGraphDef": wrap(1, wrap(2, wrap(1, wrap(1, b"Add"))) + wrap(4, b"serve")),
    "a MetaGraphDef of a version": wrap(1, wrap(1, b"v1") + wrap(2, wrap(1, wrap(1, b"Add")))),
    "an ONNX model": b"\x08\x08" + wrap(7, wrap(2, b"g") + wrap(5, wrap(8, b"w"))),
    "Caffe2's NetDef": wrap(1, b"init") + wrap(2, wrap(2, b"w") + wrap(4, b"GivenTensorFill")),
    "a tf.train.Example": wrap(1, wrap(1, wrap(1, b"key") + wrap(2, wrap(1, b"v")))),
    "a TensorProto": b"\x08\x01" + wrap(2, b"") + wrap(4, b"1234"),
    "a text": b"\nhello",
    "nothing": b"",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_protocol_buffers_are_not_claimed(tmp_path: Path, what: str) -> None:
    """Only the name .pb makes them candidates, and then the error says what is wrong."""
    (tmp_path / "m.dat").write_bytes(OTHERS[what])
    assert "frozen_graph" not in dict(initreg.probe(tmp_path / "m.dat").claims)
    (tmp_path / "m.pb").write_bytes(OTHERS[what])
    claims = dict(initreg.probe(tmp_path / "m.pb").claims)
    assert claims["frozen_graph"].confidence is initreg.Confidence.NAME
    with pytest.raises(initreg.InitregError, match=r"m\.pb"):
        initreg.open(tmp_path / "m.pb", format="frozen_graph")


def test_a_saved_model_stays_what_it_is(tmp_path: Path) -> None:
    """Its folder and its saved_model.pb are opened by the format of checkpoints."""
    module = tf.Module()
    module.w = tf.Variable([1.0, 2.0])
    tf.saved_model.save(module, str(tmp_path / "m"))
    for path in (tmp_path / "m", tmp_path / "m" / "saved_model.pb"):
        probe = initreg.probe(path)
        assert probe.winner == "tf_checkpoint"
        assert "frozen_graph" not in dict(probe.claims)
    other = tmp_path / "m.pb"
    other.write_bytes((tmp_path / "m" / "saved_model.pb").read_bytes())
    with pytest.raises(initreg.InitregError, match=r"Call it saved_model\.pb"):
        initreg.open(other)


def test_any_name_is_claimed_by_the_first_node(tmp_path: Path) -> None:
    """A graph is recognised whatever it is called, and a truncated one by its name."""
    path = save(tmp_path / "model.dat", frozen()[0])
    claim = dict(initreg.probe(path).claims)["frozen_graph"]
    assert claim.confidence is initreg.Confidence.EXACT
    assert claim.reason.startswith("begins with a node of a TensorFlow graph, ")
    whole = path.read_bytes()
    (tmp_path / "m.pb").write_bytes(whole[:-1])
    with pytest.raises(initreg.DamagedFile, match="beyond its message"):
        initreg.open(tmp_path / "m.pb")
    (tmp_path / "m.pb").write_text('node {\n  name: "w"\n}\n')
    with pytest.raises(initreg.InitregError, match="a graph in text form"):
        initreg.open(tmp_path / "m.pb")


@pytest.mark.parametrize(
    ("tensor", "error", "reason"),
    [
        (proto("float32", (3,), bytes(8)), initreg.DamagedFile, "has 8 bytes, but its shape"),
        (proto("float32", (-1,)), initreg.DamagedFile, "unknown shape"),
        (proto("float32", (-2,)), initreg.DamagedFile, r"of the shape \(-2,\)"),
        (proto("float32", (2**40, 2**40)), initreg.DamagedFile, "of the shape"),
        (proto("float32", (1,) * 65), initreg.DamagedFile, "more than 64 axes"),
        (proto("float32", (10**10,), float_val=[1]), initreg.RefusedFile, "unpacks from 4 bytes"),
    ],
)
def test_tensors_that_do_not_fit_are_one_error(
    tmp_path: Path, tensor: Any, error: type[Exception], reason: str
) -> None:
    """Sizes that contradict each other, and few bytes for billions of elements, are refused."""
    path = save(tmp_path / "m.pb", graph_of({"w": tensor}))
    with pytest.raises(error, match=reason):
        initreg.open(path)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (proto("string", (2,), b"\x05\x02abc"), "texts of other lengths"),
        (proto("string", (2,), b"\x05"), "a number that does not end"),
        (proto("bool", (3,), b"\1\0\5"), "neither true nor false"),
        (proto("float4_e2m1fn", (2,), int_val=[1]), "not in the field of float4"),
        (proto("float32", (2,), int_val=[1]), "not in the field of float32"),
    ],
)
def test_values_in_doubt_are_an_error_when_they_are_read(
    tmp_path: Path, tensor: Any, reason: str
) -> None:
    """The other constants of the graph stay readable."""
    graph = graph_of({"w": tensor, "v": proto("float32", (1,), float_val=[1])})
    with initreg.open(save(tmp_path / "m.pb", graph)) as arrays:
        assert arrays["v"].read().tolist() == [1]
        with pytest.raises(initreg.InitregError, match=rf"m\.pb: array 'w'.*{reason}"):
            arrays["w"].read()


def test_two_nodes_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Neither of them is chosen, and a variable counts."""
    graph = graph_of({"w": proto("float32", (1,), float_val=[1])})
    graph.node.add(name="w", op="VariableV2")
    with pytest.raises(initreg.DuplicateName, match="'w'"):
        initreg.open(save(tmp_path / "m.pb", graph))


def test_few_values_for_many_arrays_are_bounded(tmp_path: Path) -> None:
    """A thousand constants of 60 MB, each of one value, are refused together."""
    tensor = proto("float32", (15_000_000,), float_val=[1])
    graph = graph_of({f"w{n}": tensor for n in range(1000)})
    with pytest.raises(initreg.RefusedFile, match="all of its arrays together"):
        initreg.open(save(tmp_path / "m.pb", graph))


def test_a_large_graph_is_not_read_to_be_listed(tmp_path: Path) -> None:
    """Contents are stepped over: 3 GB of zeros are listed at once, and what follows is found."""
    gap = 3 << 30
    small = graph_of({"w": proto("float32", (2,), float_val=[1, 2])}).SerializeToString()
    shape = wrap(2, wrap(2, b"\x08" + _number(gap)))
    tensor = b"\x08\x04" + shape + b"\x22" + _number(gap)
    value = b"\x42" + _number(len(tensor) + gap) + tensor
    entry = wrap(1, b"value") + b"\x12" + _number(len(value) + gap) + value
    node = wrap(1, b"hole") + wrap(2, b"Const") + b"\x2a" + _number(len(entry) + gap) + entry
    with open(tmp_path / "m.pb", "wb") as file:
        file.write(b"\x0a" + _number(len(node) + gap) + node)
        file.seek(gap, os.SEEK_CUR)
        file.write(small)
    assert initreg.probe(tmp_path / "m.pb").winner == "frozen_graph"
    with initreg.open(tmp_path / "m.pb") as arrays:
        assert (arrays["hole"].shape, arrays["hole"].dtype) == ((gap,), np.uint8)
        assert arrays["w"].read().tolist() == [1, 2]
        assert arrays["hole"][math.floor(gap / 2)] == 0


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_no_tensorflow_is_imported(tmp_path: Path) -> None:
    """Reading needs numpy alone: neither TensorFlow nor protobuf is imported."""
    save(tmp_path / "m.pb", graph_of(every() | TYPED))
    code = (
        "import sys, initreg; found = initreg.load('m.pb'); "
        "assert found['scalar'] == 2.5, found; "
        "assert not {'tensorflow', 'google.protobuf'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
