"""Writing npz: numpy.load, zipfile, unzip and initreg read the same bits from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import InitregError
from initreg_formats.shared import zip_writing

Array = np.ndarray[Any, Any]

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
kinds = pytest.mark.parametrize("compress", [False, True], ids=["stored", "compressed"])

names = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\:"), max_size=30)
    .filter(lambda name: not name.startswith("/") and ".." not in name.split("/"))
    .filter(lambda name: not name.endswith((".npy", "/.ATTRIBUTES/VARIABLE_VALUE")))
)
values = st.sampled_from(DTYPES).flatmap(
    lambda dtype: nps.arrays(dtype, nps.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


def check(found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def check_all(path: Path, arrays: dict[str, Array]) -> None:
    """numpy and initreg give these arrays, in this order, and zipfile finds no fault."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path, allow_pickle=False) as reference:
        assert reference.files == list(arrays)
        for name, array in arrays.items():
            check(reference[name], array)
    found = initreg.load(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        check(found[name], array)


@kinds
@given(arrays=st.dictionaries(names, values, max_size=5))
def test_numpy_and_initreg_read_what_is_saved(
    tmp_path_factory: pytest.TempPathFactory, compress: bool, arrays: dict[str, Array]
) -> None:
    """Any names, dtypes and shapes, every bit, and NaNs as they are."""
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    initreg.save(path, initreg.open(arrays), compress=compress)
    check_all(path, arrays)


@kinds
def test_members_are_stored_unless_compress_is_asked_for(tmp_path: Path, compress: bool) -> None:
    """Deflated members take fewer bytes, and both kinds are plain archives of .npy members."""
    arrays = {"a": np.zeros((100, 100), "f4"), "b/c": np.arange(5)}
    path = initreg.save(tmp_path / "m.npz", arrays, compress=compress)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == ["a.npy", "b/c.npy"]
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    assert {member.compress_type for member in members} == {kind}
    assert (path.stat().st_size < 2000) == compress
    assert {(member.date_time, member.external_attr >> 16) for member in members} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644)
    }


@given(lengths=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 200)), max_size=8))
def test_every_stored_array_begins_at_a_multiple_of_64(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[tuple[int, int]]
) -> None:
    """This holds for any lengths of the names and arrays before it."""
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    arrays = {f"{i}{'x' * n}": np.arange(size, dtype="u1") for i, (n, size) in enumerate(lengths)}
    initreg.save(path, initreg.open(arrays))
    check_all(path, arrays)
    with initreg.open(path) as opened:
        assert [(a.value.offset + a.value.skip) % 64 for a in opened.values()] == [0] * len(arrays)


def test_a_saved_file_can_be_mapped(tmp_path: Path) -> None:
    """With mmap=True an array is aligned memory of the file, not a copy of it."""
    arrays = {f"x{'y' * i}": np.full(300_000 + i, i, "f8") for i in range(5)}
    path = initreg.save(tmp_path / "m.npz", arrays)
    found = initreg.load(path, mmap=True)
    for name, array in arrays.items():
        assert found[name].ctypes.data % 64 == 0
        assert not found[name].flags.owndata
        check(found[name], array)


@kinds
def test_the_same_arrays_make_the_same_file(tmp_path: Path, compress: bool) -> None:
    """Byte for byte: neither the time nor the process is in it."""
    arrays = {"a": np.arange(1000.0), "größe": np.array(3)}
    one = initreg.save(tmp_path / "1.npz", arrays, compress=compress)
    two = initreg.save(tmp_path / "2.npz", arrays, compress=compress)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
@kinds
def test_unzip_finds_no_fault(tmp_path: Path, compress: bool) -> None:
    """A reader that is not Python's checks every member."""
    arrays = {"a": np.arange(1000.0), "größe/模型": np.array(3), "empty": np.zeros((0, 3))}
    path = initreg.save(tmp_path / "m.npz", arrays, compress=compress)
    run = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "No errors detected" in run.stdout


# --- strings -------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(exclude_characters="\0")), max_size=5)
    | st.lists(st.binary().map(lambda b: b.rstrip(b"\0")), max_size=5)
)
def test_strings_are_arrays_of_fixed_width(
    tmp_path_factory: pytest.TempPathFactory, strings: list[Any]
) -> None:
    """Text and bytes, empty ones too, come back unchanged without a pickle."""
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    array = np.empty(len(strings), object)
    array[:] = strings
    initreg.save(path, {"s": array, "w": np.ones(2)})
    with np.load(path, allow_pickle=False) as reference:
        assert reference["s"].tolist() == strings
    assert initreg.load(path)["s"].tolist() == strings


@pytest.mark.parametrize(
    "array", [np.array(["ab", "c"]), np.array([[b"ab"], [b"c"]]), np.array("x", object),
              np.zeros((0, 2), object)],
)  # fmt: skip
def test_strings_of_any_shape(tmp_path: Path, array: Array) -> None:
    """Strings that have a fixed width in numpy already are stored unchanged."""
    found = initreg.load(initreg.save(tmp_path / "m.npz", {"s": array}))["s"]
    assert (found.tolist(), found.shape) == (array.tolist(), array.shape)
    if not array.dtype.hasobject:
        assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("strings", "reason"),
    [
        (["text", b"bytes"], "array 's' holds strings that numpy cannot store as they are"),
        (["ends in NUL\0"], "or some end in NUL. Save as .ckpt"),
        (["x" * 2_000_000] + ["y"] * 1000, "'s' holds strings of very different lengths"),
    ],
)
def test_strings_that_would_change_are_refused(
    tmp_path: Path, strings: list[Any], reason: str
) -> None:
    """Strings that would change, or take a thousand times the memory, are refused, and nothing is
    written."""
    with pytest.raises(InitregError, match=reason):
        initreg.save(tmp_path / "m.npz", {"w": np.ones(2), "s": np.array(strings, object)})
    assert os.listdir(tmp_path) == []


