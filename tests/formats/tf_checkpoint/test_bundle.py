"""V2 checkpoints that TensorFlow wrote: every array is what its own reader gives, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2

import initreg
from initreg import DamagedFile

v1 = tf.compat.v1

NUMPY = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
ML_DTYPES = [
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
]
SMALL = ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"]
QUANTISED = {"qint8": "int8", "quint8": "uint8", "qint16": "int16", "quint16": "uint16"}
QUANTISED |= {"qint32": "int32"}


@pytest.fixture
def session() -> Iterator[Any]:
    """A session of two CPU devices, in a graph of its own."""
    config = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), v1.Session(config=config) as session:
        yield session


def assert_same(
    tables: SimpleNamespace, path: Path, prefix: Path | str, hidden: tuple[str, ...] = ()
) -> None:
    """initreg gives for ``path`` what TensorFlow reads, except for the ``hidden`` names."""
    wanted = tables.by_tensorflow(prefix)
    for name in hidden:
        del wanted[name]
    wanted = {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): a for name, a in wanted.items()}
    assert wanted
    with initreg.open(path) as arrays:
        assert arrays.format == "tf_checkpoint"
        assert sorted(arrays) == sorted(wanted)
        for name, array in wanted.items():
            assert arrays[name].shape == np.shape(array)
            assert arrays[name].dtype == np.asarray(array).dtype
            assert tables.same(arrays[name].read(), array), name


@pytest.mark.newest
@pytest.mark.parametrize("dtype", [*NUMPY, *ML_DTYPES])
def test_every_dtype(tables: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    """Numbers with any bits come back unchanged."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    rng = np.random.default_rng(7)
    raw = rng.integers(0, 2 if dtype == "bool" else 256, (5, 3, kind.itemsize), np.uint8)
    tables.save(tmp_path / "m", {"x": raw.view(kind)[..., 0]})
    assert_same(tables, tmp_path / "m", tmp_path / "m")
    assert initreg.open(tmp_path / "m")["x"].spec.dtype == dtype


