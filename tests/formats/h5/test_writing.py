"""Writing HDF5: h5py and initreg read the same bits from it, and HDF5 survives a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import InitregError
from initreg_formats.h5.calm_file import CalmFile

Array = np.ndarray[Any, Any]

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
kinds = pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])

parts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/:"), min_size=1, max_size=20
).filter(lambda part: part not in (".", ".."))
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
shapes = nps.array_shapes(min_dims=0, max_dims=4, min_side=0)
values = st.sampled_from(DTYPES).flatmap(lambda dtype: nps.arrays(dtype, shapes))
bfloat16s = nps.arrays("u2", shapes).map(lambda array: array.view(ml_dtypes.bfloat16))


def check(found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def is_tree(arrays: dict[str, Array]) -> bool:
    """Whether no array has the name of another array's group."""
    return not any(a != b and b.startswith(f"{a}/") for a in arrays for b in arrays)


@kinds
@given(arrays=st.dictionaries(names, values | bfloat16s, max_size=5).filter(is_tree))
def test_h5py_and_initreg_read_what_is_saved(
    tmp_path_factory: pytest.TempPathFactory, compress: bool, arrays: dict[str, Array]
) -> None:
    """Any paths, dtypes and shapes, in every bit; bfloat16 is opaque to h5py, with its bits."""
    path = tmp_path_factory.mktemp("h5") / "m.h5"
    initreg.save(path, initreg.open(arrays), compress=compress)
    found = initreg.load(path)
    assert set(found) == set(arrays)
    with h5py.File(path) as file:
        for name, array in arrays.items():
            check(found[name], array)
            stored = file[name][()] if array.ndim else np.asarray(file[name][()])
            check(stored.view(array.dtype), array)
            if array.dtype == ml_dtypes.bfloat16:
                assert file[name].attrs["dtype"] == "bfloat16"


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".H5"])
def test_endings(tmp_path: Path, ending: str) -> None:
    """Both endings work, in upper and lower case."""
    path = initreg.save(tmp_path / f"m{ending}", {"a": np.ones(3)})
    assert h5py.is_hdf5(path)


def test_datasets_are_contiguous_and_aligned(tmp_path: Path) -> None:
    """Datasets of 64 bytes and more begin at multiples of 64 bytes of the file."""
    arrays = {f"g{i}/x{'x' * i}": np.arange(16 + 3 * i, dtype="f4") for i in range(40)}
    arrays |= {f"small{i}": np.arange(i, dtype="u1") for i in range(1, 40)}
    path = initreg.save(tmp_path / "m.h5", arrays)
    with h5py.File(path) as file:
        for name, array in arrays.items():
            assert file[name].chunks is None
            assert array.nbytes < 64 or file[name].id.get_offset() % 64 == 0
    assert all((initreg.load(path)[name] == array).all() for name, array in arrays.items())


def test_a_saved_file_can_be_mapped(tmp_path: Path) -> None:
    """With mmap=True an array is aligned memory of the file, not a copy of it."""
    arrays = {"odd": np.ones(7, "u1"), "w": np.ones((512, 512), "f4")}
    found = initreg.load(initreg.save(tmp_path / "m.h5", arrays), mmap=True)["w"]
    assert found.ctypes.data % 64 == 0
    assert not found.flags.owndata
    check(found, arrays["w"])


def test_compressed_datasets_are_gzip_with_shuffle(tmp_path: Path) -> None:
    """All datasets that can have chunks are compressed: not those without axes, empty ones, or
    strings."""
    arrays = {
        "w": np.arange(10_000, dtype="f4").reshape(100, 100),
        "b": np.ones(100, ml_dtypes.bfloat16),
        "scalar": np.array(1.0),
        "empty": np.zeros((0, 3)),
        "text": np.array(["a", "b"]),
    }
    path = initreg.save(tmp_path / "m.h5", arrays, compress=True)
    with h5py.File(path) as file:
        packed = {name for name in arrays if file[name].compression == "gzip"}
        assert packed == {name for name in arrays if file[name].shuffle} == {"w", "b"}
    assert path.stat().st_size < 25_000
    check(initreg.load(path)["b"], arrays["b"])


def test_the_same_arrays_make_the_same_file(tmp_path: Path) -> None:
    """Byte for byte, in another second too: no object has a time in it."""
    arrays = {"g/a": np.arange(1000.0), "s": np.array(["x", "größe"]),
              "g/b": np.ones(5, ml_dtypes.bfloat16)}  # fmt: skip

    def saved() -> list[bytes]:
        paths = [tmp_path / "plain.h5", tmp_path / "packed.h5"]
        for path, compress in zip(paths, (False, True), strict=True):
            initreg.save(path, arrays, compress=compress)
        return [path.read_bytes() for path in paths]

    first = saved()
    time.sleep(1.1)
    assert saved() == first


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_strings_are_utf_8(tmp_path_factory: pytest.TempPathFactory, strings: list[str]) -> None:
    """Strings of any length are text to h5py, and both read the same bytes."""
    path = tmp_path_factory.mktemp("h5") / "m.h5"
    array = np.empty(len(strings), object)
    array[:] = strings
    initreg.save(path, {"s": array})
    with h5py.File(path) as file:
        assert h5py.check_string_dtype(file["s"].dtype) == ("utf-8", None)
        assert file["s"].asstr()[...].tolist() == strings
    assert initreg.load(path)["s"].tolist() == [text.encode() for text in strings]


