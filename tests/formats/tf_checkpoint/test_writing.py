"""Checkpoints that initreg writes have the same bytes as TensorFlow's, and TensorFlow reads
them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import tensor_bundle_pb2

import initreg
from initreg import DamagedFile, InitregError, UnwritableFile

v1 = tf.compat.v1

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64"
DTYPES += " complex128 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e4m3b11fnuz"
DTYPES += " float8_e5m2fnuz int4 uint4 int2 uint2 float4_e2m1fn"
OLD = {"w": np.arange(6, dtype="float32"), "b": np.ones(3, "float32")}
NEW = {"w": np.zeros(5, "float64")}


class Unreadable:
    """An array that is listed, but cannot be read."""

    shape = (4,)
    dtype = np.dtype("float32")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise ValueError("torn")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bits(dtype: str, count: int) -> np.ndarray[Any, Any]:
    """Numbers with any bits, NaNs included, of a dtype of numpy or ml_dtypes."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    raw = np.random.default_rng(5).integers(0, 256, count * kind.itemsize, "uint8")
    if dtype == "bool" or kind.name[-2:] in ("t2", "t4"):
        raw &= 1
    return raw.view(kind)


def files() -> list[str]:
    return sorted(os.listdir())


def assert_as_tensorflow(tables: SimpleNamespace, arrays: dict[str, Any]) -> None:
    """Both files are, byte for byte, those that TensorFlow writes."""
    initreg.save("ours.ckpt", arrays)
    tables.save(Path("theirs.ckpt"), arrays)
    for ending in (".index", ".data-00000-of-00001"):
        ours, theirs = (Path(f"{stem}.ckpt{ending}") for stem in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
        ours.unlink()
        theirs.unlink()


def assert_reads(tables: SimpleNamespace, prefix: str, arrays: dict[str, Any]) -> None:
    """TensorFlow and initreg find these arrays and no others, bit for bit."""
    for found in (tables.by_tensorflow(prefix), initreg.load(prefix)):
        assert sorted(found) == sorted(arrays)
        for name, array in arrays.items():
            assert tables.same(found[name], array), name


# --- what is written --------------------------------------------------------------------------


@pytest.mark.newest
@pytest.mark.parametrize("dtype", DTYPES.split())
def test_every_dtype(tables: SimpleNamespace, dtype: str) -> None:
    """The files are TensorFlow's own, whatever the bits, in any shape."""
    values = bits(dtype, 24)
    for array in (values.reshape(2, 3, 4), values[:1].reshape(()), values[:0].reshape(3, 0)):
        assert_as_tensorflow(tables, {"a/x": array})
        assert_reads(tables, str(initreg.save("m.ckpt", {"x": array})), {"x": array})


@pytest.mark.parametrize(
    "strings",
    [[b"a", b"", b"\0b\0", b"\xff" * 300], [], "one", [["a", "\u00e9"], ["\U0001f600", ""]]],
)
def test_strings(tables: SimpleNamespace, strings: Any) -> None:
    """Strings have the layout and the two checksums that TensorFlow gives them."""
    array = np.array(strings, object)
    if array.size:
        assert_as_tensorflow(tables, {"s": array})
    wanted = np.array([s.encode() if isinstance(s, str) else s for s in array.flat], object)
    assert_reads(
        tables, str(initreg.save("m.ckpt", {"s": array})), {"s": wanted.reshape(array.shape)}
    )


@pytest.mark.newest
@pytest.mark.parametrize("dtype", ["U5", "S6", ">U5", "T"])
def test_arrays_of_text(tables: SimpleNamespace, dtype: str) -> None:
    """numpy's own strings are stored as their UTF-8 bytes."""
    text = np.array([["fc", ""], ["abcde", "x"]])
    array = text.astype(np.dtypes.StringDType() if dtype == "T" else dtype)
    wanted = np.array([[s.encode() for s in row] for row in text], object)
    assert_reads(tables, str(initreg.save("m.ckpt", {"s": array})), {"s": wanted})


def test_several_blocks(tables: SimpleNamespace) -> None:
    """Ten thousand names fill several blocks of the index, each as TensorFlow fills it."""
    arrays = {f"layer/{n:05d}/kernel": np.full(16, n, "float32") for n in range(10_500)}
    assert_as_tensorflow(tables, arrays)


@settings(max_examples=15)
@given(
    shapes=st.dictionaries(
        st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1),
        st.lists(st.integers(0, 3), max_size=4),
        min_size=1,
    )
)
def test_any_names_and_shapes(tables: SimpleNamespace, shapes: dict[str, list[int]]) -> None:
    """Whatever the names and shapes are, the files are TensorFlow's."""
    # Of 64 bytes an element, so that there is nothing to align, and in the order of the keys.
    assert_as_tensorflow(
        tables, {n: np.ones([*s, 16], "float32") for n, s in sorted(shapes.items())}
    )


