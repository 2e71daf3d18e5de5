"""Damaged heaps and trees in HDF5 files, which HDF5 itself does not survive."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, RefusedFile
from initreg_formats.h5.structures import Structures

END = 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def local(path: Path, user_block: int = 0) -> tuple[bytearray, int, int]:
    """A file with a group from which a name was removed: its bytes, where its heap begins, and
    where the heap's data begins."""
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
    """Free blocks that lead to themselves are an error, wherever the heap's data lies. HDF5 itself
    would take memory without end."""
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
    """The size that a heap of names claims is not allocated."""
    raw, heap, _ = local(path)
    raw[heap + 8 : heap + 16] = struct.pack("<Q", 1 << 40)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"a heap of 1,099,511,627,776 bytes in a file of"):
        initreg.open(path)


def test_heaps_that_overlap(path: Path) -> None:
    """Heaps may not be larger together than the file, because each is read completely."""
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
    """Heaps that are read again are not counted again: twice more groups than HDF5 caches are
    read."""
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
    """A B-tree that claims 65,535 levels is an error. HDF5 itself would overflow its stack."""
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(600):
            file[f"g/w{number}"] = np.float32(number)
    raw = bytearray(path.read_bytes())
    tree = raw.find(b"BTHD")
    assert int.from_bytes(raw[tree + 12 : tree + 14], "little") == 1
    raw[tree + 12 : tree + 14] = b"\xff\xff"
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: .*a B-tree of 65,535 levels, where 16"):
        initreg.open(path)


def dense(path: Path) -> tuple[bytearray, int, int]:
    """A file of the newer kind, with groups too large for their headers: its bytes, where the heap
    of a group's links begins, and where the tree begins."""
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(600):
            file[f"g/w{number}"] = np.float32(number)
    raw = bytearray(path.read_bytes())
    return raw, raw.find(b"FRHP"), raw.find(b"BTHD")


