"""A damaged checkpoint gives one InitregError, or the arrays that it held before. It never gives a
wrong array."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2

import initreg
from initreg import DamagedFile, InitregError


@pytest.fixture(scope="module")
def small(tables: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with an array, slices, strings, an empty array, and an object graph."""
    folder = tmp_path_factory.mktemp("small")
    first = folder / "first"
    w = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3), name="kernel")
    tf.train.Checkpoint(w=w).write(str(first))
    graph = tf.train.load_checkpoint(str(first)).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    tf.raw_ops.SaveV2(
        prefix=str(folder / "m"),
        tensor_names=[
            *("w/.ATTRIBUTES/VARIABLE_VALUE", "p", "p", "s", "empty"),
            "_CHECKPOINTABLE_OBJECT_GRAPH",
        ],
        shape_and_slices=["", "4 2 0,3:-", "4 2 3,1:-", "", "", ""],
        tensors=[w, tf.ones((3, 2)), tf.zeros((1, 2)), ["a", "bc"], tf.zeros((0, 2)), graph],
    )
    return folder / "m"


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    """The prefix of a copy of the small checkpoint."""
    for file in small.parent.glob("m.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "m"


def content(path: Path | str, verify: bool = True) -> dict[str, tuple[Any, ...]]:
    with initreg.open(path, verify=verify) as arrays:
        found = {}
        for name, array in arrays.items():
            value = array.read()
            bits = value.tolist() if value.dtype == object else value.tobytes()
            found[name] = (array.aliases, value.dtype, value.shape, bits)
        return found


def index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def data_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def test_the_whole_one(copy: Path) -> None:
    """The checkpoint that the tests below damage is read completely."""
    found = content(copy)
    assert sorted(found) == ["empty", "p", "s", "w"]
    assert found["w"][0] == ("kernel",)
    assert found["s"][3] == [b"a", b"bc"]


def test_index_truncated_anywhere(copy: Path) -> None:
    """An index that ends early, at any byte, is claimed and found damaged."""
    whole = index_of(copy).read_bytes()
    for length in range(len(whole)):
        index_of(copy).write_bytes(whole[:length])
        assert [name for name, _ in initreg.probe(copy).claims] == ["tf_checkpoint"]
        with pytest.raises(DamagedFile, match=r"m\.index"):
            initreg.open(copy)


def test_index_with_any_byte_changed(copy: Path) -> None:
    """Whichever byte of the index changes, nothing wrong is read from it."""
    wanted = content(copy)
    whole = index_of(copy).read_bytes()
    caught = 0
    for at in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[at] ^= change
            index_of(copy).write_bytes(changed)
            try:
                assert content(copy) == wanted
            except DamagedFile:
                caught += 1
    assert caught > 2 * len(whole)  # what is left is padding and the empty block of metadata


def test_index_with_any_byte_changed_unverified(copy: Path) -> None:
    """With ``verify=False`` a changed byte may go unnoticed, but every error is an InitregError."""
    whole = index_of(copy).read_bytes()
    errors = unnoticed = 0
    for at in range(len(whole)):
        for value in (0, 0x7F, 0xFF, whole[at] ^ 1):
            index_of(copy).write_bytes(whole[:at] + bytes((value,)) + whole[at + 1 :])
            try:
                content(copy, verify=False)
                unnoticed += 1
            except InitregError:
                errors += 1
    assert min(errors, unnoticed) > len(whole) / 2


def test_index_of_noise(copy: Path) -> None:
    """If several random bytes change and nothing is verified, every error is an InitregError."""
    whole = index_of(copy).read_bytes()
    choose = random.Random(5)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(choose.randint(1, 6)):
            changed[choose.randrange(len(changed) - 48)] = choose.choice((0, 1, 0x7F, 0xFF, 0x12))
        index_of(copy).write_bytes(changed)
        try:
            content(copy, verify=False)
        except InitregError:
            refused += 1
    assert 0 < refused < 300


def test_any_byte_of_the_data_changed(copy: Path) -> None:
    """Whichever byte of the data changes, the array that it belongs to is not read."""
    wanted = content(copy)
    whole = data_of(copy).read_bytes()
    assert len(whole) > 50
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x40
        data_of(copy).write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"crc32c|do not add up|does not end|more than 64"):
            content(copy)
    data_of(copy).write_bytes(whole)
    assert content(copy) == wanted


def test_data_truncated(copy: Path) -> None:
    """A data file that ends early, at any byte, is found when the checkpoint is opened."""
    whole = data_of(copy).read_bytes()
    for length in range(len(whole)):
        data_of(copy).write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match="truncated"):
            initreg.open(copy)