def test_every_array_is_aligned(tables: SimpleNamespace) -> None:
    """Arrays begin at multiples of 64 bytes, and entries say so; the header is TensorFlow's."""
    arrays = {f"v{n}": bits("uint8", n * 37 + 1) for n in range(20)}
    arrays["s"] = np.array([b"abc"], object)
    initreg.save("m.ckpt", arrays)
    found = tables.read(Path("m.ckpt.index"))
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(found.pop(b""))
    assert header.num_shards == 1
    assert header.endianness == tensor_bundle_pb2.BundleHeaderProto.LITTLE
    assert (header.version.producer, header.version.min_consumer) == (1, 0)
    data = Path("m.ckpt.data-00000-of-00001").read_bytes()
    ends = []
    for key, value in found.items():
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        assert entry.SerializeToString(deterministic=True) == value
        assert entry.offset % 64 == entry.shard_id == 0
        stored = data[entry.offset : entry.offset + entry.size]
        if key != b"s":
            assert stored == arrays[key.decode()].tobytes()
            assert entry.crc32c == tables.checksum(stored)
        ends.append(entry.offset + entry.size)
    assert max(ends) == len(data)
    assert_reads(tables, "m.ckpt", arrays)


def test_arrays_as_they_come(tables: SimpleNamespace) -> None:
    """Arrays of any order of axes and bytes are stored in C order and native byte order, also large
    ones and read-only ones."""
    large = bits("uint16", 3 << 20).reshape(3, 1 << 20)
    large.setflags(write=False)
    arrays = {
        "\u5c42/\u03b2": np.arange(6).reshape(2, 3),
        "fc": large,
        "fc/W": large.T,
        "fc/W1": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "fc/b": np.arange(5, dtype=">f4"),
        "fc/b/Adam": np.arange(20)[::-3],
    }
    initreg.save("m.ckpt", arrays)
    arrays["fc/b"] = arrays["fc/b"].astype("=f4")
    assert_reads(tables, "m.ckpt", arrays)


# --- who reads it -----------------------------------------------------------------------------


@pytest.mark.parametrize("saves", [1, 2])
def test_every_reader_of_tensorflow(saves: int) -> None:
    """Saver, Checkpoint and both readers read it, also if it replaced another checkpoint."""
    for _ in range(saves):
        prefix = str(initreg.save("m.ckpt", {**OLD, "step": np.array(7)}))
    assert prefix == "m.ckpt"
    assert tf.train.list_variables(prefix) == [("b", [3]), ("step", []), ("w", [6])]
    assert v1.train.checkpoint_exists(prefix)
    reader = v1.train.NewCheckpointReader(prefix)
    assert reader.get_variable_to_dtype_map() == {
        "w": tf.float32,
        "b": tf.float32,
        "step": tf.int64,
    }
    np.testing.assert_array_equal(reader.get_tensor("w"), OLD["w"])
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", 6, use_resource=False)
        step = v1.get_variable("step", (), tf.int64)
        v1.train.Saver().restore(session, prefix)
        np.testing.assert_array_equal(session.run(w), OLD["w"])
        assert session.run(step) == 7
    b = tf.Variable(tf.zeros(3), name="b")
    tf.train.Checkpoint(b=b).restore(prefix)
    np.testing.assert_array_equal(b.numpy(), OLD["b"])
    v1.train.remove_checkpoint(prefix)
    assert files() == []


