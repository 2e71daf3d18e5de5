"""initreg.arrays.reader with ``mmap=True``: arrays are views of the file, as safe as a view is."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

import initreg
from initreg import DamagedFile

VALUES = np.arange(5000, dtype="f4").reshape(50, 100)


def root(array: np.ndarray) -> object:  # type: ignore[type-arg]
    """What holds the array's memory."""
    held: object = array
    while isinstance(held, np.ndarray):
        held = held.base
    return held


def is_mapped(array: np.ndarray) -> bool:  # type: ignore[type-arg]
    return type(root(array)).__name__ in ("mmap", "memoryview")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An array of which every element is at a multiple of its size."""
    path = tmp_path / "m.npy"
    np.save(path, VALUES)
    return path


def written(folder: Path) -> list[Path]:
    np.savez(folder / "m.npz", x=VALUES, big=VALUES.astype(">f8"), fortran=VALUES.T)
    np.savez_compressed(folder / "packed.npz", x=VALUES)
    safetensors.numpy.save_file({"x": VALUES, "odd": np.ones(3, "u1")}, folder / "m.safetensors")
    with h5py.File(folder / "m.h5", "w") as file:
        file["x"] = VALUES
        file.create_dataset("chunked", data=VALUES, chunks=(5, 5))
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_with_and_without(tmp_path: Path) -> None:
    """Mapped or not, values, dtypes and order are those of the copying path."""
    for path in written(tmp_path):
        wanted, found = initreg.load(path), initreg.load(path, mmap=True)
        assert list(found) == list(wanted)
        for name, array in found.items():
            np.testing.assert_array_equal(array, wanted[name], strict=True)
            assert array.dtype.isnative
            assert array.flags.c_contiguous


def test_an_aligned_array_is_a_view_that_cannot_be_written(path: Path) -> None:
    """An aligned array is a read-only view, and its base is read-only, too."""
    (array,) = initreg.load(path, mmap=True).values()
    assert is_mapped(array)
    np.testing.assert_array_equal(array, VALUES)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


def test_without_it_nothing_is_mapped(path: Path) -> None:
    """Without mmap=True, arrays own their memory."""
    (array,) = initreg.load(path).values()
    array[:] = 0
    np.testing.assert_array_equal(np.load(path), VALUES)


def test_views_outlive_the_map_and_the_path(path: Path) -> None:
    """A view stays valid after the map is closed and after the file is removed."""
    with initreg.open(path, mmap=True) as opened:
        (array,) = (each.read() for each in opened.values())
        part = np.asarray(array[3:5])
    path.unlink()
    np.testing.assert_array_equal(array, VALUES)
    np.testing.assert_array_equal(part, VALUES[3:5])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what is mapped")
def test_the_file_is_let_go_of_with_its_last_view(path: Path) -> None:
    """After the last view is deleted, no mapping and no descriptor is left."""
    with initreg.open(path, mmap=True) as opened:
        array = next(iter(opened.values())).read()
    assert Path("/proc/self/maps").read_text().count(str(path)) == 1
    del array, opened
    assert Path("/proc/self/maps").read_text().count(str(path)) == 0


def test_a_file_that_is_replaced_does_not_change_what_is_open(path: Path) -> None:
    """Views do not change if the file is replaced by a rename."""
    with initreg.open(path, mmap=True) as opened:
        lazy = next(iter(opened.values()))
        first = lazy[0:1]
        np.save(path.with_suffix(".new.npy"), VALUES + 1)
        path.with_suffix(".new.npy").replace(path)
        np.testing.assert_array_equal(lazy.read(), np.load(path) - 1)
        np.testing.assert_array_equal(first, VALUES[:1])


def test_a_file_that_shrank_before_it_was_mapped(path: Path) -> None:
    """A file that shrank is an error, and does not crash the program."""
    with initreg.open(path, mmap=True) as opened:
        next(iter(opened.values()))[0]
        os.truncate(path, path.stat().st_size - 4)
        with pytest.raises(DamagedFile, match="Did it shrink"):
            next(iter(opened.values())).read()


def test_an_emptied_file(path: Path) -> None:
    """A file that has become empty is an error."""
    with initreg.open(path, mmap=True) as opened:
        next(iter(opened.values()))[0]
        os.truncate(path, 0)
        with pytest.raises(initreg.UnreadableFile, match="cannot be mapped"):
            next(iter(opened.values())).read()


def test_a_flipped_bit_is_found_in_what_is_mapped(tmp_path: Path) -> None:
    """The crc32 of a mapped member is verified, unless verify=False is passed."""
    path = tmp_path / "m.npz"
    member = tmp_path / "x.npy"
    np.save(member, VALUES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a" * (64 - 30 - 5 - len("x.npy")) + "x.npy", member.read_bytes())
    content = bytearray(path.read_bytes())
    (name,) = initreg.load(path, mmap=True)
    content[-200 - len(name)] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=f"array '{name}' fails its crc32"):
        initreg.load(path, mmap=True)
    found = initreg.load(path, mmap=True, verify=False)[name]
    assert (found != VALUES).sum() == 1


def test_a_view_may_be_a_source(path: Path) -> None:
    """A read-only view can be a source, and what is restored from it is a copy."""
    (array,) = initreg.load(path, mmap=True).values()
    model = {"x": np.zeros((50, 100), "f4")}
    initreg.SmartInit({"x": array}).init(model)
    model["x"][:] = 7
    np.testing.assert_array_equal(np.load(path), VALUES)