def test_names_the_array_and_its_checksums(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A damaged array is named, and the others are still read. verify=False reads it, too."""
    tables.save(tmp_path / "m", {"bad": np.arange(4.0), "good": np.arange(3.0)})
    data = bytearray(data_of(tmp_path / "m").read_bytes())
    data[0] ^= 1
    data_of(tmp_path / "m").write_bytes(data)
    with initreg.open(tmp_path / "m") as arrays:
        assert arrays["good"].read().tolist() == [0, 1, 2]
        with pytest.raises(DamagedFile, match=r"'bad' fails its crc32c"):
            arrays["bad"].read()
    with initreg.open(tmp_path / "m", verify=False) as arrays:
        assert arrays["bad"].read()[1:].tolist() == [1, 2, 3]


Entries = dict[bytes, Any]


def entry(**fields: Any) -> Any:
    shape = fields.pop("shape", ())
    dtype = fields.pop("dtype", 1)
    message = tensor_bundle_pb2.BundleEntryProto(**fields)
    message.dtype = dtype
    for axis in shape:
        message.shape.dim.add(size=axis)
    return message


def no_slice(entries: Entries) -> None:
    del entries[next(key for key in entries if key.startswith(b"\0p"))]


def slice_twice(entries: Entries) -> None:
    entries[b"p"].slices.append(entries[b"p"].slices[0])


def slice_outside(entries: Entries) -> None:
    entries[b"p"].shape.dim[0].size = 3


def slice_of_other_rank(entries: Entries) -> None:
    entries[b"p"].shape.dim.add(size=1)


def slice_of_other_dtype(entries: Entries) -> None:
    entries[b"p"].dtype = 3


def header_of_the_future(entries: Entries) -> None:
    entries[b""].version.min_consumer = 2


def change(key: bytes, **fields: Any) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        for field, value in fields.items():
            setattr(entries[key], field, value)

    return apply


def replace(key: bytes, **fields: Any) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        entries[key] = entry(**fields)

    return apply


def remove(key: bytes) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        del entries[key]

    return apply


W = b"w/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (change(W, dtype=0), "dtype number 0"),
        (change(W, dtype=99), "dtype number 99"),
        (change(W, shard_id=1), "data file 1, but there are only 1"),
        (change(W, shard_id=-1), "but there are only 1"),
        (change(W, offset=1 << 40), "truncated"),
        (change(W, offset=-1), "truncated"),
        (change(W, size=1 << 40), "truncated"),
        (change(W, size=20), "takes 24 bytes"),
        (change(b"", num_shards=2), "missing 1 of the 2 data files"),
        (change(b"", num_shards=0), "there are only 0"),
        (change(b"", num_shards=-1), "header is damaged"),
        (header_of_the_future, "reader of version 2"),
        (remove(b""), "no header"),
        (replace(W, shape=[1 << 50], size=1 << 52), "truncated"),
        (replace(W, shape=[1 << 61]), "a tensor of the impossible shape"),
        (replace(W, shape=[2] * 40), "40 axes"),
        (replace(W, shape=[-1]), "a tensor of the impossible shape"),
        (replace(b"s", dtype=7, shape=[1 << 50], size=20), "1,125,899,906,842,624 strings in 20"),
        (replace(b"s", dtype=7, shape=[2], size=1 << 50), "truncated"),
        (no_slice, "a slice of shape"),
        (slice_twice, "slices of 14 elements in all for shape"),
        (slice_outside, "outside of"),
        (slice_of_other_rank, "a slice of 2 axes"),
        (slice_of_other_dtype, "a slice at"),
        (lambda entries: entries.update({b"bad\xff": entry()}), "not UTF-8"),
        (lambda entries: entries.update({b"w": entry(shape=[0])}), "two arrays are called 'w'"),
    ],
)
def test_whole_index_that_lies(
    tables: SimpleNamespace, copy: Path, damage: Callable[[Entries], None], text: str
) -> None:
    """An index with right checksums and impossible contents is an error."""
    entries: Entries = {}
    for key, value in tables.read(index_of(copy)).items():
        kind = tensor_bundle_pb2.BundleEntryProto if key else tensor_bundle_pb2.BundleHeaderProto
        entries[key] = kind.FromString(value)
    damage(entries)
    written = {key: message.SerializeToString() for key, message in entries.items()}
    index_of(copy).write_bytes(tables.table(sorted(written.items())))
    with pytest.raises(InitregError, match=text) as caught:
        initreg.open(copy)
    assert str(copy) in str(caught.value)


def test_object_graph_that_is_none(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A damaged object graph is an error that says so."""
    tables.save(tmp_path / "m", {"_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant("\x0a\x7f")})
    with pytest.raises(DamagedFile, match="object graph is damaged"):
        initreg.open(tmp_path / "m")


def test_no_variables(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A checkpoint without variables is an empty map, not an error."""
    tf.train.Checkpoint().write(str(tmp_path / "m"))
    with initreg.open(tmp_path / "m") as arrays:
        assert len(arrays) == 0


def test_a_graph_of_one_key(tables: SimpleNamespace, tmp_path: Path) -> None:
    """A key with a hundred thousand names in the object graph opens fast: its names are visited
    once, not once for each."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    for number in range(100_000):
        graph.nodes.add().attributes.add(
            name="VARIABLE_VALUE", full_name=f"n{number}", checkpoint_key="w"
        )
    arrays = {
        "w": np.arange(3.0),
        "_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant(graph.SerializeToString()),
    }
    tables.save(tmp_path / "m", arrays)
    with initreg.open(tmp_path / "m") as opened:
        assert opened["w"].aliases == tuple(f"n{number}" for number in range(100_000))