def test_an_object_based_checkpoint(tables: SimpleNamespace) -> None:
    """It becomes name-based: the keys have no TensorFlow ending, and there is no object graph."""
    tf.train.Checkpoint(net=tf.Module(), w=tf.Variable([1.0, 2.0])).write("graph.ckpt")
    initreg.convert("graph.ckpt", "m.ckpt")
    assert_reads(tables, "m.ckpt", {"w": np.array([1, 2], "float32")})


# --- another one in its place -----------------------------------------------------------------


def test_overwriting(tables: SimpleNamespace) -> None:
    """The new data file has another name than the old one, which is removed. All files that the
    index counts exist."""
    for n in range(5):
        initreg.save("m.ckpt", {"w": np.full(3, n)})
        assert_reads(tables, "m.ckpt", {"w": np.full(3, n)})
        count = n % 2 + 1
        shards = [f"m.ckpt.data-{shard:05d}-of-{count:05d}" for shard in range(count)]
        assert files() == [*shards, "m.ckpt.index"]
        header = tables.read(Path("m.ckpt.index"))[b""]
        assert tensor_bundle_pb2.BundleHeaderProto.FromString(header).num_shards == count


def test_a_checkpoint_over_itself(tables: SimpleNamespace) -> None:
    """A checkpoint can be converted in place."""
    initreg.save("m.ckpt", OLD)
    initreg.convert("m.ckpt", "m.ckpt", drop="b")
    assert_reads(tables, "m.ckpt", {"w": OLD["w"]})


def test_a_save_that_fails(tables: SimpleNamespace) -> None:
    """If an array cannot be read midway, the old checkpoint is unchanged."""
    initreg.save("m.ckpt", OLD)
    before = files()
    with pytest.raises(DamagedFile, match="array 'x' cannot be read"):
        initreg.save("m.ckpt", {**NEW, "x": Unreadable()})
    assert files() == before
    assert_reads(tables, "m.ckpt", OLD)


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_rename_that_fails(
    tables: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """The index is renamed last, and until then the old checkpoint is complete."""
    initreg.save("m.ckpt", OLD)
    before = files()
    replace = os.replace
    done: list[str] = []

    def stop(source: Any, target: Any) -> None:
        assert_reads(tables, "m.ckpt", OLD)
        if len(done) == renamed:
            raise OSError(5, "stopped")
        replace(source, target)
        done.append(Path(target).name)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(UnwritableFile, match="stopped"):
        initreg.save("m.ckpt", NEW)
    assert done == [f"m.ckpt.data-0000{n}-of-00002" for n in range(renamed)]
    assert files() == before
    assert_reads(tables, "m.ckpt", OLD)


def test_what_a_killed_save_left(tables: SimpleNamespace) -> None:
    """Data files without an index are removed and not overwritten. Those of other prefixes stay."""
    Path("m.ckpt.data-00000-of-00001").write_bytes(b"left")
    others = ["m.ckpt-1.data-00000-of-00001", "m.ckpt.data-1-of-1", "m.ckpt.meta"]
    for name in others:
        Path(name).write_bytes(b"mine")
    initreg.save("m.ckpt", NEW)
    assert_reads(tables, "m.ckpt", NEW)
    shards = ["m.ckpt.data-00000-of-00002", "m.ckpt.data-00001-of-00002"]
    assert files() == sorted([*others, *shards, "m.ckpt.index"])


# --- how it is called -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "format", "prefix"),
    [
        ("m.ckpt", None, "m.ckpt"),
        ("m.ckpt-1000", None, "m.ckpt-1000"),
        ("model-1000", "tf_checkpoint", "model-1000"),
        ("m.index", None, "m"),
        ("m.ckpt-3.index", None, "m.ckpt-3"),
    ],
)
def test_the_prefix(tables: SimpleNamespace, given: str, format: str | None, prefix: str) -> None:
    """The path is the prefix or the index. The prefix is returned, and opens the checkpoint."""
    assert initreg.save(given, OLD, format=format) == Path(prefix)
    assert files() == [f"{prefix}.data-00000-of-00001", f"{prefix}.index"]
    assert_reads(tables, prefix, OLD)