# --- what an npz has no place for ----------------------------------------------------------------


@pytest.mark.newest
@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "float8_e8m0fnu"]
)
def test_a_dtype_that_numpy_cannot_name_is_refused(tmp_path: Path, dtype: str) -> None:
    """numpy would write raw bytes. The error says how to save it, and cast= is one way."""
    arrays = {"fc/W": np.ones(3, getattr(ml_dtypes, dtype))}
    with pytest.raises(InitregError, match=r"m\.npz: \.npz cannot store array 'fc/W'") as caught:
        initreg.save(tmp_path / "m.npz", arrays)
    assert dtype in str(caught.value)
    cast = {"fc/W": "int8" if dtype == "int4" else "float32"}
    assert "which numpy's files have no name for. You can save as ." in str(caught.value)
    assert f", or store it cast: cast={cast!r}, or drop it: drop='fc/W'" in str(caught.value)
    assert os.listdir(tmp_path) == []
    path = initreg.save(tmp_path / "m.npz", arrays, cast=cast)
    assert initreg.load(path)["fc/W"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["m.npz", "m.h5", "m.safetensors", "m.ckpt"])
def test_python_objects_are_refused(tmp_path: Path, name: str) -> None:
    """No format stores Python objects, so the error names no other format and says to drop them."""
    source = tmp_path / "objects.npz"
    np.savez(source, a=np.array([1, None], object), b=np.ones(2))
    said = r"cannot store array 'a': it holds Python objects, which no format stores\. You can "
    with pytest.raises(InitregError, match=said + r"drop it: drop='a'\. Nothing was written"):
        initreg.convert(source, tmp_path / name)
    assert list(initreg.load(initreg.convert(source, tmp_path / name, drop="a"))) == ["b"]


@pytest.mark.parametrize("array", [np.zeros(3, "M8[s]"), np.zeros(3, "f4,i4"), np.ones(2, "g")])
def test_other_dtypes_are_refused(tmp_path: Path, array: Array) -> None:
    """Dates, structures and long doubles fit no variable, and are refused."""
    with pytest.raises(InitregError, match="cannot store array 'a'"):
        initreg.save(tmp_path / "m.npz", {"a": array})


@pytest.mark.parametrize(
    "name", ["/a", "../a", "a/../b", "..", "a\\b", "a\0b", "a\ud800", "x" * 65_532, "w.npy"]
)
def test_a_name_that_would_not_survive_is_refused(tmp_path: Path, name: str) -> None:
    """A name that leaves the folder, fails on some systems, is too long, or that np.load changes is
    refused."""
    with pytest.raises(InitregError, match=r"Rename it\. Nothing was written") as caught:
        initreg.save(tmp_path / "m.npz", {"w": np.ones(1), name: np.ones(2)})
    assert repr(name) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_names_that_do_survive(tmp_path: Path) -> None:
    """An empty name, one with a slash or '.npy' at the end, and the longest possible one are
    written."""
    arrays = {n: np.array(i) for i, n in enumerate(["", "a/", "a.npy", "b.npy.npy", "x" * 65_531])}
    path = initreg.save(tmp_path / "m.npz", initreg.open(arrays))
    check_all(path, arrays)


def test_all_that_is_wrong_is_one_error(tmp_path: Path) -> None:
    """The error shows ten of the arrays, and the number of the others."""
    arrays = {f"a{i}": np.ones(1, ml_dtypes.bfloat16) for i in range(12)} | {"w": np.ones(1)}
    with pytest.raises(InitregError) as caught:
        initreg.save(tmp_path / "m.npz", arrays)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(".npz cannot store 12 of the arrays. Nothing was written:")
    assert [line.split(":")[0] for line in lines[1:11]] == [f"  array 'a{i}'" for i in range(10)]
    assert lines[11:] == ["  and 2 more"]


def test_shards_are_refused(tmp_path: Path) -> None:
    """An npz is always one file, and the error names a format that can have several."""
    with pytest.raises(InitregError, match="Leave out shard_size, or save as"):
        initreg.save(tmp_path / "m.npz", {"a": np.ones(3)}, shard_size=10)


# --- zip64 ---------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("limit", [0, 300, 1000, 3000])
def test_zip64_as_if_numbers_were_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool, limit: int
) -> None:
    """With lower limits some sizes, offsets and counts go into zip64 fields, and everything is
    read."""
    monkeypatch.setattr(zip_writing, "_MOST_32", limit)
    monkeypatch.setattr(zip_writing, "_MOST_16", 3)
    monkeypatch.setattr(zip_writing, "_CHUNK", 100)
    arrays = {f"a{i}": np.arange(i * 20, dtype="f4") for i in range(8)}
    path = initreg.save(tmp_path / "m.npz", arrays, compress=compress)
    check_all(path, arrays)
    assert b"PK\6\6" in path.read_bytes()
    if not compress:
        with initreg.open(path) as opened:
            assert {(a.value.offset + a.value.skip) % 64 for a in opened.values()} == {0}
    if shutil.which("unzip"):
        assert subprocess.run(["unzip", "-tq", path], check=False).returncode == 0
