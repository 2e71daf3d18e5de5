"""Every superblock, layout, index of chunks and filter of HDF5: the values are those of h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import initreg
from initreg import ChunkedExtent, Extent

Array = np.ndarray[Any, Any]

LIBVERS = pytest.mark.parametrize(
    "libver", ["earliest", ("v108", "v108"), ("v110", "v110"), ("v112", "v112"), "latest"], ids=str
)
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "gzip, shuffle": {"compression": "gzip", "shuffle": True},
    "all": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "fletcher32": {"fletcher32": True},
    "shuffle": {"shuffle": True},
    "lzf": {"compression": "lzf"},
    "lzf, shuffle": {"compression": "lzf", "shuffle": True, "fletcher32": True},
    "scale-offset": {"scaleoffset": 3},
    "scale-offset of integers": {"scaleoffset": 0},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def compare(path: Path) -> dict[str, Array]:
    """Read all arrays, compare each bit by bit with what h5py reads, and slices of them, too."""
    found = {}
    with h5py.File(path) as file, initreg.open(path) as arrays:
        names: list[str] = []
        file.visititems(lambda name, each: names.append(name) if hasattr(each, "shape") else None)
        assert list(arrays) == sorted(names)
        for name, array in arrays.items():
            expected = np.asarray(file[name][()])
            found[name] = values = array.read()
            assert (values.shape, values.dtype) == (
                expected.shape,
                expected.dtype.newbyteorder("="),
            )
            np.testing.assert_array_equal(values, expected)
            if expected.ndim and expected.shape[0] > 1:
                part = (slice(1, max(2, expected.shape[0] // 2)), ..., slice(None, None, 2))
                part = part if expected.ndim > 1 else part[0]
                np.testing.assert_array_equal(array[part], expected[part])
    return found


@LIBVERS
@pytest.mark.parametrize("user_block", [0, 512, 8192])
def test_superblocks(path: Path, libver: Any, user_block: int) -> None:
    """Each version of the superblock, with and without a user block, leads to the same arrays."""
    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as file:
        file["a/b"] = np.arange(12.0).reshape(3, 4)
        file["a/c"] = np.float32(2.5)
        for number in range(50):
            file[f"many/{number}"] = number
    versions = {"earliest": 0, ("v108", "v108"): 2}
    assert path.read_bytes()[user_block + 8] == versions.get(libver, 3)
    assert len(compare(path)) == 52


def test_superblock_1(path: Path) -> None:
    """Version 1 has one number more than version 0. HDF5 writes it for wider trees of chunks."""
    with h5py.File(path, "w", alignment_threshold=1, alignment_interval=1024) as file:
        file.create_dataset("w", data=np.arange(99.0), chunks=(4,))
        file["g/v"] = np.arange(3)
    raw = path.read_bytes()
    assert raw[100:1024] == bytes(924)  # objects begin after that
    wider = bytes([*raw[:8], 1, *raw[9:24], 32, 0, 0, 0, *raw[24:96]])
    path.write_bytes(wider + raw[100:])
    assert len(compare(path)) == 2


@LIBVERS
@pytest.mark.parametrize("name", FILTERS)
def test_filters(path: Path, libver: Any, name: str) -> None:
    """Every filter, for floats and integers of several sizes and both orders of bytes, with chunks
    that reach beyond the array, and some that were never written."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver=libver) as file:
        for dtype in ("<f4", ">f4", "<f8", "i1", "<u2", ">i4", "<i8", "<f2", "?", "<c8"):
            if "scaleoffset" in FILTERS[name]:
                if np.dtype(dtype).kind in "bc" or dtype == "<f2":
                    continue
                if np.dtype(dtype).kind == "f" and not FILTERS[name]["scaleoffset"]:
                    continue
            values = (rng.standard_normal((19, 7)) * 20 + 60).astype(dtype)
            fill = None if np.dtype(dtype).kind in "bc" else 1
            made = file.create_dataset(
                dtype, (19, 7), dtype, chunks=(4, 3), fillvalue=fill, **FILTERS[name]
            )
            made[2:17, 1:] = values[2:17, 1:]
    with initreg.open(path) as arrays:
        assert all(isinstance(array.value, ChunkedExtent) for array in arrays.values())
    compare(path)