def test_where_a_v1_checkpoint_stood(tables: SimpleNamespace) -> None:
    """A V1 checkpoint in one file is replaced by the new one."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("w", initializer=OLD["w"])
        session.run(v1.global_variables_initializer())
        v1.train.Saver(write_version=v1.train.SaverDef.V1).save(
            session, "m.ckpt", write_meta_graph=False, write_state=False
        )
    assert files() == ["m.ckpt"]
    assert initreg.save("m.ckpt", NEW) == Path("m.ckpt")
    assert_reads(tables, "m.ckpt", NEW)
    assert files() == ["m.ckpt.data-00000-of-00001", "m.ckpt.index"]


def test_where_another_file_stands(tables: SimpleNamespace) -> None:
    """A file with the name of the prefix stays, so the index opens the checkpoint."""
    Path("checkpoint").write_text('model_checkpoint_path: "m.ckpt-1"')
    result = initreg.save("checkpoint", NEW, format="tf_checkpoint")
    assert result == Path("checkpoint.index")
    assert tables.same(initreg.load(result)["w"], NEW["w"])
    assert Path("checkpoint").read_text() == 'model_checkpoint_path: "m.ckpt-1"'


def test_links(tables: SimpleNamespace) -> None:
    """A prefix that is a link is followed. An index that is a link is refused."""
    Path("real").mkdir()
    os.symlink("real/m.ckpt", "link.ckpt")
    result = initreg.save("link.ckpt", NEW)
    assert result == Path("real/m.ckpt").resolve()
    assert_reads(tables, str(result), NEW)
    os.symlink("real/m.ckpt.index", "other.ckpt.index")
    with pytest.raises(UnwritableFile, match=r"Give the prefix 'other\.ckpt'"):
        initreg.save("other.ckpt.index", OLD)
    assert initreg.save("other.ckpt", OLD) == Path("other.ckpt")
    assert_reads(tables, "other.ckpt", OLD)
    assert_reads(tables, "real/m.ckpt", NEW)


def test_a_folder_is_no_prefix() -> None:
    """A folder is refused, and the error gives a path in it instead."""
    Path("logs.ckpt").mkdir()
    with pytest.raises(UnwritableFile, match=r"is a folder.*'logs\.ckpt/model\.ckpt'"):
        initreg.save("logs.ckpt", OLD)
    assert files() == ["logs.ckpt"]


# --- what has no place in it ------------------------------------------------------------------


@pytest.mark.newest
def test_all_that_has_no_place() -> None:
    """One error names every array that a checkpoint cannot store, and why. Nothing is written."""
    arrays = {
        "fine": np.ones(2),
        "when": np.array(["2026-01-01"], "datetime64[D]"),
        "wide": np.ones(2, ml_dtypes.float8_e3m4),
        "axes": np.ones((1,) * 40),
        "": np.ones(1),
        "\udcff": np.ones(1),
        "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph", object),
    }
    with pytest.raises(InitregError) as caught:
        initreg.save("m.ckpt", arrays)
    assert str(caught.value).splitlines() == [
        "m.ckpt: a TensorFlow checkpoint cannot store 6 of the arrays. Nothing was written:",
        "  array 'when': its dtype is datetime64[D], which is not one of numbers. You can drop it: "
        "drop='when'",
        "  array 'wide': its dtype is float8_e3m4, which the format does not have. You can store "
        "it cast: cast={'wide': 'float32'}, or drop it: drop='wide'",
        "  array 'axes': it has 40 axes, and at most 32 are possible. Save as .npz",
        "  array '': its name is empty, and that is the key of the index's header. Rename it",
        "  array '\\udcff': its name is not valid Unicode. Rename it",
        "  array '_CHECKPOINTABLE_OBJECT_GRAPH': checkpoints keep that name for their own records. "
        "Rename or drop it",
    ]
    assert files() == []


@pytest.mark.newest
def test_a_long_list_is_cut() -> None:
    """The first ten of many such arrays are named, and the rest are counted."""
    with pytest.raises(InitregError, match="cannot store 25 of the arrays") as caught:
        initreg.save("m.ckpt", {f"w{n}": np.ones(1, ml_dtypes.float8_e3m4) for n in range(25)})
    assert str(caught.value).endswith(
        "'w9': its dtype is float8_e3m4, which the format does not have. You can store it cast: "
        "cast={'w9': 'float32'}, or drop it: drop='w9'\n"
        "  and 15 more"
    )


def test_text_that_is_none() -> None:
    """A string that is not valid Unicode is refused, and nothing is written."""
    with pytest.raises(
        InitregError, match=r"array 's' holds 'a\\udcff', which is not valid Unicode"
    ):
        initreg.save("m.ckpt", {"s": np.array(["a\udcff"], object)})
    assert files() == []


@pytest.mark.newest
def test_a_missing_string() -> None:
    """An element that is not a string is refused, and nothing is written."""
    missing = np.array(["a", None], np.dtypes.StringDType(na_object=None))
    with pytest.raises(InitregError, match="array 's' holds None, which is neither bytes nor str"):
        initreg.save("m.ckpt", {"s": missing})
    assert files() == []


@pytest.mark.parametrize("option", [{"compress": True}, {"shard_size": "5GB"}])
def test_options(option: dict[str, Any]) -> None:
    """compress and shard_size are refused, and the error names formats that have them."""
    with pytest.raises(InitregError, match=f"neither compressed nor split.*{next(iter(option))}"):
        initreg.save("m.ckpt", OLD, **option)
    assert files() == []


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("taken", [False, True])
def test_a_checkpoint_that_is_moved(tmp_path: Path, shards: int, taken: bool) -> None:
    """TensorFlow reads under the new name what it wrote under the old one, also what is not an
    array, whether or not a checkpoint has that name. Nothing is left of either, and nothing is
    copied."""
    from initreg.api.saving import move
    from initreg.storage.output import written

    values = {f"x{n}": np.full(1000, n, "f4") for n in range(shards)}
    prefixes = []
    for name, value in values.items():
        prefixes.append(str(tmp_path / f"part-{name}"))
        tf.raw_ops.SaveV2(
            prefix=prefixes[-1], tensor_names=[name], shape_and_slices=[""], tensors=[value]
        )
    hidden = tmp_path / ".hidden"
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=prefixes, destination_prefix=str(hidden))
    if taken:
        for _ in range(2):
            initreg.save(tmp_path / "m.index", {"old": np.ones(5)})
    inodes = {path.stat().st_ino for path in tmp_path.glob(".hidden.data*")}
    with written(tmp_path / "m.index") as output:
        move(hidden, output)
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    assert set(reader.get_variable_to_shape_map()) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(reader.get_tensor(name), value)
        np.testing.assert_array_equal(initreg.load(tmp_path / "m")[name], value)
    names = sorted(path.name for path in tmp_path.iterdir())
    data = [name for name in names if name.startswith("m.data")]
    assert data == [f"m.data-{n:05d}-of-{len(data):05d}" for n in range(len(data))]
    assert names == [*data, "m.index"]
    assert inodes <= {path.stat().st_ino for path in tmp_path.glob("m.data*")}
