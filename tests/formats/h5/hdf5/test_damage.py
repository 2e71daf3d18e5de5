"""Damaged structures in HDF5 files: each is an InitregError that says what is wrong."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, RefusedFile
from initreg_formats.h5.hdf5.content import Bad, Content
from initreg_formats.h5.hdf5.lookup3 import check, lookup3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def end_of(raw: bytes, start: int) -> int:
    """Where the checksum of the structure that begins there is."""
    for end in range(start + 8, min(start + 600, len(raw) - 3)):
        if lookup3(raw[start:end]) == int.from_bytes(raw[end : end + 4], "little"):
            return end
    raise AssertionError("there is no checksum")


def changed(raw: bytes, start: int, at: int, new: bytes, mended: bool = True) -> bytes:
    """The file with other bytes at an offset in the structure that begins at ``start``, and with a
    right checksum, so that the structure itself is looked at."""
    end, found = end_of(raw, start), bytearray(raw)
    found[start + at : start + at + len(new)] = new
    if mended:
        struct.pack_into("<I", found, end, lookup3(bytes(found[start:end])))
    return bytes(found)


def local(path: Path) -> tuple[bytearray, int]:
    """A file with old groups: its bytes, and where the heap of names of a group begins."""
    with h5py.File(path, "w") as file:
        file["d/first"] = np.arange(3.0)
        file["d/second"] = np.arange(4.0)
    raw = bytearray(path.read_bytes())
    return raw, raw.rfind(b"HEAP")


def test_a_local_heap_larger_than_the_file(path: Path) -> None:
    """The size that a heap of names claims is not allocated."""
    raw, heap = local(path)
    raw[heap + 8 : heap + 16] = struct.pack("<Q", 1 << 40)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"group '/d': something should end at byte 1,099,511"):
        initreg.open(path)


def test_a_name_outside_of_its_heap(path: Path) -> None:
    """A name that does not begin or end in the heap of names is an error."""
    raw, heap = local(path)
    raw[heap + 8 : heap + 16] = struct.pack("<Q", 9)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"group '/d': a name is not where the file says"):
        initreg.open(path)


def test_structures_that_share_bytes(path: Path) -> None:
    """Heaps that each have all of the file are not read a thousand times over."""
    with h5py.File(path, "w") as file:
        for number in range(4000):
            file.create_group(f"g{number}")
    raw = bytearray(path.read_bytes())
    heap = raw.find(b"HEAP", raw.find(b"HEAP") + 1)
    while heap >= 0:  # each ends where the file does
        data = int.from_bytes(raw[heap + 24 : heap + 32], "little")
        raw[heap + 8 : heap + 24] = struct.pack("<QQ", len(raw) - data, 1)
        heap = raw.find(b"HEAP", heap + 1)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="lead to the same bytes again and again"):
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
    with pytest.raises(RefusedFile, match=r"m\.h5: it has addresses and sizes of 4 and 8 bytes"):
        initreg.open(path)


@pytest.fixture
def dense(path: Path) -> Callable[[bytes, int, bytes], str]:
    """``dense(sign, at, new)``: open a file of large new groups whose structure with a signature
    was changed at an offset, with right checksums. Returns the error."""
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(600):
            file[f"g/w{number}"] = np.float32(number)
    whole = path.read_bytes()

    def change(sign: bytes, at: int, new: bytes) -> str:
        start = whole.find(sign)
        path.write_bytes(changed(whole, start, at, new, mended=False))
        with pytest.raises(DamagedFile, match=r"m\.h5: group '/g': "):
            initreg.open(path)
        path.write_bytes(changed(whole, start, at, new))
        with pytest.raises(DamagedFile, match=r"m\.h5: group '/g': ") as caught:
            initreg.open(path)
        return str(caught.value)

    return change


@pytest.mark.parametrize(
    ("at", "size", "value", "says"),
    [
        (110, 2, 0, "blocks of impossible sizes"),  # blocks in a row
        (112, 8, 0, "blocks of impossible sizes"),  # the first block
        (120, 8, 1 << 40, "blocks of impossible sizes"),  # the largest
        (128, 2, 65535, "blocks of impossible sizes"),  # bits of the largest size
        (140, 2, 65535, "blocks of impossible sizes"),  # rows
        (132, 8, 1 << 60, "something should end at byte"),  # the root
        (132, 8, 48, "no FHIB"),
    ],
)
def test_fractal_heaps(
    dense: Callable[[bytes, int, bytes], str], at: int, size: int, value: int, says: str
) -> None:
    """A heap of links with impossible parameters is an error, even if its checksum is right."""
    assert says in dense(b"FRHP", at, value.to_bytes(size, "little"))


@pytest.mark.parametrize(
    ("at", "size", "value", "says"),
    [
        (5, 1, 10, "its B-tree has type 10"),
        (6, 4, 1 << 31, "its B-tree has records of 11 bytes in nodes of 2,147,483,648"),
        (10, 2, 0, "its B-tree has records of 0 bytes"),
        (12, 2, 0, "there is no BTLF"),
        (12, 2, 65535, "its B-tree has 65,535 levels"),
        (12, 2, 30, "there is no BTIN|too small"),
        (16, 8, 8, "there is no BTIN"),
        (24, 2, 25, "a node of its B-tree has 25 records, where 24 fit"),
    ],
)
def test_headers_of_trees(
    dense: Callable[[bytes, int, bytes], str], at: int, size: int, value: int, says: str
) -> None:
    """A tree of links that does not fit its nodes is an error."""
    message = dense(b"BTHD", at, value.to_bytes(size, "little"))
    assert any(each in message for each in says.split("|")) or "fails its checksum" in message


def test_nodes_of_trees(path: Path, dense: Callable[[bytes, int, bytes], str]) -> None:
    """Nodes that claim too many records, lead to each other, or have links outside of the heap are
    an error."""
    raw = path.read_bytes()
    tree, root = raw.find(b"BTHD"), raw.find(b"BTIN")
    used = int.from_bytes(raw[tree + 24 : tree + 26], "little")
    children = 6 + 11 * used
    for at, changed, says in (
        (children + 8, b"\xff", "a node of its B-tree has 255 records, where 45 fit"),
        (children + 9, raw[root + children : root + children + 8], "leads to one node twice"),
        (6 + 4, b"\x40", "an object in a heap has version 1"),
        (6 + 4, b"\x30", "an object in a heap has type 3"),
        (6 + 5, b"\xff\xff\xff", "an object lies outside of its heap"),
    ):
        assert says in dense(b"BTIN", at, changed)


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
        assert set(arrays["a"].aliases) == {*links, "g/a", "g: weight 0 of 1"}
        np.testing.assert_array_equal(np.asarray(arrays["a"]), np.arange(3.0))


@pytest.mark.parametrize(("at", "size", "value"), [(6, 1, 255), (8, 8, 1 << 60), (8, 8, 15)])
def test_fixed_arrays(path: Path, at: int, size: int, value: int) -> None:
    """An index of chunks that does not fit the dataset is an error."""
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("w", data=np.arange(64.0), chunks=(4,))
    whole = path.read_bytes()
    array, new = whole.find(b"FAHD"), value.to_bytes(size, "little")
    path.write_bytes(changed(whole, array, at, new, mended=False))
    with pytest.raises(DamagedFile, match=r"m\.h5: dataset 'w': a structure \(FAHD\) fails its"):
        initreg.load(path)
    path.write_bytes(changed(whole, array, at, new))
    with pytest.raises(DamagedFile, match=r"m\.h5: dataset 'w': a fixed array has "):
        initreg.load(path)


def test_limits_that_the_index_does_not_have(path: Path) -> None:
    """Limits of a shape that need more chunks than the index has are an error. HDF5 itself would
    read past the end of the index, and crash."""
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("w", data=np.arange(40).reshape(8, 5), chunks=(3, 2))
    whole = path.read_bytes()
    dims = struct.pack("<QQ", 8, 5)
    at = whole.find(dims + dims)
    start = whole.rfind(b"OHDR", 0, at)
    path.write_bytes(changed(whole, start, at + 28 - start, bytes([232])))
    with pytest.raises(DamagedFile, match=r"m\.h5: dataset 'w': a fixed array has 9 entries for"):
        initreg.load(path)


@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}, {"fletcher32": True}])
def test_a_chunk_that_is_too_short(path: Path, filters: dict[str, object]) -> None:
    """A chunk that is stored shorter than it is gives an error, never bytes of the process."""
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (65536,), "u1", chunks=(65536,), **filters)
        file["w"].id.write_direct_chunk((0,), b"\1" * 16)
    with pytest.raises(DamagedFile, match=r"m\.h5: .*'w'.* chunk"):
        initreg.load(path)


def test_two_chunks_in_one_place(path: Path) -> None:
    """A tree that has a place twice is an error, and so is one whose keys are not in order, because
    HDF5 would not find them."""
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(8.0), chunks=(4,))
    raw = bytearray(path.read_bytes())
    keys = raw.find(b"TREE\1") + 24
    raw[keys + 32 + 8 : keys + 32 + 16] = raw[keys + 8 : keys + 16]  # the start of the second chunk
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="'w': the keys of its B-tree are not in order"):
        initreg.open(path)


def test_a_changed_value_in_a_chunk(path: Path) -> None:
    """fletcher32 and zlib's checksum are compared, unless the user says otherwise."""
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(64.0), chunks=(64,), fletcher32=True)
    raw = bytearray(path.read_bytes())
    raw[raw.find(np.arange(32.0, 40.0).tobytes())] ^= 1
    path.write_bytes(raw)
    with pytest.raises(
        DamagedFile, match=r"'w' has a damaged chunk at \(0,\): it fails its fletch"
    ):
        initreg.load(path)
    assert initreg.load(path, verify=False)["w"][40] == 40
    assert not initreg.verify(path).ok


