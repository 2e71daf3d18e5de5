"""initreg.arrays.reader: ``array[2:4]`` reads those bytes, and gives what numpy would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import initreg

ARRAY = np.arange(40 * 50 * 6, dtype="f4").reshape(40, 50, 6)
ROW = ARRAY[0].nbytes


def _npy(path: Path, order: str = "C") -> None:
    np.save(path, np.asarray(ARRAY, order=order))  # type: ignore[call-overload]


def _checkpoint(path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("x", initializer=ARRAY, use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(path), write_meta_graph=False)


def _h5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=ARRAY, **options)


WRITERS: dict[str, Callable[[Path], None]] = {
    "c.npy": _npy,
    "f.npy": lambda path: _npy(path, "F"),
    "stored.npz": lambda path: np.savez(path, x=ARRAY),
    "packed.npz": lambda path: np.savez_compressed(path, x=ARRAY),
    "big-endian.npz": lambda path: np.savez(path, x=ARRAY.astype(">f4")),
    "a.safetensors": lambda path: safetensors.numpy.save_file({"x": ARRAY}, path),
    "contiguous.h5": _h5,
    "chunked.h5": lambda path: _h5(path, chunks=(7, 20, 6), compression="gzip"),
    "a.ckpt": _checkpoint,
}
# What no library has to unpack, in C order.
PLAIN = ["c.npy", "stored.npz", "big-endian.npz", "a.safetensors", "contiguous.h5", "a.ckpt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts")
    for name, write in WRITERS.items():
        write(path / name)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that each read asks for."""
    counts: list[int] = []
    preadv = os.preadv

    def count(descriptor: int, into: Any, offset: int) -> int:
        counts.append(preadv(descriptor, into, offset))
        return counts[-1]

    monkeypatch.setattr(os, "preadv", count)
    return counts


def only(opened: initreg.ArrayMap) -> initreg.LazyArray:
    (array,) = opened.values()
    return array


@pytest.mark.parametrize("name", PLAIN)
def test_rows_are_read_and_nothing_else(folder: Path, counted: list[int], name: str) -> None:
    """Rows are read in one read of exactly their bytes, and so is a single element."""
    with initreg.open(folder / name) as opened:
        array = only(opened)
        counted.clear()
        np.testing.assert_array_equal(array[2:4], ARRAY[2:4])
        assert counted == [2 * ROW]
        counted.clear()
        assert array[3, 4, 5] == ARRAY[3, 4, 5]
        assert counted == [4]
        counted.clear()
        assert array[40:].shape == (0, 50, 6)
        assert counted == []


def test_of_a_fortran_array_the_last_axis_is_read(folder: Path, counted: list[int]) -> None:
    """In Fortran order, a slice of the last axis is one read, as the first axis is contiguous."""
    with initreg.open(folder / "f.npy") as opened:
        array = only(opened)
        counted.clear()
        np.testing.assert_array_equal(array[..., 1:3], ARRAY[..., 1:3])
        assert counted == [2 * ARRAY[..., 0].nbytes]


@pytest.mark.parametrize("name", PLAIN)
def test_the_rule_reads_no_more(folder: Path, counted: list[int], name: str) -> None:
    """``slice=`` reads only the bytes of the slice."""
    with initreg.open(folder / name) as opened:
        (x,) = opened
        counted.clear()
        model = {x: np.zeros((3, 50, 6), "f4")}
        initreg.SmartInit(opened.slice(x, 0, 7, 10)).init(model)
    np.testing.assert_array_equal(model[x], ARRAY[7:10])
    assert sum(counted) == 3 * ROW


@pytest.mark.parametrize("name", WRITERS)
@given(index=shapes.basic_indices(ARRAY.shape, allow_ellipsis=True, allow_newaxis=True))
def test_any_index_is_that_of_numpy(folder: Path, name: str, index: Any) -> None:
    """In every format, any index gives the values that numpy gives, in memory of its own."""
    with initreg.open(folder / name) as opened:
        found = only(opened)[index]
    wanted = ARRAY[index]
    assert np.shape(found) == np.shape(wanted)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("index", [40, (0, -51), (0, 0, 0, 0), "x"])
def test_an_index_that_is_none(folder: Path, name: str, index: Any) -> None:
    """An invalid index is the IndexError that numpy raises."""
    with initreg.open(folder / name) as opened, pytest.raises(IndexError):
        only(opened)[index]


@given(st.integers(0, 39), st.integers(1, 40))
def test_a_file_that_shrank(folder: Path, start: int, count: int) -> None:
    """Rows that are still in the file are read; others are an error that names the array."""
    path = folder / "shrunk.npy"
    _npy(path)
    with initreg.open(path) as opened:
        only(opened)[0]
        os.truncate(path, path.stat().st_size - 10 * ROW)
        rows = slice(start, start + count)
        if min(start + count, 40) <= 30:
            np.testing.assert_array_equal(only(opened)[rows], ARRAY[rows])
        else:
            with pytest.raises(initreg.DamagedFile, match="Did it shrink"):
                only(opened)[rows]
