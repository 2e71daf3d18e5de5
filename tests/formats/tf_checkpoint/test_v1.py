"""V1 checkpoints, the single files of 2015 and 2016, are read without TensorFlow."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import Confidence, DamagedFile, InitregError
from initreg_formats.shared.protobuf import encode_bytes, encode_number
from initreg_formats.tf_checkpoint.entry import Slice, slice_key
from initreg_formats.tf_checkpoint.leveldb import Table

v1 = tf.compat.v1
V1 = v1.train.SaverDef.V1

VALUES = {
    "f": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "d": np.arange(3.0),
    "i": np.int32(7),
    "l": np.arange(4),
    "b": np.array([True, False]),
    "u": np.arange(3, dtype=np.uint8),
    "c": np.array([1 + 2j], np.complex64),
    "z": np.array([1 - 2j]),
    "h": np.array([0.5, -2], np.float16),
    "n": np.array([[-128], [-1], [127]], np.int8),
    "s": np.array([-(2**15), 300, 0], np.int16),
    "longest": np.array([-(2**63), 2**63 - 1, -1, 128]),
    "none": np.zeros((0, 3), np.float32),
    "part": np.arange(14, dtype=np.float32).reshape(7, 2),
}


@pytest.fixture
def session() -> Iterator[Any]:
    """A session whose graph has all of VALUES as variables, ``part`` in three slices."""
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in VALUES.items():
            if name != "part":
                v1.get_variable(name, initializer=value)
        part = v1.get_variable("part", (7, 2), partitioner=v1.fixed_size_partitioner(3))
        session.run(v1.global_variables_initializer())
        session.run(
            [v.assign(p) for v, p in zip(part, np.split(VALUES["part"], [3, 5]), strict=True)]
        )
        yield session


def save(session: Any, path: Path, **options: Any) -> Path:
    saver = v1.train.Saver(write_version=V1, **options)
    return Path(saver.save(session, str(path), global_step=12))


def check(tables: SimpleNamespace, path: Path | str) -> None:
    (claim,) = (claim for name, claim in initreg.probe(path).claims if name == "tf_checkpoint")
    assert claim.confidence is Confidence.EXACT
    assert "V1" in claim.reason
    with initreg.open(path) as arrays:
        assert sorted(arrays) == sorted(VALUES)
        for name, value in VALUES.items():
            assert arrays[name].shape == np.shape(value)
            assert tables.same(arrays[name].read(), value), name


def test_every_kind(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """Numbers of all kinds, 0-d arrays and slices are read, given the file, its state file or its
    folder."""
    path = save(session, tmp_path / "model.ckpt")
    operations = len(session.graph.get_operations())
    for given in (path, tmp_path, tmp_path / "checkpoint", f"{path}.meta"):
        check(tables, given)
    assert len(session.graph.get_operations()) == operations


def test_strings(tmp_path: Path) -> None:
    """A V1 tensor of strings is read."""
    with tf.Graph().as_default(), v1.Session() as session:
        op = tf.raw_ops.Save(
            filename=str(tmp_path / "s"), tensor_names=["s"], data=[tf.constant(["a\0", ""])]
        )
        session.run(op)
    with initreg.open(tmp_path / "s") as arrays:
        assert arrays["s"].spec.dtype == "string"
        assert arrays["s"].read().tolist() == [b"a\0", b""]


def test_several_files(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """A sharded checkpoint opens by its prefix, its pattern, one of its files, or its state
    file."""
    pattern = save(session, tmp_path / "model.ckpt", sharded=True)
    assert pattern.name == "model.ckpt-12-?????-of-00001"
    one = "model.ckpt-12-00000-of-00001"
    for name in ("", "checkpoint", "model.ckpt-12", pattern.name, one):
        check(tables, tmp_path / name)
    (tmp_path / one).rename(tmp_path / "model.ckpt-12-00000-of-00002")
    with pytest.raises(DamagedFile, match=r"missing 1 of the 2 files: model\.ckpt-12-00001-of-0"):
        initreg.open(tmp_path / "model.ckpt-12")


def test_path_that_looks_like_a_pattern(
    tables: SimpleNamespace, session: Any, tmp_path: Path
) -> None:
    """TensorFlow takes such a path for a pattern. initreg opens the file of just that name."""
    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    shutil.copy(save(session, tmp_path / "model.ckpt"), folder / "m[0]")
    check(tables, folder / "m[0]")


def test_without_tensorflow(
    tables: SimpleNamespace, session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read if TensorFlow is not installed."""
    path = save(session, tmp_path / "model.ckpt")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    check(tables, path)


