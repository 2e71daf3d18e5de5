"""What HDF5 does not survive: heaps and trees of files that were made to harm."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, RefusedFile

END = 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def local(path: Path, user_block: int = 0) -> tuple[bytearray, int, int]:
    """A file whose group has a name in it that was removed; its bytes, where its heap begins, and
    where the heap's data does."""
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["d/first"] = np.arange(3.0)
        file["d/second"] = np.arange(4.0)
        del file["d/first"]
    raw = bytearray(path.read_bytes())
    heap = raw.rfind(b"HEAP")
    return raw, heap, user_block + int.from_bytes(raw[heap + 24 : heap + 32], "little")


@pytest.mark.parametrize("user_block", [0, 512, 2048])
@pytest.mark.parametrize("far", [False, True])
def test_free_blocks_without_end(path: Path, user_block: int, far: bool) -> None:
    """Free blocks that lead to themselves are an error, wherever the heap's data lies: HDF5 itself
    would take memory for ever."""
    raw, heap, data = local(path, user_block)
    free, size = struct.unpack("<QQ", raw[heap + 16 : heap + 24] + raw[heap + 8 : heap + 16])
    assert free != END
    if far:  # the data of the heap at the file's end, apart from its header
        moved = len(raw)
        raw += raw[data : data + size]
        raw[heap + 24 : heap + 32] = struct.pack("<Q", moved - user_block)
        data = moved
        end = user_block + 40  # of the file, in the superblock
        assert int.from_bytes(raw[end : end + 8], "little") == moved
        raw[end : end + 8] = struct.pack("<Q", len(raw))
    path.write_bytes(raw)
    assert list(initreg.load(path)) == ["d/second"]  # up to here it is a good file
    raw[data + free : data + free + 8] = struct.pack("<Q", free)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: .*a heap whose free blocks have no end"):
        initreg.open(path)


def test_a_local_heap_larger_than_the_file(path: Path) -> None:
    """What a heap of names claims to have is not allocated."""
    raw, heap, _ = local(path)
    raw[heap + 8 : heap + 16] = struct.pack("<Q", 1 << 40)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"a heap of 1,099,511,627,776 bytes, where the file has"):
        initreg.open(path)


def test_heaps_that_overlap(path: Path) -> None:
    """Heaps together are no larger than the file: each is read as a whole."""
    with h5py.File(path, "w") as file:
        for name in "abcdefgh":
            file[f"{name}/w"] = np.arange(3.0)
    raw = bytearray(path.read_bytes())
    heap = raw.find(b"HEAP", raw.find(b"HEAP") + 1)
    while heap >= 0:  # each ends where the file does
        data = int.from_bytes(raw[heap + 24 : heap + 32], "little")
        raw[heap + 8 : heap + 24] = struct.pack("<QQ", len(raw) - data, END)
        heap = raw.find(b"HEAP", heap + 1)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="heaps that overlap"):
        initreg.open(path)


def test_many_groups_are_read(path: Path) -> None:
    """Heaps that are read again do not count again: more groups than HDF5 remembers, twice."""
    with h5py.File(path, "w") as file:
        for number in range(4000):
            file[f"g{number}/w"] = np.float32(number)
    with initreg.open(path) as arrays:
        for _ in range(2):
            assert sum(float(np.asarray(arrays[name])) for name in arrays) == 3999 * 4000 / 2


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_sizes_other_than_8(path: Path, libver: str) -> None:
    """A file whose addresses have 4 bytes is refused, with what to do instead."""
    create = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    create.set_sizes(4, 8)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    if libver == "latest":
        access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    with h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, create, access)) as file:
        file["w"] = np.arange(3.0)
    with pytest.raises(RefusedFile, match=r"m\.h5: its addresses and sizes have 4 and 8 bytes"):
        initreg.open(path)


def test_a_tree_without_bottom(path: Path) -> None:
    """A B-tree that says it has 65,535 levels is an error: HDF5 itself would run out of stack."""
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(600):
            file[f"g/w{number}"] = np.float32(number)
    raw = bytearray(path.read_bytes())
    tree = raw.find(b"BTHD")
    assert int.from_bytes(raw[tree + 12 : tree + 14], "little") == 1
    raw[tree + 12 : tree + 14] = b"\xff\xff"
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: .*a B-tree of more than 32 levels"):
        initreg.open(path)
