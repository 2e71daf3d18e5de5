"""Files that onnx writes give the values that ``onnx.numpy_helper.to_array`` gives."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import initreg
import ml_dtypes
import numpy as np
import onnx
import pytest
from initreg.testing import FormatContract, Sample, same
from initreg.testing.formats.files import held_files
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]

PLAIN = {
    each: getattr(TensorProto, each)
    for each in (
        *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "COMPLEX64", "COMPLEX128", "BOOL"),
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
        *("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
    )
}
SMALL = {
    each: getattr(TensorProto, each)
    for each in ("INT4", "UINT4", "INT2", "UINT2", "FLOAT4E2M1", "FLOAT6E2M3", "FLOAT6E3M2")
}
# Of each small dtype numbers that it has, more than fill their last byte.
VALUES = {"INT4": [-8, -1, 0, 7, 3], "UINT4": [15, 0, 8, 7, 1], "INT2": [-2, -1, 0, 1, 1]}
VALUES |= {"UINT2": [3, 0, 2, 1, 1], "FLOAT4E2M1": [0.5, -6, 0, 3, 1]}
VALUES |= {"FLOAT6E2M3": [7.5, -0.125, 0, 1, 2], "FLOAT6E3M2": [28, -0.0625, 0, 1, 2]}


def plain(number: int) -> Array:
    """Six values of a dtype, negative ones among them if it has such."""
    dtype = helper.tensor_dtype_to_np_dtype(number)
    values = np.array([[1, 2, 3], [0, 1, 4]])
    if dtype.kind not in "ub" and number != TensorProto.FLOAT8E8M0:
        values = -values
    if number == TensorProto.FLOAT8E8M0:
        values = np.array([[1, 2, 4], [1, 8, 16]])
    found = values.astype(dtype)
    if dtype.kind in "iu":
        found[0, 0] = np.iinfo(dtype).max
        found[0, 1] = np.iinfo(dtype).min
    return found * dtype.type(1 + 2j) if dtype.kind == "c" else found


def small(label: str) -> Array:
    return np.array(VALUES[label]).astype(helper.tensor_dtype_to_np_dtype(SMALL[label]))


def typed(name: str, number: int, array: Array) -> TensorProto:
    """The tensor with its values in the field of its dtype, where onnx writes them if not raw."""
    if number in (TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2):
        tensor = TensorProto(name=name, data_type=number, dims=array.shape)
        tensor.int32_data.extend(array.reshape(-1).view(np.uint8).tolist())
        return tensor
    return helper.make_tensor(name, number, array.shape, array.reshape(-1))


def model(
    initializers: Sequence[TensorProto], nodes: Sequence[onnx.NodeProto] = (), **more: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers), **more)
    return helper.make_model(graph, producer_name="tests")


def every() -> dict[str, TensorProto]:
    """Tensors of each dtype, raw and typed, and those of unusual shapes and names."""
    found = {}
    for label, number in (PLAIN | SMALL).items():
        array = plain(number) if label in PLAIN else small(label)
        found[f"{label}.raw"] = numpy_helper.from_array(array, f"{label}.raw")
        found[f"{label}.typed"] = typed(f"{label}.typed", number, array)
    for name, array in {
        "größe/übung": np.full((1, 1), -1.5, "f4"),
        "scalar": np.array(2.5, "f4"),
        "empty": np.zeros((0, 3), "f4"),
        "onnx::MatMul_12": np.arange(6, dtype="f4").reshape(3, 2),
    }.items():
        found[name] = numpy_helper.from_array(array, name)
    found["texts"] = helper.make_tensor("texts", TensorProto.STRING, (2, 1), [b"a", "ü".encode()])
    return found


def expected(tensor: TensorProto, folder: str = "") -> Array:
    """The array by onnx alone."""
    if tensor.data_type == TensorProto.STRING:
        found = np.empty(len(tensor.string_data), object)
        found[:] = tensor.string_data
        return found.reshape(tensor.dims)
    array = numpy_helper.to_array(tensor, folder)
    # onnx leaves the sign out of the unused bits of a byte. A cast sets them as ml_dtypes does.
    if array.dtype.name.startswith("int") and array.dtype.name in ("int4", "int2"):
        array = array.astype(np.int8).astype(array.dtype)
    return array


def all_expected(tensors: dict[str, TensorProto]) -> dict[str, Array]:
    return {name: expected(tensor) for name, tensor in tensors.items()}


def external(folder: Path) -> Sample:
    """A model whose tensors lie in one file beside it."""
    folder.mkdir()
    arrays = {f"w{n}": np.arange(n, n + 600, dtype="f4").reshape(20, 30) for n in range(3)}
    arrays["half"] = np.arange(700, dtype="f2")
    found = model([numpy_helper.from_array(array, name) for name, array in arrays.items()])
    path, data = folder / "m.onnx", folder / "m.onnx.data"
    onnx.save(found, path, save_as_external_data=True, location=data.name)
    return Sample(path, arrays, files=[path, data], parts=[data])


class TestOnnx(FormatContract):
    """The kit: every dtype in every field, and external data."""

    format = "onnx"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes, few arrays, and a model with external data."""
        tensors = every()
        onnx.save(model(list(tensors.values())), folder / "all.onnx")
        yield Sample(folder / "all.onnx", all_expected(tensors))
        few = {"w": numpy_helper.from_array(np.arange(3000, dtype="f4"), "w")}
        onnx.save(model(list(few.values())), folder / "few.onnx")
        yield Sample(folder / "few.onnx", all_expected(few))
        yield external(folder / "external")

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A sparse initializer beside a dense one."""
        values = numpy_helper.from_array(np.array([1.5], "f4"), "odd")
        sparse = helper.make_sparse_tensor(
            values, numpy_helper.from_array(np.array([2], "i8"), "i"), [3, 2]
        )
        dense = np.ones(2, "f4")
        found = model([numpy_helper.from_array(dense, "w")])
        found.graph.sparse_initializer.append(sparse)
        onnx.save(found, folder / "odd.onnx")
        yield Sample(folder / "odd.onnx", {"w": dense}, unreadable=["odd"])


@pytest.mark.parametrize("label", SMALL)
def test_packed_numbers_have_their_values(tmp_path: Path, label: str) -> None:
    """Elements of 2, 4 and 6 bits have the values that were saved, in all lengths."""
    number = SMALL[label]
    whole = np.resize(small(label), 23)
    found = [numpy_helper.from_array(whole[:n], f"raw{n}") for n in range(1, 24)]
    found += [typed(f"typed{n}", number, whole[:n]) for n in range(1, 24)]
    onnx.save(model(found), tmp_path / "m.onnx")
    arrays = initreg.load(tmp_path / "m.onnx")
    for n in range(1, 24):
        for kind in ("raw", "typed"):
            array = arrays[f"{kind}{n}"]
            assert array.dtype == whole.dtype
            assert array.astype("f4").tolist() == whole[:n].astype("f4").tolist(), (kind, n)


def test_constants_and_inner_graphs_have_names(tmp_path: Path) -> None:
    """Tensors of Constant nodes are named by their output, and inner graphs by the way to them."""

    def constant(output: str, array: Array) -> onnx.NodeProto:
        return helper.make_node(
            "Constant", [], [output], value=numpy_helper.from_array(array, "any")
        )

    def branch(value: float) -> onnx.GraphProto:
        weights = numpy_helper.from_array(np.array([value], "f4"), "w")
        nodes = [constant("c", np.array([value + 1], "f4"))]
        return helper.make_graph(nodes, "branch", [], [], [weights])

    nodes = [
        constant("shape", np.array([2, -1])),
        helper.make_node("Constant", [], ["number"], value_float=1.5),
        helper.make_node("If", ["x"], ["if_out"], then_branch=branch(1), else_branch=branch(3)),
    ]
    onnx.save(model([numpy_helper.from_array(np.ones(1, "f4"), "w")], nodes), tmp_path / "m.onnx")
    with initreg.open(tmp_path / "m.onnx") as arrays:
        assert {name: array.read().tolist() for name, array in arrays.items()} == {
            "shape": [2, -1],
            "if_out/then_branch/w": [1],
            "if_out/then_branch/c": [2],
            "if_out/else_branch/w": [3],
            "if_out/else_branch/c": [4],
            "w": [1],
        }
        assert list(arrays.parameters or ()) == ["w"]


def test_outputs_that_nothing_reads_name_nothing(tmp_path: Path) -> None:
    """Nodes whose first output has no name are called by their next one, or by their own name."""

    def loop(name: str, *outputs: str) -> onnx.NodeProto:
        weights = numpy_helper.from_array(np.ones(1, "f4"), "w")
        body = helper.make_graph([], "body", [], [], [weights])
        return helper.make_node("Loop", ["n", "c"], outputs, name, body=body)

    found = model([], [loop("a", "", "x"), loop("b", ""), loop("", "", "y")])
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    assert list(initreg.load(tmp_path / "m.onnx")) == ["x/body/w", "b/body/w", "y/body/w"]


def test_notes_are_metadata(tmp_path: Path) -> None:
    """Who made the model, and its own notes, are metadata."""
    found = model([numpy_helper.from_array(np.ones(1, "f4"), "w")])
    helper.set_model_props(found, {"author": "nobody", "größe": ""})
    onnx.save(found, tmp_path / "m.onnx")
    with initreg.open(tmp_path / "m.onnx") as arrays:
        assert arrays.metadata == {"producer_name": "tests", "author": "nobody", "größe": ""}


def test_fields_may_be_packed_or_not_and_in_runs(tmp_path: Path) -> None:
    """Repeated fields are read in every form that protocol buffers allow."""

    def wrap(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    floats = np.array([1, 2, 3, 4], "<f4").tobytes()
    split = wrap(1, b"\x02\x02") + b"\x10\x01" + wrap(8, b"split")  # dims packed
    split += wrap(4, floats[:4]) + wrap(4, floats[4:])
    single = b"\x08\x04\x10\x01" + wrap(8, b"single")
    single += b"".join(b"\x25" + floats[n : n + 4] for n in range(0, 16, 4))
    integers = b"\x08\x03\x10\x07" + wrap(8, b"integers")
    integers += b"\x38\x05" + wrap(7, b"\xff" * 9 + b"\x01" + b"\x80\x01")
    graph = b"".join(wrap(5, each) for each in (split, single, integers))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a" + wrap(7, graph))
    found = initreg.load(tmp_path / "m.onnx")
    reference = onnx.load(tmp_path / "m.onnx").graph.initializer
    for tensor in reference:
        assert same(found[tensor.name], numpy_helper.to_array(tensor)), tensor.name
    assert found["integers"].tolist() == [5, -1, 128]
    assert found["split"].tolist() == [[1, 2], [3, 4]]


def test_a_model_of_any_name_is_claimed(tmp_path: Path) -> None:
    """The fields of a model are recognised, whatever the file is called; rubbish is not."""
    onnx.save(model(list(every().values())), tmp_path / "m.dat", format="protobuf")
    assert initreg.probe(tmp_path / "m.dat").winner == "onnx"
    (tmp_path / "x.dat").write_bytes((tmp_path / "m.dat").read_bytes()[:-1])
    assert initreg.probe(tmp_path / "x.dat").winner is None


def test_values_in_doubt_are_listed_with_the_reason(tmp_path: Path) -> None:
    """Two sets of values, a wrong field, a segment and an unknown dtype are told, not guessed."""
    twice = numpy_helper.from_array(np.ones(2, "f4"), "twice")
    twice.float_data.extend([3, 4])
    wrong = TensorProto(name="wrong", data_type=TensorProto.FLOAT16, dims=[1], float_data=[1])
    part = numpy_helper.from_array(np.ones(2, "f4"), "part")
    part.segment.begin = 0
    unknown = TensorProto(name="unknown", data_type=99, dims=[1], raw_data=b"abcd")
    onnx.save(model([twice, wrong, part, unknown]), tmp_path / "m.onnx")
    reasons = {"twice": "in the file twice", "wrong": "not in the field of FLOAT16"}
    reasons |= {"part": "only a segment", "unknown": "the number 99"}
    with initreg.open(tmp_path / "m.onnx") as arrays:
        assert list(arrays) == list(reasons)
        for name, reason in reasons.items():
            with pytest.raises(initreg.InitregError, match=rf"m\.onnx: array '{name}'.*{reason}"):
                arrays[name].read()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("dims", [3], "has 8 bytes, but its shape"),
        ("dims", [-1], r"of shape \(-1,\)"),
        ("dims", [2**40, 2**40], "has 8 bytes"),
        ("dims", [1] * 65, "more than 64 axes"),
        ("name", "", "without a name"),
        ("raw_data", b"", "has 0 bytes"),
    ],
)
def test_tensors_that_do_not_fit_are_one_error(
    tmp_path: Path, field: str, value: Any, reason: str
) -> None:
    """Sizes that contradict each other are found when the file is opened."""
    tensor = numpy_helper.from_array(np.ones(2, "f4"), "w")
    tensor.ClearField(field)
    getattr(tensor, field).extend(value) if field == "dims" else setattr(tensor, field, value)
    onnx.save(model([tensor]), tmp_path / "m.onnx")
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(tmp_path / "m.onnx")


def test_two_tensors_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Neither of them is chosen."""
    found = [numpy_helper.from_array(np.full(1, n, "f4"), "w") for n in (1, 2)]
    onnx.save(model(found), tmp_path / "m.onnx")
    with pytest.raises(initreg.DuplicateName, match="'w'"):
        initreg.open(tmp_path / "m.onnx")


