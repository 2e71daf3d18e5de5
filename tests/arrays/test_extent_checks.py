"""initreg.arrays.extent_checks: what a file's size can prove wrong, before an array is read."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, Extent, RefusedFile, SlicedExtent
from initreg.arrays import extent_checks, regions
from initreg.cli import main

MB = 1 << 20
check = partial(extent_checks.check, max_inflation=1000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """1,000 bytes."""
    (tmp_path / "m.bin").write_bytes(bytes(1000))
    return tmp_path / "m.bin"


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


# --- one extent -----------------------------------------------------------------------------------


def test_what_fits_is_stamped(file: Path) -> None:
    """Extents that their files are large enough for pass; the size of each file is returned."""
    found = check([("a", Extent(file, 0, 1000, (250,), "float32")), ("b", 1.0)], "m")
    assert {path: stamp.size for path, stamp in found.items()} == {file: 1000}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"offset": 1}, "should end at byte 1,001 of m.bin, which has 1,000"),
        ({"offset": -1}, "a negative length or offset"),
        ({"offset": 1 << 63}, "should end at byte 9,223,372,036,854,776,808"),
        ({"shape": (-250,)}, "a negative length or offset"),
        ({"shape": (1 << 60,)}, "takes 4,611,686,018,427,387,904 bytes, but the file holds 1,000"),
        ({"shape": (1 << 32, 1 << 32)}, "but the file holds 1,000 for it"),
        ({"shape": (2.5,)}, "a length that is not an integer"),
        ({"dtype": "object"}, "a dtype that cannot be read"),
        ({"dtype": "float31"}, "a dtype that cannot be read"),
        ({"checksum": ("md5", 1)}, "unknown checksum 'md5'"),
        ({"codec": "deflate", "shape": (1 << 20,)}, "more than deflate can"),
        ({"file": Path("/nowhere/m.bin")}, "which cannot be read: No such file"),
    ],
)
def test_what_cannot_be(file: Path, change: dict, says: str) -> None:
    """Each impossible extent is refused, with the name of the array and what is wrong."""
    extent = replace(Extent(file, 0, 1000, (250,), "float32"), **change)
    with pytest.raises(DamagedFile, match=f"^m: array 'a'.*{says}"):
        check([("a", extent)], "m")


@pytest.mark.parametrize(
    ("starts", "says"),
    [
        ([(0,), (5,)], "not covered exactly once"),
        ([(0,), (0,)], "not covered exactly once"),
        ([(0,), (15,)], "is not inside of it"),
        ([(0,), (-10,)], "is not inside of it"),
        ([(0,), (10, 0)], "is not inside of it"),
    ],
)
def test_slices_that_do_not_make_the_array(file: Path, starts: list, says: str) -> None:
    """Slices that leave gaps, overlap or are outside of the array are refused."""
    parts = tuple(
        (start, Extent(file, 40 * i, 40, (10,), "float32")) for i, start in enumerate(starts)
    )
    with pytest.raises(DamagedFile, match=says):
        check([("a", SlicedExtent((20,), "float32", parts))], "m")


def test_the_work_on_slices_does_not_grow_with_their_pairs(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking is linear in the number of slices, and arrays that are cut along nine axes
    are refused."""
    parts = tuple(((0, i), Extent(file, 0, 1, (1, 1), "uint8")) for i in range(4096))
    looked_at: list[int] = []

    class Corners(Counter[tuple[int, ...]]):
        def __setitem__(self, key: tuple[int, ...], value: int) -> None:
            looked_at.append(value)
            super().__setitem__(key, value)

    monkeypatch.setattr(regions, "Counter", Corners)
    check([("a", SlicedExtent((1, 4096), "uint8", parts))], "m")
    assert len(looked_at) == 2 * 4097
    cells = tuple(
        (start, Extent(file, 0, 1, (1,) * 9, "uint8"))
        for start in itertools.product(range(2), repeat=9)
    )
    with pytest.raises(DamagedFile, match=r"'a'.* is cut along 9 axes, but at most 8 can be read"):
        check([("a", SlicedExtent((2,) * 9, "uint8", cells))], "m")