@pytest.mark.parametrize(
    ("strings", "reason"),
    [(["a", "b\0c"], "with NUL, which ends a string"), ([b"\0"], "with NUL"),
     ([b"\xff"], "bytes that are not UTF-8"), (["\ud800"], "bytes that are not UTF-8")],
)  # fmt: skip
def test_strings_that_hdf5_does_not_keep_are_refused(
    tmp_path: Path, strings: list[Any], reason: str
) -> None:
    """The error names the array, and nothing is written."""
    with pytest.raises(InitregError, match=f"array 's' holds strings .*{reason}"):
        initreg.save(tmp_path / "m.h5", {"w": np.ones(1), "s": np.array(strings, object)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "a\0b", "a\ud800",
             "/".join("g" * 202)],
)  # fmt: skip
def test_a_name_that_is_no_path_is_refused(tmp_path: Path, name: str) -> None:
    """A name that HDF5 would take for another path, or that nobody could read, is refused."""
    with pytest.raises(InitregError, match=r"Rename it\. Nothing was written") as caught:
        initreg.save(tmp_path / "m.h5", {"w": np.ones(1), name: np.ones(2)})
    assert repr(name) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_the_deepest_name_is_read(tmp_path: Path) -> None:
    """As many groups as the reader follows are written, and a part of 60,000 letters. A longer part
    is refused."""
    arrays = {"/".join("g" * 201): np.ones(2), "x" * 60_000: np.zeros(3)}
    found = initreg.load(initreg.save(tmp_path / "m.h5", arrays))
    assert set(found) == set(arrays)
    with pytest.raises(InitregError, match="a part of its name has more than 60,000 bytes"):
        initreg.save(tmp_path / "other.h5", {"x" * 60_001: np.zeros(3)})


@pytest.mark.parametrize("other", ["a/b", "a/b/c/d"])
def test_an_array_that_is_a_group_too_is_refused(tmp_path: Path, other: str) -> None:
    """The error names both arrays."""
    with pytest.raises(InitregError, match=f"array 'a': it cannot be both .* of '{other}'"):
        initreg.save(tmp_path / "m.h5", {other: np.ones(1), "a": np.ones(1)})


@pytest.mark.parametrize("array", [np.ones(2, ml_dtypes.float8_e5m2), np.ones(2, ml_dtypes.int4),
                                   np.ones(2, "g"), np.zeros(2, "f4,i4")])  # fmt: skip
def test_other_dtypes_are_refused(tmp_path: Path, array: Array) -> None:
    """A dtype that HDF5 or every variable lacks is refused, and nothing is written."""
    with pytest.raises(InitregError, match="cannot store array 'a': its dtype is "):
        initreg.save(tmp_path / "m.h5", {"a": array})
    assert os.listdir(tmp_path) == []


@pytest.mark.newest
def test_more_axes_than_hdf5_has_are_refused(tmp_path: Path) -> None:
    """32 axes are written, 33 are refused."""
    initreg.save(tmp_path / "m.h5", {"a": np.ones((1,) * 32)})
    with pytest.raises(InitregError, match=r"33 axes, and at most 32 are possible\. Save as .npz"):
        initreg.save(tmp_path / "m.h5", {"a": np.ones((1,) * 33)})


@pytest.mark.parametrize("name", ["m.weights.h5", "M.Weights.H5", "m.keras"])
def test_keras_own_files_are_refused(tmp_path: Path, name: str) -> None:
    """Their layout belongs to the model, and the error says how to write them."""
    with pytest.raises(InitregError, match=r"model\.save_weights\(path\) or model\.save\(path\)"):
        initreg.save(tmp_path / name, {"a": np.ones(1)}, format="h5")
    assert os.listdir(tmp_path) == []


def test_shards_are_refused(tmp_path: Path) -> None:
    """HDF5 is always one file."""
    with pytest.raises(InitregError, match="Leave out shard_size, or save as"):
        initreg.save(tmp_path / "m.h5", {"a": np.ones(3)}, shard_size=10)


# --- a full disk ---------------------------------------------------------------------------------

_SAVE_UNDER_A_LIMIT = """
import os, resource, signal, sys
import numpy as np
import initreg
path, limit, compress = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write fails then, as on a full disk
rng = np.random.default_rng(0)
arrays = {f"x/{i}": rng.standard_normal((64, 64)) for i in range(30)}
arrays |= {"big": rng.standard_normal(300_000), "text": np.array(["a"] * 100)}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    initreg.save(path, arrays, compress=compress)
except initreg.UnwritableFile as error:
    print(error)
initreg.save(path + "2.h5", {"a": np.ones(3, "i1")})  # HDF5 works on, and so can the training
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
@pytest.mark.parametrize(
    ("limit", "compress"), [(10_000, False), (100_000, True), (1_500_000, False), (3_000_000, True)]
)
def test_a_full_disk_is_one_error(tmp_path: Path, limit: int, compress: bool) -> None:
    """The old file stays, no other file is left, and the process goes on and ends as usual."""
    path = initreg.save(tmp_path / "m.h5", {"old": np.ones(3)})
    before = path.read_bytes()
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SAVE_UNDER_A_LIMIT, path, str(limit), str(compress)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{path}: cannot be written: File too large. Nothing was changed\n"
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["m.h5", "m.h52.h5"]


def test_a_calm_file_reads_back_what_it_could_not_write(tmp_path: Path) -> None:
    """HDF5 finds its own records as it wrote them, and the first error is kept."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with open(tmp_path / "f", "rb", buffering=0) as raw:  # which cannot be written to
        calm = CalmFile(raw)
        assert calm.write(b"ab") == 2
        calm.seek(4)
        assert calm.write(memoryview(b"cd")) == 2
        first = calm.error
        assert isinstance(first, OSError)
        calm.seek(0)
        assert calm.read(12) == b"ab23cd6789\0\0"
        assert (calm.tell(), calm.seek(0, os.SEEK_END)) == (12, 6)
        assert calm.truncate(20) == calm.seek(0, os.SEEK_END) == 20
        assert calm.error is first