def test_a_file_that_was_not_closed(path: Path) -> None:
    """A file that is marked as open for writing is an error, as it is for h5py."""
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.arange(3.0)
    raw = bytearray(path.read_bytes())
    raw[11] |= 1
    struct.pack_into("<I", raw, 44, lookup3(bytes(raw[:44])))
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="the program that wrote it has not closed it"):
        initreg.open(path)


def test_what_is_read_is_counted(path: Path) -> None:
    """Reading the same bytes again and again ends, in any file, and so do reads outside of it."""
    path.write_bytes(bytes(100))
    with open(path, "rb") as file:
        content = Content(functools.partial(os.pread, file.fileno()), 0, 100, 20)
        with pytest.raises(Bad, match="should end at byte 90, but the file has 80"):
            content.read(10, 80)
        with pytest.raises(Bad, match="should end nowhere"):
            content.read((1 << 64) - 1, 8)
        times = 0
        with contextlib.suppress(Bad):
            while times < 1 << 20:
                content.read(0, 80)
                times += 1
        assert 1000 < times < 100_000
    with pytest.raises(Bad, match="fails its checksum"):
        check(b"OHDR" + bytes(20))


def test_the_hash() -> None:
    """The hash is that of the public-domain lookup3.c, whose driver has these values."""
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551