# --- all extents ----------------------------------------------------------------------------------


def test_names_may_share_bytes(file: Path) -> None:
    """Tied weights, two names for the same bytes, are allowed."""
    check([(str(i), Extent(file, 0, 1000, (250,), "float32")) for i in range(100)], "m")


def test_a_small_file_cannot_fill_the_memory_by_sharing(tmp_path: Path) -> None:
    """Arrays that take more than 64 MB and four times their file, by overlapping, are refused."""
    path = tmp_path / "m.bin"
    path.write_bytes(bytes(MB))
    each = Extent(path, 0, MB, (MB,), "uint8")
    check([(str(i), each) for i in range(68)], "m")
    with pytest.raises(
        DamagedFile, match=r"its arrays take 72,351,744 bytes of m\.bin.* 1,048,576"
    ):
        check([(str(i), each) for i in range(69)], "m")
    sliced = SlicedExtent((MB,), "uint8", (((0,), each),))
    with pytest.raises(DamagedFile, match="They overlap"):
        check([(str(i), sliced) for i in range(69)], "m")


def test_an_npz_whose_packed_members_share_their_bytes(tmp_path: Path) -> None:
    """Many directory entries for one packed member are refused before anything is unpacked."""
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(9):
            archive.writestr(f"{i}.npy", npy(np.random.default_rng(i).random(1000)))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("0.npy")
    at = [i for i in range(len(data)) if data.startswith(b"PK\x01\x02", i)]
    for i in at:  # each entry is the first member, under its own name
        struct.pack_into("<III", data, i + 16, first.CRC, first.compress_size, first.file_size)
        struct.pack_into("<I", data, i + 42, first.header_offset)
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=r"'0\.npy'"):  # the local header has another name
        initreg.open(path)
    packed = Extent(path, 40, 600, (1000,), "float64", codec="deflate")
    with pytest.raises(DamagedFile, match="They overlap"):
        check([(str(i), packed) for i in range(len(data) // 600 + 1)], "m")


def test_stored_members_inside_each_other(tmp_path: Path) -> None:
    """An npz of 2 MB whose members overlap to seem like 130 MB is refused when it is opened."""
    path = tmp_path / "m.npz"
    core, parts, directory = bytes(MB), b"", b""
    for i in range(130):  # written from the innermost to the outermost
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % (
            len(core) + len(parts)
        )
        header = header.ljust(117) + b"\n"
        body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + parts + core
        name = b"%03d.npy" % i
        fields = (zlib.crc32(body), len(body), len(body), len(name))
        local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 0, *fields, 0) + name
        parts = local + body[: len(body) - len(core)]
        directory += struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, *fields, 0, 0, 0, 0, 0, 1 + i
        )
        directory += name
    places, rest = [], parts
    while (found := rest.rfind(b"PK\x03\x04")) >= 0:
        places.append(found)
        rest = rest[:found]
    for i, place in enumerate(places):
        directory = directory.replace(
            struct.pack("<I", 1 + i) + b"%03d" % i, struct.pack("<I", place) + b"%03d" % i
        )
    whole = parts + core
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 130, 130, len(directory), len(whole), 0)
    path.write_bytes(whole + directory + end)
    # It is a valid archive, but for what it is made for. Python 3.11.8, 3.12.2, 3.13 and later
    # refuse members that lie in each other, too.
    with np.load(path) as numpy_reads, contextlib.suppress(zipfile.BadZipFile):
        assert numpy_reads["000"].nbytes == MB
        assert numpy_reads["129"].nbytes > MB
    with pytest.raises(DamagedFile, match="They overlap"):
        initreg.open(path)


# --- inflation ------------------------------------------------------------------------------------