GROWING: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int | None, ...] | None]] = {
    "single chunk": ((5, 6), (5, 6), None),
    "fixed array": ((30, 20), (3, 4), None),
    "fixed array with limits": ((10, 20), (3, 4), (31, 33)),
    "paged fixed array": ((9000,), (3,), None),
    "extensible array": ((50, 6), (3, 4), (None, 6)),
    "extensible array of the second axis": ((6, 50), (4, 3), (17, None)),
    "extensible array of many levels": ((20_000,), (2,), (None,)),
    "b-tree": ((30, 20), (3, 4), (None, None)),
    "b-tree of several levels": ((120, 130), (2, 3), (None, None)),
}


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_indices_of_chunks(path: Path, name: str, packed: bool, libver: str) -> None:
    """Every index of chunks, in full and with chunks that were never written."""
    shape, chunk, limits = GROWING[name]
    options: dict[str, Any] = {"compression": "gzip"} if packed else {}
    values = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("all", data=values, chunks=chunk, maxshape=limits, **options)
        some = file.create_dataset("some", shape, "f4", chunks=chunk, maxshape=limits, **options)
        some[shape[0] // 2 :] = values[shape[0] // 2 :]
        file.create_dataset("none", shape, "f4", chunks=chunk, maxshape=limits, **options)
    compare(path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_a_paged_extensible_array(path: Path, packed: bool) -> None:
    """The last blocks of a long array are divided into pages, of which only some are used."""
    options: dict[str, Any] = {"compression": "gzip"} if packed else {}
    with h5py.File(path, "w", libver="latest") as file:
        made = file.create_dataset("w", (140_000,), "i4", chunks=(1,), maxshape=(None,), **options)
        for start in (0, 131_072, 135_000, 139_990):
            made[start : start + 3] = [1, 2, 3]
    compare(path)


def test_the_implicit_index(path: Path) -> None:
    """Chunks that are allocated early, without filters, lie side by side and have no index."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((3, 4))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with h5py.File(path, "w", libver="latest") as file:
        space = h5py.h5s.create_simple((10, 9), (12, 21))
        made = h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, plist)
        h5py.Dataset(made)[...] = np.arange(90).reshape(10, 9)
    assert b"FAHD" not in path.read_bytes()
    compare(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_arrays_that_shrank_and_grew(path: Path, libver: str) -> None:
    """Chunks outside of the array are ignored, and new ones have the fill value."""
    with h5py.File(path, "w", libver=libver) as file:
        for name, limits in (("a", (None, 12)), ("b", (None, None)), ("c", (40, 12))):
            made = file.create_dataset(
                name, data=np.arange(240.0).reshape(20, 12), chunks=(3, 5), maxshape=limits,
                compression="gzip", fillvalue=-1,
            )  # fmt: skip
            made.resize((8, 7))
            made.resize((17, 12))
    compare(path)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_a_small_file_with_an_empty_tree(path: Path, shape: tuple[int, int]) -> None:
    """A tree of version 2 without a node may be in a file that is smaller than a node."""
    with h5py.File(path, "w", libver="latest") as file:
        made = file.create_dataset("x", (4, 3), "f4", maxshape=(None, None), chunks=(2, 2))
        made[...] = 1
        made.resize(shape)
        file.create_dataset("y", (5,), "f4", fillvalue=1)
    assert path.stat().st_size < 2048
    assert compare(path)["y"].tolist() == [1] * 5


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (50,)}, {"chunks": (50,), "compression": "gzip"}]
)
@pytest.mark.parametrize("fill", ["x", "hello" * 10])
def test_strings_that_were_never_written(path: Path, fill: str, options: dict[str, Any]) -> None:
    """They are those of the fill value, and together longer than the file."""
    with h5py.File(path, "w") as file:
        file.create_dataset("s", (20_000,), h5py.string_dtype(), fillvalue=fill, **options)
    assert path.stat().st_size < 20_000
    assert compare(path)["s"].tolist() == [fill.encode()] * 20_000


@LIBVERS
def test_layouts(path: Path, libver: Any) -> None:
    """Contiguous and compact datasets, and those without elements, are extents."""
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    with h5py.File(path, "w", libver=libver) as file:
        file["contiguous"] = np.arange(24, dtype=">f8").reshape(2, 3, 4)
        space = h5py.h5s.create_simple((3, 5))
        made = h5py.h5d.create(file.id, b"compact", h5py.h5t.STD_I16BE, space, compact)
        h5py.Dataset(made)[...] = np.arange(15).reshape(3, 5)
        file["none"] = np.zeros((3, 0, 2), "f4")
        file["scalar"] = 3
        file.create_dataset("never written", (3, 4), "f4", fillvalue=7)
        file.create_dataset("empty chunks", (0, 4), "f4", chunks=(3, 4), maxshape=(None, 4))
    with initreg.open(path) as arrays:
        kinds = {name: type(array.value) for name, array in arrays.items()}
    assert [kinds[name] for name in ("contiguous", "compact", "scalar")] == [Extent] * 3
    compare(path)


def test_filters_that_were_left_out(path: Path) -> None:
    """A chunk may say which filters were not applied to it. The others are undone."""
    with h5py.File(path, "w", libver="latest") as file:
        made = file.create_dataset(
            "w", (6,), "<i4", chunks=(2,), compression="gzip", shuffle=True, fletcher32=True
        )
        made[...] = np.arange(6)
        plain = np.array([70, 71], "<i4").tobytes()
        made.id.write_direct_chunk((2,), plain, filter_mask=0b111)
        shuffled = np.frombuffer(plain, "u1").reshape(2, 4).T.tobytes()
        made.id.write_direct_chunk((4,), shuffled, filter_mask=0b110)
    assert compare(path)["w"].tolist() == [0, 1, 70, 71, 70, 71]


def test_committed_types(path: Path) -> None:
    """A type that several datasets share is found where it is."""
    for libver in ("earliest", "latest"):
        with h5py.File(path, "w", libver=libver) as file:
            file["float"] = np.dtype(">f4")
            file.create_dataset("w", (3,), file["float"])[...] = [1, 2, 3]
        with initreg.open(path) as arrays:
            assert list(arrays) == ["w"]
            assert arrays["w"].read().tolist() == [1, 2, 3]


def test_structures(path: Path) -> None:
    """Structures with parts of any kind, in any layout and version, are structures of numpy."""
    kind = np.dtype([("n", ">i2"), ("v", "<f4", (2, 3)), ("s", "S3"), ("in", [("x", "f8")])])
    values = np.zeros(5, kind)
    values["n"], values["v"], values["s"] = range(5), np.arange(30).reshape(5, 2, 3), b"ab"
    values["in"]["x"] = 0.5
    for libver in ("earliest", "latest"):
        with h5py.File(path, "w", libver=libver) as file:
            file["plain"] = values
            file.create_dataset("packed", data=values, compression="gzip", shuffle=True)
        for array in initreg.load(path).values():
            assert array["v"].tolist() == values["v"].tolist()
            assert (array["n"].tolist(), array["s"].tolist()) == ([0, 1, 2, 3, 4], [b"ab"] * 5)


def test_dates(path: Path) -> None:
    """Dates of numpy, which h5py stores as opaque bytes with a tag, are dates."""
    values = np.array(["2020-01-01", "2021-02-03"], "<M8[s]")
    with h5py.File(path, "w") as file:
        file["d"] = values.astype(h5py.opaque_dtype(values.dtype))
    assert initreg.load(path)["d"].tolist() == values.tolist()


PADDINGS = (h5py.h5t.STR_NULLTERM, h5py.h5t.STR_NULLPAD, h5py.h5t.STR_SPACEPAD)
WORDS = (b"ab", b"cde f", b"", b"x\xff", b" y ", b"123456", b"a\0zz")


@pytest.mark.parametrize("chunk", [0, 3, 16], ids=["contiguous", "chunks", "one chunk"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_strings_of_fixed_length(path: Path, chunk: int, packed: bool) -> None:
    """Strings end at NUL, or are filled with NUL or spaces, as the type says, in chunks too."""
    with h5py.File(path, "w") as file:
        for number, padding in enumerate(PADDINGS):
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(6)
            kind.set_strpad(padding)
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            space = h5py.h5s.create_simple((7,), (h5py.h5s.UNLIMITED,) if chunk else None)
            if chunk:
                plist.set_chunk((chunk,))
            if chunk and packed:
                plist.set_shuffle()
                plist.set_deflate(3)
            made = h5py.h5d.create(file.id, b"s%d" % number, kind, space, plist)
            # As bytes of its own type, so that HDF5 does not convert them.
            raw = np.array(WORDS, "S6" if padding != PADDINGS[2] else "V6")
            if padding == PADDINGS[2]:
                raw = np.array([each.ljust(6).replace(b"\0", b"_") for each in WORDS], "S6")
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, raw, kind)
    with h5py.File(path) as file:
        expected = {name: dataset[...].tolist() for name, dataset in file.items()}
    assert {name: found.tolist() for name, found in initreg.load(path).items()} == expected
    assert expected["s0"] == [*WORDS[:-1], b"a"]
    assert expected["s1"] == [*WORDS]
    assert expected["s2"] == [*(each.rstrip(b" ") for each in WORDS[:-1]), b"a_zz"]


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (2, 2), "maxshape": (None, 30)},
        {"chunks": (2, 2), "maxshape": (None, None), "compression": "gzip"},
        {"chunks": (1, 3), "maxshape": (40, 30), "compression": "lzf", "shuffle": True},
        {},
    ],
    ids=["chunks", "packed", "lzf", "contiguous"],
)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_strings_of_variable_length(path: Path, options: dict[str, Any], libver: str) -> None:
    """Strings of variable length are read from chunks, also where chunks were never written."""
    with h5py.File(path, "w", libver=libver) as file:
        kind = h5py.string_dtype()
        words = np.array([f"{number} " * number for number in range(12)], object).reshape(4, 3)
        file.create_dataset("all", (4, 3), kind, **options)[...] = words
        file.create_dataset("some", (40, 30), kind, **options)[1, 1] = "сеть"
        file.create_dataset("none", (4, 3), kind, **options)
        file.create_dataset("empty", (0, 3), kind, **options)
    with h5py.File(path) as file:
        expected = {name: dataset[...] for name, dataset in file.items()}
    with initreg.open(path) as arrays:
        for name, values in expected.items():
            assert arrays[name].shape == values.shape
            for _ in range(3):
                assert arrays[name].read().tolist() == values.tolist()
            assert arrays[name][1:3].tolist() == values[1:3].tolist()
    assert expected["some"][1, 1].decode() == "сеть"


@given(data=st.data())
@settings(max_examples=60)
def test_any_chunks(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any shape, chunk, limits, filters and version: the values are those of h5py."""
    path = tmp_path_factory.mktemp("any") / "m.h5"
    axes = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 12)) for _ in range(axes))
    chunk = tuple(data.draw(st.integers(1, 5)) for _ in range(axes))
    limits = tuple(data.draw(st.sampled_from([n, n + 7, None])) for n in shape)
    chunk = tuple(c if m is None else min(c, m) for c, m in zip(chunk, limits, strict=True))
    name = data.draw(st.sampled_from([n for n in FILTERS if "scale" not in n]))
    libver = data.draw(st.sampled_from(["earliest", "latest"]))
    dtype = data.draw(st.sampled_from(["i1", "<i2", ">f4", "<f8", "<c16"]))
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset(
            "w", data=np.arange(np.prod(shape)).reshape(shape).astype(dtype), chunks=chunk,
            maxshape=limits, **FILTERS[name],
        )  # fmt: skip
    compare(path)