def test_graphs_in_each_other_end(tmp_path: Path) -> None:
    """A thousand graphs in each other are refused, and do not exhaust the stack."""
    data = b""
    for _ in range(1000):
        attribute = _wrapped(1, b"body") + _wrapped(6, data)
        node = _wrapped(2, b"o") + _wrapped(4, b"Loop") + _wrapped(5, attribute)
        data = _wrapped(1, node)
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a" + _wrapped(7, data))
    with pytest.raises(initreg.DamagedFile, match="more than 50 levels deep"):
        initreg.open(tmp_path / "m.onnx")


def _wrapped(number: int, content: bytes) -> bytes:
    size, length = bytearray(), len(content)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content


# --- external data --------------------------------------------------------------------------------


def placed(folder: Path, **entries: str) -> Path:
    """A model with one tensor of two float32 numbers, whose external data is described so."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model([tensor]).SerializeToString())
    return path


def test_external_data_has_an_offset_a_folder_and_a_checksum(tmp_path: Path) -> None:
    """External data is read at its offset, in a folder below, and its SHA-1 is compared."""
    (tmp_path / "sub").mkdir()
    data = b"12345678" + np.array([1.5, -2], "<f4").tobytes() + b"rest"
    (tmp_path / "sub" / "w.bin").write_bytes(data)
    where = {"location": "./sub/w.bin", "offset": "8"}
    assert initreg.load(placed(tmp_path, **where))["w"].tolist() == [1.5, -2]
    path = placed(tmp_path, **where, length="8", checksum=hashlib.sha1(data).hexdigest())
    assert initreg.load(path)["w"].tolist() == [1.5, -2]
    placed(tmp_path, **where, checksum=hashlib.sha1(b"other").hexdigest())
    with pytest.raises(initreg.DamagedFile, match="does not match its checksum"):
        initreg.load(path)
    assert initreg.load(path, verify=False)["w"].tolist() == [1.5, -2]


def test_one_file_may_be_spelt_in_two_ways(tmp_path: Path) -> None:
    """Tensors whose paths differ in ``./`` lie in one file, which is let go of once."""
    (tmp_path / "w.bin").write_bytes(np.arange(2, dtype="<f4").tobytes())
    found = model([])
    for name, location in {"a": "w.bin", "b": "./w.bin"}.items():
        tensor = found.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=[2])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    with initreg.open(tmp_path / "m.onnx") as arrays:
        assert [array.read().tolist() for array in arrays.values()] == [[0, 1], [0, 1]]
    assert not [each for each in held_files() if each.endswith("w.bin")]


def test_packed_numbers_may_be_external(tmp_path: Path) -> None:
    """Elements of 4 bits in external data are unpacked from there."""
    array = np.resize(small("INT4"), 3001)
    onnx.save(
        model([numpy_helper.from_array(array, "w")]),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
    )
    found = initreg.load(tmp_path / "m.onnx")["w"]
    assert found.dtype == ml_dtypes.int4
    assert same(found, array)


@pytest.mark.parametrize(
    ("entries", "error", "reason"),
    [
        ({}, initreg.DamagedFile, "without a location"),
        ({"location": "../w.bin"}, initreg.RefusedFile, "leads out of the folder"),
        ({"location": "sub/../../w.bin"}, initreg.RefusedFile, "leads out of the folder"),
        ({"location": "/etc/passwd"}, initreg.RefusedFile, "leads out of the folder"),
        ({"location": "a\\b"}, initreg.RefusedFile, "not a plain file name"),
        ({"location": "linked/w.bin"}, initreg.RefusedFile, "which is a link"),
        ({"location": "out.bin"}, initreg.RefusedFile, "link out of the folder"),
        ({"location": "*/_ORT_MEM_ADDR_/*"}, initreg.DamagedFile, "is missing"),
        ({"location": "gone.bin"}, initreg.DamagedFile, "part gone.bin is missing"),
        ({"location": "w.bin", "offset": "9"}, initreg.DamagedFile, "ends at byte 17"),
        ({"location": "w.bin", "offset": "-4"}, initreg.DamagedFile, "the offset '-4'"),
        ({"location": "w.bin", "length": "12"}, initreg.DamagedFile, "has 12 bytes of external"),
        ({"location": "w.bin", "checksum": "x"}, initreg.DamagedFile, "which is not SHA-1"),
    ],
)
def test_external_data_that_is_wrong_is_one_error(
    tmp_path: Path, entries: dict[str, str], error: type[Exception], reason: str
) -> None:
    """Paths that lead elsewhere are refused, and places that do not fit are damage."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in (tmp_path / "w.bin", folder / "w.bin"):
        path.write_bytes(b"\0" * 16)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "out.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(error, match=reason):
        initreg.open(placed(folder, **entries))


