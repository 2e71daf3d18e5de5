"""V1 checkpoints, the single files of 2015 and 2016: found by us, read by TensorFlow."""

from __future__ import annotations

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
from initreg import Confidence, DamagedFile, InitregError, MissingLibrary

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
    "h": np.array([0.5, 2], np.float16),
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
    """Given as its file, its state file or its folder: numbers of all kinds, 0-d, and slices."""
    path = save(session, tmp_path / "model.ckpt")
    operations = len(session.graph.get_operations())
    for given in (path, tmp_path, tmp_path / "checkpoint", f"{path}.meta"):
        check(tables, given)
    assert len(session.graph.get_operations()) == operations


def test_strings(tmp_path: Path) -> None:
    """A V1 tensor of strings."""
    with tf.Graph().as_default(), v1.Session() as session:
        op = tf.raw_ops.Save(
            filename=str(tmp_path / "s"), tensor_names=["s"], data=[tf.constant(["a\0", ""])]
        )
        session.run(op)
    with initreg.open(tmp_path / "s") as arrays:
        assert arrays["s"].spec.dtype == "string"
        assert arrays["s"].read().tolist() == [b"a\0", b""]


def test_several_files(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """A sharded one, given as its prefix, its pattern, one of its files, or its state file."""
    pattern = save(session, tmp_path / "model.ckpt", sharded=True)
    assert pattern.name == "model.ckpt-12-?????-of-00001"
    one = "model.ckpt-12-00000-of-00001"
    for name in ("", "checkpoint", "model.ckpt-12", pattern.name, one):
        check(tables, tmp_path / name)
    (tmp_path / one).rename(tmp_path / "model.ckpt-12-00000-of-00002")
    with pytest.raises(DamagedFile, match=r"1 of the 2 files missing: model\.ckpt-12-00001-of-0"):
        initreg.open(tmp_path / "model.ckpt-12")


def test_path_that_looks_like_a_pattern(
    tables: SimpleNamespace, session: Any, tmp_path: Path
) -> None:
    """TensorFlow takes a path for a pattern; the file of just that name is opened."""
    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    shutil.copy(save(session, tmp_path / "model.ckpt"), folder / "m[0]")
    check(tables, folder / "m[0]")


def test_without_tensorflow(session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TensorFlow is missing the file is still claimed, and the error says what to install."""
    path = save(session, tmp_path / "model.ckpt")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert initreg.probe(path).winner == "tf_checkpoint"
    with pytest.raises(MissingLibrary, match=r"pip install 'initreg\[tensorflow\]'"):
        initreg.open(path)


def test_damage(tables: SimpleNamespace, session: Any, tmp_path: Path) -> None:
    """A byte changed anywhere, or an early end: an error of ours before TensorFlow sees it."""
    path = save(session, tmp_path / "model.ckpt")
    whole = path.read_bytes()
    metadata = 13  # bytes of the empty block before the index, which nobody reads
    index = whole.rindex(tables.stored(tables.block([])), 0, -48)
    for at in (n for n in range(0, len(whole) - 60, 7) if not index <= n < index + metadata):
        changed = bytearray(whole)
        changed[at] ^= 0x11
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"model\.ckpt-12"):
            initreg.open(path)
    for length in (1, 20, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InitregError, match=r"model\.ckpt-12"):
            initreg.open(path)