def test_large(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Variables of several blocks are read, with integers of several lengths, and one array larger
    than what is unpacked at a time."""
    rng = np.random.default_rng(0)
    values = {
        "i": rng.integers(-(2**40), 2**40, 400_000) >> rng.integers(0, 40, 400_000),
        "f": rng.random((300, 400), np.float32),
        "u": rng.integers(0, 256, 2**20 + 5, np.uint8),
    }
    with tf.Graph().as_default(), v1.Session() as session:
        op = tf.raw_ops.Save(
            filename=str(tmp_path / "s"), tensor_names=list(values), data=list(values.values())
        )
        session.run(op)
    with initreg.open(tmp_path / "s") as arrays:
        for name, value in values.items():
            assert tables.same(arrays[name].read(), value), name


def test_a_block_is_read_once_for_all_that_it_holds(
    tables: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small variables share a block, which is read once for all of them. Reading them again reads
    it again."""
    names = [f"v{n:03d}" for n in range(200)]
    with tf.Graph().as_default(), v1.Session() as session:
        data = [np.full(2, n, np.float32) for n in range(200)]
        session.run(tf.raw_ops.Save(filename=str(tmp_path / "s"), tensor_names=names, data=data))
    read: list[int] = []
    block = Table.block
    monkeypatch.setattr(Table, "block", lambda *args: read.append(1) or block(*args))
    with initreg.open(tmp_path / "s") as arrays:
        for _ in range(2):
            for n, name in enumerate(names):
                assert tables.same(arrays[name].read(), np.full(2, n, np.float32))
    assert len(read) == 2


def test_damage(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """A changed byte anywhere, or an early end, is an error."""
    path = save(session, tmp_path / "model.ckpt")
    whole = path.read_bytes()
    metadata = 13  # bytes of the empty block before the index, which nobody reads
    index = whole.rindex(tables.stored(tables.block([])), 0, -48)
    for at in (n for n in range(0, len(whole) - 60, 7) if not index <= n < index + metadata):
        changed = bytearray(whole)
        changed[at] ^= 0x11
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"model\.ckpt-12"):
            initreg.load(path)
    for length in (1, 20, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InitregError, match=r"model\.ckpt-12"):
            initreg.open(path)


def variable(shape: tuple[int, ...], dtype: int, *slices: tuple[tuple[int, int], ...]) -> bytes:
    """What a header says about the variable "x". For a slice: its begin and length on each axis."""
    axes = b"".join(encode_bytes(2, encode_number(1, axis)) for axis in shape)
    message = encode_bytes(1, b"x") + encode_bytes(2, axes) + encode_number(3, dtype)
    for each in slices:
        extents = [encode_number(1, begin) + encode_number(2, size) for begin, size in each]
        message += encode_bytes(4, b"".join(encode_bytes(1, extent) for extent in extents))
    return encode_bytes(1, encode_bytes(1, message))


def stored(box: tuple[tuple[int, int], ...], tensor: bytes) -> tuple[bytes, bytes]:
    """The entry of a slice of "x"."""
    key = slice_key(b"x", Slice(*(tuple(numbers) for numbers in zip(*box, strict=True))))
    return key, encode_bytes(2, encode_bytes(3, tensor))


FLOATS = np.array([1, 2], "<f4").tobytes()
A, B = ((0, 2),), ((2, 2),)
UNTRUE = {
    "2 values in a slice of shape (4,)": ((4,), 1, [(((0, 4),), encode_bytes(5, FLOATS))]),
    "2 values in a slice of shape (1099511627776,)": (
        (1 << 40,),
        4,
        [(((0, 1 << 40),), encode_bytes(7, b"\1\2"))],
    ),
    "a tensor of the impossible shape (1152921504606846976,)": ((1 << 60,), 1, []),
    "slices of 2 elements in all for shape (4,)": ((4,), 1, [(A, encode_bytes(5, FLOATS))]),
    "outside of (3,)": ((3,), 1, [(A, encode_bytes(5, FLOATS)), (B, b"")]),
    "slices that overlap": (
        (4,),
        1,
        [(A, encode_bytes(5, FLOATS)), (((1, 2),), encode_bytes(5, FLOATS))],
    ),
    "a value that is cut short": ((2,), 1, [(A, encode_bytes(5, FLOATS[:-1]))]),
    "values that are not packed": ((2,), 3, [(A, encode_number(7, 1))]),
    "a number that does not end": ((2,), 3, [(A, encode_bytes(7, b"\1\x80"))]),
    "a number of more than 64 bits": ((2,), 3, [(A, encode_bytes(7, b"\xff" * 11 + b"\1"))]),
    "a number that does not fit into uint8": ((2,), 4, [(A, encode_bytes(7, b"\1\x80\2"))]),
    "a slice that x lists": ((2,), 1, [(A, None)]),
    "a slice without values": ((2,), 1, [(A, b"")]),
    "dtype number 20": ((2,), 20, [(A, encode_bytes(5, FLOATS))]),
    "a slice of 1 axes": ((2, 1), 1, [(A, encode_bytes(5, FLOATS))]),
}


@pytest.mark.parametrize("what", UNTRUE)
def test_untrue(tables: SimpleNamespace, tmp_path: Path, what: str) -> None:
    """A file with right checksums and impossible contents is an error."""
    shape, dtype, slices = UNTRUE[what]
    header = variable(shape, dtype, *(box for box, _ in slices))
    entries = [(b"", header), *sorted(stored(box, t) for box, t in slices if t is not None)]
    if what == "a slice without values":
        entries[1] = (entries[1][0], b"")
    path = tmp_path / "x"
    path.write_bytes(tables.table(entries))
    with pytest.raises(DamagedFile, match=re.escape(what)) as raised:
        initreg.load(path)
    assert str(path) in str(raised.value)


def test_files_that_contradict(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Two files of one checkpoint that give a variable different shapes are an error."""
    for number, size in enumerate((2, 3)):
        header = variable((size,), 1, ((0, size),))
        path = tmp_path / f"m-{number:05d}-of-00002"
        path.write_bytes(tables.table([(b"", header)]))
    with pytest.raises(
        DamagedFile, match=r"m-00001-of-00002: array 'x' is float32 \(3,\) here, but"
    ):
        initreg.open(tmp_path / "m-00000-of-00002")