def test_tensors_that_share_their_data_are_bounded(tmp_path: Path) -> None:
    """Ten thousand tensors in one run of a megabyte are refused like any bomb."""
    (tmp_path / "w.bin").write_bytes(bytes(1 << 20))
    tensor = TensorProto(data_type=TensorProto.UINT8, dims=[1 << 20])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    found = model([])
    for n in range(10_000):
        found.graph.initializer.add().CopyFrom(tensor)
        found.graph.initializer[-1].name = f"w{n}"
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    with pytest.raises(initreg.RefusedFile, match="all of its arrays together"):
        initreg.open(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.FLOAT4E2M1])
def test_packed_tensors_that_share_their_data_are_bounded(tmp_path: Path, kind: int) -> None:
    """Tensors that are unpacked here share bytes no more often than extents do."""
    (tmp_path / "w.bin").write_bytes(bytes(1 << 20))
    tensor = TensorProto(data_type=kind, dims=[1 << 21])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    found = model([])
    for n in range(100):
        found.graph.initializer.add().CopyFrom(tensor)
        found.graph.initializer[-1].name = f"w{n}"
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    with pytest.raises(initreg.DamagedFile, match="take 104,857,600 bytes of its files"):
        initreg.open(tmp_path / "m.onnx")
    del found.graph.initializer[2:]  # tied weights may
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    assert [array.shape for array in initreg.load(tmp_path / "m.onnx").values()] == [(1 << 21,)] * 2


