"""initreg.arrays.excerpts: parts of arrays, and what numpy prints of large ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg.arrays.excerpts import read_axes, read_corners

ARRAY = np.arange(40 * 50 * 600, dtype="f4").reshape(40, 50, 600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("excerpts")
    np.save(path / "f.npy", np.asfortranarray(ARRAY))
    np.savez(path / "stored.npz", x=ARRAY)
    np.savez_compressed(path / "packed.npz", x=ARRAY)
    safetensors.numpy.save_file({"x": ARRAY}, path / "a.safetensors")
    with h5py.File(path / "chunked.h5", "w") as file:
        file.create_dataset("x", data=ARRAY, chunks=(7, 20, 60), compression="gzip")
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that each read asks for."""
    counts: list[int] = []
    preadv = os.preadv

    def count(descriptor: int, into: Any, offset: int) -> int:
        counts.append(sum(len(each) for each in into))
        return preadv(descriptor, into, offset)

    monkeypatch.setattr(os, "preadv", count)
    return counts


FILES = ["f.npy", "stored.npz", "packed.npz", "a.safetensors", "chunked.h5"]
INDICES = [
    np.s_[::-7, 3, 5:1:-1],
    np.s_[5:5, :, 0],
    np.s_[-1, ::25, ::-200],
    np.s_[...],
    np.s_[0, 0, 0],
    np.s_[39::-39],
]


def axes_of(index: Any) -> list[int | range]:
    index = index if isinstance(index, tuple) else (index,)
    if ... in index:
        index = ()
    index += (slice(None),) * (3 - len(index))
    each = zip(index, ARRAY.shape, strict=True)
    return [range(n)[i] if isinstance(i, slice) else i % n for i, n in each]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("file", FILES)
def test_parts_are_those_of_numpy(folder: Path, file: str, index: Any) -> None:
    """Whatever keeps the array, and whichever way the steps go."""
    with initreg.open(folder / file) as opened:
        [array] = opened.values()
        found = read_axes(array, axes_of(index))
        np.testing.assert_array_equal(found, ARRAY[index])
        assert found.dtype == ARRAY.dtype


@pytest.mark.parametrize("file", FILES)
def test_corners_print_as_the_whole(folder: Path, file: str) -> None:
    """numpy prints the corners exactly as it prints the array, and so it prints a part of it."""
    with initreg.open(folder / file) as opened:
        [array] = opened.values()
        for index in (np.s_[...], np.s_[::-1, 2:, 7], np.s_[:, :4, ::5]):
            found = read_corners(array, axes_of(index), 3)
            text = np.array2string(found, threshold=0)
            assert text == np.array2string(ARRAY[index], threshold=0)


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(1, 3), st.integers(0, 2**32))
def test_corners_of_any_shape(shape: list[int], edge: int, seed: int) -> None:
    """Axes that are shorter than what is shown, of length 0, and none at all."""
    values = np.random.default_rng(seed).normal(size=shape).astype("f4")
    with initreg.open({"x": values}) as opened:
        found = read_corners(opened["x"], [range(n) for n in shape], edge)
    text = np.array2string(found, threshold=0, edgeitems=edge)
    assert text == np.array2string(values, threshold=0, edgeitems=edge)


def test_only_what_is_needed_is_read(folder: Path, counted: list[int]) -> None:
    """Of 4.8 MB, the corners take less than a tenth, and wide steps only the rows that they hit."""
    with initreg.open(folder / "a.safetensors") as opened:
        counted.clear()
        read_corners(opened["x"], axes_of(np.s_[...]), 3)
        assert 0 < sum(counted) < ARRAY.nbytes / 10
        counted.clear()
        found = read_axes(opened["x"], axes_of(np.s_[::20]))
        assert sum(counted) == found.nbytes == ARRAY.nbytes / 20


def test_rules_and_rare_dtypes() -> None:
    """Corners are those after the rules. bfloat16 and strings have theirs."""
    rare = {"b": np.arange(900).reshape(30, 30).astype(ml_dtypes.bfloat16)}
    rare["s"] = np.array([f"n{i}" for i in range(20)], object)
    with initreg.open(rare, transpose="b") as opened:
        found = read_corners(opened["b"], [range(30)] * 2, 2)
        text = np.array2string(found, threshold=0, edgeitems=2)
        assert text == np.array2string(rare["b"].T, threshold=0, edgeitems=2)
        assert read_axes(opened["s"], [range(19, 0, -9)]).tolist() == ["n19", "n10", "n1"]