@pytest.mark.parametrize(
    ("at", "size", "value"),
    [
        (5, 2, 65535),  # bytes of a place in the heap
        (7, 2, 8),  # a filter
        (10, 4, 1 << 31),  # the largest object
        (46, 8, 1 << 20),  # bytes of the heap
        (110, 2, 0),  # blocks in a row
        (112, 8, 0),  # the first block
        (120, 8, 1 << 40),  # the largest
        (128, 2, 65535),  # bits of the largest size
        (140, 2, 65535),  # rows
    ],
)
def test_fractal_heaps(path: Path, at: int, size: int, value: int) -> None:
    """A heap of links with parameters that HDF5 does not write is refused. HDF5 divides by them,
    and uses them as sizes."""
    raw, heap, _ = dense(path)
    raw[heap + at : heap + at + size] = value.to_bytes(size, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: group '/g': .*a fractal heap of a shape"):
        initreg.open(path)


@pytest.mark.parametrize(
    ("at", "size", "value", "says"),
    [
        (5, 1, 10, "a B-tree of type 10, or of a shape"),
        (6, 4, 1 << 31, "a B-tree of type 5, or of a shape"),
        (10, 2, 0, "a B-tree of type 5, or of a shape"),
        (12, 2, 0, "a B-tree whose node is not where it says"),
        (16, 8, 8, "a B-tree whose node is not where it says"),
        (24, 2, 25, "a B-tree whose node has 25 records, where 24 fit"),
    ],
)
def test_headers_of_trees(path: Path, at: int, size: int, value: int, says: str) -> None:
    """A tree of links that does not fit its nodes is an error."""
    raw, _, tree = dense(path)
    raw[tree + at : tree + at + size] = value.to_bytes(size, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=rf"m\.h5: group '/g': .*{says}"):
        initreg.open(path)


def test_nodes_of_trees(path: Path) -> None:
    """Nodes that claim too many records, lead to each other, or have links outside of the heap are
    an error."""
    raw, _, tree = dense(path)
    root = int.from_bytes(raw[tree + 16 : tree + 24], "little")
    used = int.from_bytes(raw[tree + 24 : tree + 26], "little")
    assert raw.startswith(b"BTIN", root)
    children = root + 6 + 11 * used
    for at, changed, says in (
        (children + 8, b"\xff", "a B-tree whose node has 255 records, where 45 fit"),
        (children + 8, b"\0", "a B-tree whose node has 0 records, where 45 fit"),
        (children + 9, raw[children : children + 8], "a B-tree that leads to one node twice"),
        (root + 6 + 4, b"\x10", "a link that is not in its heap"),
    ):
        made = bytearray(raw)
        made[at : at + len(changed)] = changed
        path.write_bytes(made)
        with pytest.raises(DamagedFile, match=rf"m\.h5: group '/g': .*{says}"):
            initreg.open(path)


@pytest.mark.parametrize("count", [9, 40, 600, 3000])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("libver", ["latest", "v108"])
def test_large_groups_are_read(path: Path, count: int, ordered: bool, libver: str) -> None:
    """Heaps and trees of every size that HDF5 writes are read, with deleted links and many
    attributes."""
    with h5py.File(path, "w", libver=(libver, libver), track_order=ordered) as file:
        value = file.create_dataset("g/a", data=np.arange(3.0))
        for number in range(count):
            file["g"][f"link{number}"] = value
        for number in range(0, count, 3):
            del file[f"g/link{number}"]
        for number in range(30):
            file["g"].attrs[f"a{number}"] = number
        file["g"].attrs["weight_names"] = np.array([b"a"])
        file.attrs["layer_names"] = np.array([b"g"])
    with initreg.open(path) as arrays:
        assert list(arrays) == ["a"]
        links = {f"g/link{number}" for number in range(count) if number % 3}
        assert set(arrays["a"].aliases) == {*links, "g/a"}
        np.testing.assert_array_equal(np.asarray(arrays["a"]), np.arange(3.0))


@pytest.mark.parametrize("axes", [1, 2])
def test_arrays_that_grow(path: Path, axes: int) -> None:
    """Chunks whose index HDF5 does not read safely are listed, but not read. Those of the default
    version are read."""
    for libver in ("earliest", "latest"):
        with h5py.File(path, "w", libver=libver) as file:
            shape = (4,) * axes
            grows = file.create_dataset("w", shape, "f4", maxshape=(None,) * axes, chunks=shape)
            grows[...] = 7
        with initreg.open(path) as arrays:
            assert arrays["w"].shape == shape
            if libver == "earliest":
                assert np.asarray(arrays["w"]).min() == 7
            else:
                with pytest.raises(InitregError, match=r"'w' can grow.*without maxshape=, or"):
                    np.asarray(arrays["w"])


@pytest.mark.parametrize(("at", "size", "value"), [(6, 1, 255), (7, 1, 0), (8, 8, 1 << 60)])
def test_fixed_arrays(path: Path, at: int, size: int, value: int) -> None:
    """An index of chunks that claims more than the file has is an error."""
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("w", data=np.arange(64.0), chunks=(4,))
    raw = bytearray(path.read_bytes())
    array = raw.find(b"FAHD")
    assert array > 0
    raw[array + at : array + at + size] = value.to_bytes(size, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: dataset 'w': .*a fixed array of "):
        initreg.load(path)


@pytest.mark.parametrize("begin", [b"EAHD\0", b"MDCI\0", b"SMTB"])
def test_structures_that_are_refused(begin: bytes) -> None:
    """HDF5 does not get to see what it does not read safely, or what would avoid the checks."""
    structures = Structures(lambda start, size: b"", 0, 1000)
    structures.check(0, b"OHDR" + bytes(28))
    with pytest.raises(OSError, match="which HDF5 does not read safely"):
        structures.check(0, begin.ljust(32, b"\0"))


def test_structures_that_lie_elsewhere(path: Path) -> None:
    """An address past the end of the file is an error, and so is one that is not an offset."""
    raw, _, tree = dense(path)
    for address in (len(raw) - 100, 1 << 60, (1 << 64) - 2):
        raw[tree + 16 : tree + 24] = struct.pack("<Q", address)
        path.write_bytes(raw)
        with pytest.raises(DamagedFile, match=r"m\.h5: group '/g': .*should end at byte "):
            initreg.open(path)