def test_external_data_in_the_model_itself(tmp_path: Path) -> None:
    """It is read where it is, and the file is opened once and let go of."""
    path = placed(tmp_path, location="m.onnx", offset="0")
    with initreg.open(path) as arrays:
        assert arrays["w"].read().tobytes() == path.read_bytes()[:8]
    gc.collect()  # a file that is left open is a warning, which is an error here


def test_a_node_without_an_operator_hides_no_weights(tmp_path: Path) -> None:
    """What is in its graph is listed, too, though ONNX does not allow such a node."""
    weights = numpy_helper.from_array(np.ones(1, "f4"), "w")
    body = helper.make_graph([], "body", [], [], [weights])
    found = model([], [helper.make_node("Loop", ["n"], ["o"], body=body)])
    found.graph.node[0].ClearField("op_type")
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    assert list(initreg.load(tmp_path / "m.onnx")) == ["o/body/w"]


def test_a_model_beyond_2_gb_is_read(tmp_path: Path) -> None:
    """Offsets beyond 4 GB are read, in external data and in the model itself."""
    with open(tmp_path / "w.bin", "wb") as file:
        file.seek(5 << 30)
        file.write(np.array([1, 2], "<f4").tobytes())
    path = placed(tmp_path, location="w.bin", offset=str(5 << 30))
    assert initreg.load(path)["w"].tolist() == [1, 2]
    # More than protocol buffers hold: the length of the graph takes five bytes of a varint.
    big, gap = tmp_path / "big.onnx", 3 << 30
    small = _wrapped(5, numpy_helper.from_array(np.ones(2, "f4"), "w").SerializeToString())
    hole = b"\x08" + _number(gap) + b"\x10\x02" + _wrapped(8, b"hole") + b"\x4a" + _number(gap)
    tensor = b"\x2a" + _number(len(hole) + gap) + hole
    with open(big, "wb") as file:
        file.write(b"\x08\x0a\x3a" + _number(len(tensor) + gap + len(small)) + tensor)
        file.seek(gap, os.SEEK_CUR)
        file.write(small)
    assert initreg.probe(big).winner == "onnx"
    with initreg.open(big) as arrays:
        assert arrays["hole"].shape == (gap,)
        assert arrays["w"].read().tolist() == [1, 1]


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_no_onnx_is_imported(tmp_path: Path) -> None:
    """Reading needs numpy alone: neither onnx nor protobuf is imported."""
    onnx.save(model(list(every().values())), tmp_path / "m.onnx")
    code = (
        "import sys, initreg; found = initreg.load('m.onnx'); "
        "assert found['scalar'] == 2.5, found; "
        "assert not {'onnx', 'google.protobuf', 'onnxruntime'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