@pytest.fixture
def zeros(tmp_path: Path) -> Path:
    """An npz of 80 MB of zeros, which are packed more than a thousandfold."""
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, a=np.zeros(40 * MB, "u1"), b=np.zeros(40 * MB, "u1"))
    return path


def test_what_unpacks_to_more_than_is_allowed(zeros: Path) -> None:
    """Above 64 MB, arrays that unpack to over 1000 times their size are refused, with the
    remedy."""
    with pytest.raises(
        RefusedFile, match=r"zeros\.npz: .*'b' unpacks from .*1,000 times"
    ) as caught:
        initreg.open(zeros)
    allowed = int(str(caught.value).rpartition("max_inflation=")[2])
    found = initreg.load(zeros, max_inflation=allowed)
    assert found["a"].nbytes + found["b"].nbytes == 80 * MB
    assert not found["b"].any()
    target = {"a": np.ones(40 * MB, "u1"), "b": np.ones(40 * MB, "u1")}
    initreg.SmartInit(zeros, max_inflation=allowed).init(target)
    assert not target["a"].any()


def test_a_smaller_inflation_can_be_asked_for(tmp_path: Path) -> None:
    """max_inflation=10 refuses what unpacks to twelve times its size; 64 MB are always allowed."""
    path = tmp_path / "m.npz"
    values = np.random.default_rng(0).integers(0, 255, 6 * MB, "u1").repeat(12)
    np.savez_compressed(path, a=values)
    with pytest.raises(RefusedFile, match="At most 3 times are allowed"):
        initreg.open(path, max_inflation=3)
    with initreg.open(path, max_inflation=20) as opened:
        assert opened["a"].shape == (72 * MB,)
    np.savez_compressed(path, a=np.zeros(60 * MB, "u1"))
    assert initreg.load(path, max_inflation=1)["a"].size == 60 * MB


def test_inflation_at_the_command_line(zeros: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--max-inflation sets max_inflation=, and the error names it."""
    assert main(["ls", str(zeros)]) == 2
    words = capsys.readouterr().err.split()
    option = words.index("--max-inflation")
    assert main(["ls", str(zeros), *words[option : option + 2]]) == 0
    out = zeros.with_name("out.npz")
    assert main(["convert", str(zeros), str(out)]) == 2
    assert main(["convert", str(zeros), str(out), "--max-inflation", "1032"]) == 0
    assert out.stat().st_size > 80 * MB


@pytest.mark.parametrize("archived", [False, True])
def test_inflation_of_hdf5(tmp_path: Path, archived: bool) -> None:
    """The limit also holds for packed datasets, and for an HDF5 file that is packed in a
    .keras archive."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        chunks, packing = ((4 * MB,), "gzip") if not archived else (None, None)
        for name in ("a", "b", "c"):
            file.create_dataset(
                name, data=np.zeros(32 * MB, "u1"), chunks=chunks, compression=packing
            )
    if archived:
        whole = path
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", "{}")
            archive.write(whole, "model.weights.h5")
    with pytest.raises(RefusedFile, match=f"{path.name}.* unpacks from .*max_inflation="):
        initreg.open(path, max_inflation=500)
    with initreg.open(path, max_inflation=1032) as opened:
        assert {name: array.shape for name, array in opened.items()} == dict.fromkeys(
            "abc", (32 * MB,)
        )


def test_a_structured_array_that_lies_about_its_shape(tmp_path: Path) -> None:
    """A huge structured array is refused when the file is opened, however it is packed."""
    dtype = np.dtype([("a", "<f4"), ("b", "<i8")])
    body = npy(np.zeros(4, dtype))
    lying = body.replace(b"(4,), }", b"(1 << 40,)"[:0] + b"(9999999999,), }")
    grown = len(lying) - len(body)
    lying = lying.replace(b" " * grown + b"\n", b"\n", 1)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{method}.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x.npy", lying)
        with pytest.raises((DamagedFile, RefusedFile), match=r"x\.npy"):
            initreg.open(path)