@pytest.mark.newest
@pytest.mark.parametrize("dtype", SMALL)
def test_dtypes_of_less_than_a_byte(tables: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    """TensorFlow stores each element in one byte, and they are read so."""
    values = np.array([[0, 1, 0], [1, 1, 0]]).astype(getattr(ml_dtypes, dtype))
    tables.save(tmp_path / "m", {"x": values})
    assert_same(tables, tmp_path / "m", tmp_path / "m")


@pytest.mark.parametrize("dtype", QUANTISED)
def test_quantised_dtypes(tables: SimpleNamespace, tmp_path: Path, dtype: str) -> None:
    """A quantised integer is read as the plain one that TensorFlow gives numpy for it. Its dtype is
    known all the same, and is written again."""
    plain = tf.constant([[1, 2], [3, 100]], QUANTISED[dtype])
    tables.save(tmp_path / "m", {"x": tf.bitcast(plain, dtype)})
    assert_same(tables, tmp_path / "m", tmp_path / "m")
    assert initreg.open(tmp_path / "m")["x"].spec.dtype == dtype
    copy = initreg.convert(tmp_path / "m", tmp_path / "copy.ckpt")
    assert tf.train.load_checkpoint(str(copy)).get_variable_to_dtype_map() == {"x": dtype}
    assert_same(tables, copy, copy)


def test_unusual_shapes_and_names(tables: SimpleNamespace, tmp_path: Path) -> None:
    """0-d and empty arrays, many axes, names in any script."""
    arrays = {
        "scalar": np.float32(2.5),
        "empty": np.zeros(0, np.float64),
        "empty/2": np.zeros((3, 0, 2), np.int32),
        "one": np.full((1, 1, 1, 1, 1, 1), 3, np.int8),
        "größe/模型/🙂": np.arange(6.0).reshape(2, 3),
        "a b:c\n": np.arange(3),
    }
    tables.save(tmp_path / "m", arrays)
    assert_same(tables, tmp_path / "m", tmp_path / "m")


def test_strings(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Strings of any bytes and length, 0-d and empty ones too, as objects of bytes."""
    long = b"\x00\xff" * 200 + b"\x00"
    strings = {
        "scalar": tf.constant(long),
        "grid": tf.constant([[b"", b"a\x00"], [long, "größe".encode()], [b"c", b""]]),
        "empty": tf.constant([], tf.string),
        "empty/2": tf.zeros((0, 3), tf.string),
        "number": tf.constant(1.0),
    }
    tables.save(tmp_path / "m", strings)
    assert_same(tables, tmp_path / "m", tmp_path / "m")
    with initreg.open(tmp_path / "m") as arrays:
        assert arrays["grid"].spec.dtype == "string"
        assert arrays["grid"].read()[1].tolist() == [long, "größe".encode()]
        assert type(arrays["scalar"].read().item()) is bytes


def test_thousands_of_variables(tables: SimpleNamespace, tmp_path: Path) -> None:
    """5,000 variables, in an index of several blocks."""
    rng = np.random.default_rng(3)
    arrays = {
        f"encoder/layer_{n // 10}/block_{n % 10}/kernel": rng.standard_normal((n % 4, 3))
        for n in range(5000)
    }
    tables.save(tmp_path / "m", arrays)
    assert (tmp_path / "m.index").stat().st_size > 1 << 17
    assert_same(tables, tmp_path / "m", tmp_path / "m")


def test_name_based(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """What tf.compat.v1.train.Saver writes, an optimiser's slots and a string included."""
    w = v1.get_variable("fc/W", initializer=np.ones((3, 4), np.float32))
    v1.get_variable("label", initializer=tf.constant(["a", "bc"]))
    v1.train.AdamOptimizer().minimize(tf.reduce_sum(w * w), v1.train.create_global_step())
    session.run(v1.global_variables_initializer())
    prefix = v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=7)
    assert_same(tables, tmp_path, prefix)
    with initreg.open(tmp_path) as arrays:
        assert {"fc/W", "fc/W/Adam", "fc/W/Adam_1", "label", "global_step"} <= set(arrays)


def test_partitioned(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """The slices of a partitioned variable are one array, and are not listed themselves."""
    thirds = v1.fixed_size_partitioner(3)
    with v1.variable_scope("part", partitioner=thirds):
        v1.get_variable("rows", (7, 2))
        v1.get_variable("half", (8,), tf.bfloat16)
    v1.get_variable("columns", (2, 300, 2), partitioner=v1.fixed_size_partitioner(3, axis=1))
    session.run(v1.global_variables_initializer())
    prefix = v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    assert_same(tables, tmp_path, prefix)
    with initreg.open(tmp_path) as arrays:
        assert sorted(arrays) == ["columns", "part/half", "part/rows"]


def test_slices_far_out(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Slices whose first index takes one to four bytes in their key, and a name of any script."""
    size = 1 << 22
    starts = [0, 63, 64, 8191, 8192, 1 << 20, (1 << 20) + 1, size]
    whole = np.arange(size).astype(np.int8)
    pieces = [whole[a:b] for a, b in itertools.pairwise(starts)]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "m"),
        tensor_names=["größe"] * len(pieces),
        shape_and_slices=[f"{size} {a},{len(p)}" for a, p in zip(starts, pieces, strict=False)],
        tensors=pieces,
    )
    with initreg.open(tmp_path / "m") as arrays:
        assert tables.same(arrays["größe"].read(), whole)


def test_slices_of_strings(tmp_path: Path) -> None:
    """A partitioned tensor of strings, which TensorFlow writes but cannot read at once, is read."""
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "m"),
        tensor_names=["x", "x"],
        shape_and_slices=["3 2 0,1:-", "3 2 1,2:-"],
        tensors=[tf.constant([["a", "b"]]), tf.constant([["c", "d"], ["e", "f"]])],
    )
    with initreg.open(tmp_path / "m") as arrays:
        assert list(arrays) == ["x"]
        assert arrays["x"].read().tolist() == [[b"a", b"b"], [b"c", b"d"], [b"e", b"f"]]


def test_the_only_slice_of_an_array_is_an_array(tmp_path: Path) -> None:
    """It has the shape of the slice, as far as there are numbers or strings for it. Two slices
    that leave a gap are damage."""
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "m"),
        tensor_names=["x/t_0", "x/t_1", "text", "whole"],
        shape_and_slices=["4 2 0,3:-", "4 2 3,1:-", "9 1,2", "2 0,2"],
        tensors=[tf.ones((3, 2)), tf.fill((1, 2), 7), tf.constant(["a", "b"]), tf.ones(2)],
    )
    with initreg.open(tmp_path / "m") as arrays:
        assert list(arrays) == ["text", "whole", "x/t_0", "x/t_1"]
        assert arrays["x/t_0"].read().tolist() == [[1, 1]] * 3
        assert arrays["x/t_1"].read().tolist() == [[7, 7]]
        assert arrays["text"].read().tolist() == [b"a", b"b"]
        assert arrays["whole"].read().tolist() == [1, 1]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "gap"),
        tensor_names=["x", "x"],
        shape_and_slices=["6 0,2", "6 4,2"],
        tensors=[tf.ones(2), tf.ones(2)],
    )
    with pytest.raises(DamagedFile, match="'x' is damaged: it has slices of 4 elements in all"):
        initreg.open(tmp_path / "gap")


def test_several_data_files(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """A sharded save has one data file for each device, and a partitioned variable lies in both."""
    with v1.device("/cpu:0"):
        v1.get_variable("a", initializer=np.arange(10.0))
    with v1.device("/cpu:1"):
        v1.get_variable("b", initializer=np.arange(5))
    with v1.device(lambda op: "/cpu:0" if "part_0" in op.name else "/cpu:1"):
        v1.get_variable("c", (6, 2), partitioner=v1.fixed_size_partitioner(2))
    session.run(v1.global_variables_initializer())
    prefix = v1.train.Saver(sharded=True).save(session, str(tmp_path / "model.ckpt"))
    assert len(list(tmp_path.glob("*.data-*-of-00002"))) == 2
    assert_same(tables, tmp_path, prefix)
    Path(f"{prefix}.data-00001-of-00002").unlink()
    with pytest.raises(DamagedFile, match=r"model\.ckpt\.data-00001-of-00002") as caught:
        initreg.open(prefix)
    assert "missing 1 of the 2 data files" in str(caught.value)


def graph_aliases(prefix: Path | str) -> dict[str, set[str]]:
    """Key -> full names, from the object graph as TensorFlow's own protobuf reads it."""
    reader = tf.train.load_checkpoint(str(prefix))
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            if attribute.name == "VARIABLE_VALUE" and attribute.full_name:
                key = attribute.checkpoint_key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
                found.setdefault(key, set()).add(attribute.full_name)
    return {key: names - {key} for key, names in found.items()}


def assert_aliases(path: Path, prefix: Path | str) -> None:
    wanted = graph_aliases(prefix)
    assert any(wanted.values())
    with initreg.open(path) as arrays:
        for name in arrays:
            aliases = {a for a in arrays[name].aliases if not a.startswith(f"{name} of ")}
            # Besides full names, an alias may be another path to the object.
            assert aliases >= wanted.get(name, set()), name
            assert all("/" in alias for alias in aliases - wanted.get(name, set())), name


GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def test_object_based(tables: SimpleNamespace, tmp_path: Path) -> None:
    """What tf.train.Checkpoint writes: keys without their suffix, full names as aliases, the
    user's own string but not the graph's."""
    w = tf.Variable(np.arange(6.0).reshape(2, 3), name="kernel")
    label = tf.Variable(["a", "bc"], name="label")
    optimizer = tf_keras.optimizers.legacy.Adam()
    optimizer.apply_gradients([(tf.ones((2, 3), tf.float64), w)])
    model = tf.train.Checkpoint(w=w, label=label, optimizer=optimizer)
    prefix = tf.train.CheckpointManager(model, str(tmp_path), 3).save()
    assert_same(tables, tmp_path, prefix, (GRAPH,))
    assert_aliases(tmp_path, prefix)
    with initreg.open(tmp_path) as arrays:
        assert {"w", "label", "save_counter", "w/.OPTIMIZER_SLOT/optimizer/m"} <= set(arrays)
        assert arrays["w"].aliases == ("kernel",)
        assert arrays["label"].read().tolist() == [b"a", b"bc"]


def test_keras_weights(tables: SimpleNamespace, tmp_path: Path) -> None:
    """What a tf_keras model's save_weights writes in TensorFlow's format."""
    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(3, input_shape=(4,)), tf_keras.layers.BatchNormalization()]
    )
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    model.save_weights(tmp_path / "weights", save_format="tf")
    assert_same(tables, tmp_path / "weights", tmp_path / "weights", (GRAPH,))
    assert_aliases(tmp_path / "weights", tmp_path / "weights")


def test_saved_model(tables: SimpleNamespace, tmp_path: Path) -> None:
    """The variables of a SavedModel, given as its folder."""
    module = tf.Module()
    module.w = tf.Variable(np.arange(4.0), name="weights")
    module.layers = [tf.Variable(3, name="count"), tf.Variable([True, False])]
    tf.saved_model.save(module, str(tmp_path))
    prefix = tmp_path / "variables" / "variables"
    assert_same(tables, tmp_path, prefix, (GRAPH,))
    assert_aliases(tmp_path, prefix)


def test_what_is_no_variable(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Bookkeeping strings, and objects that are not arrays, are not listed. Other strings are."""
    tables.save(
        tmp_path / "m",
        {
            "layer/.ATTRIBUTES/OBJECT_CONFIG_JSON": tf.constant("{}"),
            "state/.ATTRIBUTES/py_state": tf.constant("..."),
            "name/.ATTRIBUTES/VARIABLE_VALUE": tf.constant("mine"),
            "OBJECT_CONFIG_JSON": tf.constant("mine too"),
            "config/.ATTRIBUTES/OBJECT_CONFIG_JSON": tf.constant(3.0),
            "list": tf.raw_ops.TensorListFromTensor(tensor=tf.ones((3, 2)), element_shape=[2]),
            "w": tf.constant(1.0),
        },
    )
    with initreg.open(tmp_path / "m") as arrays:
        names = ["OBJECT_CONFIG_JSON", "config/.ATTRIBUTES/OBJECT_CONFIG_JSON", "name", "w"]
        assert list(arrays) == names
        assert arrays["name"].read().item() == b"mine"


def test_full_name_of_two_variables(tmp_path: Path) -> None:
    """Two variables with the same full name both have it as an alias, and matching drops it as
    ambiguous."""
    one, two = tf.Variable(1.0, name="v"), tf.Variable(2.0, name="v")
    prefix = tf.train.Checkpoint(a=one, b=two).write(str(tmp_path / "m"))
    with initreg.open(prefix) as arrays:
        assert arrays["a"].aliases == arrays["b"].aliases == ("v",)
    target = {"v": np.zeros((), np.float32), "a": np.zeros((), np.float32)}
    with pytest.warns(initreg.InitregWarning):
        initreg.SmartInit(prefix).init(target)
    assert target["a"] == 1
    assert target["v"] == 0


@pytest.mark.parametrize("block_size", [64, 1 << 18])
def test_snappy(tables: SimpleNamespace, tmp_path: Path, block_size: int) -> None:
    """An index whose blocks are compressed, as TensorFlow reads it too."""
    arrays = {f"layer{n}/kernel": np.full((n % 5, 2), n, np.float32) for n in range(300)}
    tables.save(tmp_path / "m", arrays)
    index = tmp_path / "m.index"
    entries = tables.read(index)
    plain = index.stat().st_size
    index.write_bytes(tables.table(entries.items(), snappy=True, block_size=block_size))
    if block_size > plain:
        assert index.stat().st_size < plain / 2
    assert tables.read(index) == entries
    assert_same(tables, tmp_path / "m", tmp_path / "m")


def test_big_endian(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Numbers and strings that a big-endian machine wrote, as TensorFlow reads them too."""
    arrays = {name: np.arange(1, 7).reshape(2, 3).astype(name) for name in NUMPY}
    arrays["float8"] = np.arange(4).astype(ml_dtypes.float8_e5m2)
    arrays["string"] = np.array(["ab", "c" * 300, ""], object)
    tables.save(tmp_path / "m", arrays)
    to_big_endian(tables, tmp_path / "m", arrays)
    # TensorFlow swaps what it can; of the rest, numpy is the judge.
    with initreg.open(tmp_path / "m") as found:
        assert sorted(found) == sorted(arrays)
        for name, array in arrays.items():
            wanted = np.array([s.encode() for s in array], object) if name == "string" else array
            assert tables.same(found[name].read(), wanted), name
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    for name in ("float32", "int64", "uint16", "string"):
        assert tables.same(reader.get_tensor(name), found_again(tmp_path / "m", name))


def found_again(prefix: Path, name: str) -> Any:
    with initreg.open(prefix) as arrays:
        return arrays[name].read()


def to_big_endian(tables: SimpleNamespace, prefix: Path, arrays: dict[str, Any]) -> None:
    """Write the data of ``prefix`` anew, as a big-endian machine would have."""
    index, data = prefix.with_suffix(".index"), Path(f"{prefix}.data-00000-of-00001")
    old = data.read_bytes()
    new = bytearray(old)
    entries = {}
    for key, value in tables.read(index).items():
        if not key:
            header = tensor_bundle_pb2.BundleHeaderProto.FromString(value)
            header.endianness = tensor_bundle_pb2.BundleHeaderProto.BIG
            entries[key] = header.SerializeToString()
            continue
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        begin, end = entry.offset, entry.offset + entry.size
        array = arrays[key.decode()]
        if array.dtype == object:
            lengths = b"".join(len(s).to_bytes(4, "big") for s in array)
            at = begin + sum(len(tables.varint(len(s))) for s in array)
            mark = tables.checksum(lengths).to_bytes(4, "big")
            new[at : at + 4] = mark
            entry.crc32c = tables.checksum(lengths + mark + old[at + 4 : end])
        else:
            new[begin:end] = array.tobytes() if array.itemsize == 1 else array.byteswap().tobytes()
            entry.crc32c = tables.checksum(bytes(new[begin:end]))
        entries[key] = entry.SerializeToString()
    data.write_bytes(new)
    index.write_bytes(tables.table(entries.items()))


def test_big_endian_bfloat16_is_refused(tables: SimpleNamespace, tmp_path: Path) -> None:
    """numpy has no big-endian bfloat16, so it is an error, not wrong numbers."""
    arrays = {"x": np.ones(3, ml_dtypes.bfloat16)}
    tables.save(tmp_path / "m", arrays)
    to_big_endian(tables, tmp_path / "m", {"x": arrays["x"].view(np.uint16)})
    with pytest.raises(DamagedFile, match=r"array 'x' .* big-endian bfloat16"):
        initreg.open(tmp_path / "m")


def test_the_state_of_an_optimizer_is_a_list(tmp_path: Path) -> None:
    """Each knows its place in the list and the length of that, which distinguishes optimizers."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    model.save_weights(str(tmp_path / "model"), save_format="tf")
    with initreg.open(tmp_path / "model") as arrays:
        state = [n for n in arrays if n.startswith("optimizer/_variables/")]
        assert len(state) == 4
        found = [arrays[name].spec.state for name in ("optimizer/_iterations", *state)]
        assert [each.at for each in found] == [(f"{n} of 5",) for n in range(5)]
        assert {each.optimizer.places for each in found} == {("optimizer",)}
        assert arrays["optimizer/_learning_rate"].spec.state.optional
        assert arrays["layer_with_weights-0/kernel"].spec.state is None


def test_strings_that_many_arrays_share(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Any number of arrays of strings may not lie in one place: they would fill the memory."""
    tables.save(tmp_path / "m", {"x": tf.constant([b"x" * 1_000_000])})
    index = tmp_path / "m.index"
    found = tables.read(index)
    for number in range(9):
        found[b"y%03d" % number] = found[b"x"]
    index.write_bytes(tables.table(sorted(found.items())))
    assert len(initreg.load(tmp_path / "m")) == 10
    for number in range(100):
        found[b"y%03d" % number] = found[b"x"]
    index.write_bytes(tables.table(sorted(found.items())))
    with pytest.raises(DamagedFile, match=r"its arrays take 7\d,.* They overlap"):
        initreg.open(tmp_path / "m")
