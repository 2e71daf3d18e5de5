"""initreg.arrays.joined: arrays that are taken apart and put together, read from every source."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import initreg
from initreg import ChunkedExtent, DamagedFile, InitregError

ARRAYS = {
    "qkv": np.arange(0.5, 60, dtype="f4").reshape(6, 10),
    "k": np.arange(20, 40, dtype="f4").reshape(2, 10),
    "q": np.arange(20, dtype="f4").reshape(2, 10),
    "v": np.arange(40, 60, dtype="f4").reshape(2, 10),
}


def _h5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, array in ARRAYS.items():
            file.create_dataset(name, data=array, **options)


def _fortran(path: Path) -> None:
    np.savez(path, **{n: np.asarray(a, order="F") for n, a in ARRAYS.items()})


WRITERS: dict[str, Callable[[Path], object]] = {
    "stored.npz": lambda path: np.savez(path, **ARRAYS),
    "packed.npz": lambda path: np.savez_compressed(path, **ARRAYS),
    "fortran.npz": _fortran,
    "big.npz": lambda path: np.savez(path, **{n: a.astype(">f4") for n, a in ARRAYS.items()}),
    "a.safetensors": lambda path: initreg.save(path, ARRAYS),
    "a.ckpt": lambda path: initreg.save(path, ARRAYS),
    "flat.h5": _h5,
    "chunked.h5": lambda path: _h5(path, chunks=(2, 3), compression="gzip", fletcher32=True),
}


@pytest.fixture(scope="module", params=["dict", *WRITERS])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "dict":
        return dict(ARRAYS)
    path = tmp_path_factory.mktemp("joined") / request.param
    WRITERS[request.param](path)
    return path


@pytest.mark.parametrize("options", [{}, {"mmap": True}, {"verify": False}], ids=str)
def test_values_are_numpys(source: Any, options: dict[str, Any]) -> None:
    """What numpy's split, concatenate and stack give, bit by bit, in memory of one's own."""
    apart = initreg.load(source, split={"qkv": (0, ["a", "b", "c"])}, keep="qkv", **options)
    for name, values in zip("abc", np.split(ARRAYS["qkv"], 3), strict=True):
        assert apart[name].tobytes() == values.tobytes()
        assert apart[name].flags.owndata or apart[name].base is not ARRAYS["qkv"]
    rows = initreg.load(source, unstack={"qkv": (1, "column{i}")}, keep="qkv", **options)
    assert [rows[f"column{i}"].tolist() for i in range(10)] == ARRAYS["qkv"].T.tolist()
    parts = [ARRAYS[name] for name in "qkv"]
    for axis in (0, 1, -1):
        found = initreg.load(source, concat={"x": (axis, ["q", "k", "v"])}, **options)
        assert found["x"].tobytes() == np.concatenate(parts, axis).tobytes()
        found = initreg.load(source, stack={"x": (axis, ["q", "k", "v"])}, **options)
        assert found["x"].tobytes() == np.stack(parts, axis).tobytes()
        assert found["x"].flags.c_contiguous
        assert found["x"].flags.writeable


def test_they_compose_in_any_order(source: Any) -> None:
    """A part of what was put together, and a whole of what was changed and taken apart."""
    with initreg.open(source) as opened:
        joined = opened.transpose("k").permute("q", (1, 0)).concat("kq", 0, ["k", "q"])
        again = joined.split("kq", 0, ["start", "end"], [3, 17]).cast("float64", "end")
        expected = np.concatenate([ARRAYS["k"].T, ARRAYS["q"].T])
        assert again["start"].read().tolist() == expected[:3].tolist()
        assert again["end"].read().tolist() == expected[3:].tolist()
        assert again["end"].dtype == "float64"
        shaped = joined.reshape("kq", (4, -1)).slice("kq", 0, 1, 3)
        assert shaped["kq"].read().tolist() == expected.reshape(4, -1)[1:3].tolist()


@pytest.mark.parametrize(
    "index",
    [slice(2, 4), slice(None, None, -2), (slice(1, 5), 1), 3, (..., slice(2, 3)), [0, 5], (0, 0),
     slice(4, 4)],
    ids=str,
)  # fmt: skip
def test_a_slice_is_numpys(source: Any, index: Any) -> None:
    """``a[2:4]`` of an array that is put together or taken apart."""
    left, right = ARRAYS["qkv"][:, :5], ARRAYS["qkv"][:, 5:]
    with initreg.open(source) as opened:
        apart = opened.split("qkv", 1, ["left", "right"])
        assert np.array_equal(apart["right"][index], right[index])
        joined = apart.concat("x", 0, ["right", "left"])
        assert np.array_equal(joined["x"][index], np.concatenate([right, left])[index])
        stacked = apart.stack("x", -1, ["left", "right"])
        assert np.array_equal(stacked["x"][index], np.stack([left, right], -1)[index])


@given(
    array=arrays_of.arrays("i4", arrays_of.array_shapes(min_dims=1, max_dims=4, min_side=1)),
    data=st.data(),
)
def test_apart_and_together_is_the_same(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    """Any array, along any axis, in parts of any sizes; and any slice of what comes back."""
    axis = data.draw(st.integers(-array.ndim, array.ndim - 1))
    cuts = data.draw(st.sets(st.integers(1, max(1, array.shape[axis] - 1)), max_size=3))
    edges = [0, *sorted(cut for cut in cuts if cut < array.shape[axis]), array.shape[axis]]
    sizes = [int(size) for size in np.diff(edges)]
    opened = initreg.open({"w": array})
    apart = opened.split("w", axis, "p{i}", sizes)
    assert [apart[f"p{i}"].shape[axis] for i in range(len(sizes))] == sizes
    back = apart.concat("w", axis, "p{i}", sizes)["w"]
    assert np.array_equal(back.read(), array)
    index = data.draw(arrays_of.basic_indices(array.shape, allow_newaxis=False))
    assert np.array_equal(back[index], array[index])
    again = opened.unstack("w", axis, "p{i}").stack("w", axis, "p{i}")["w"]
    assert np.array_equal(again.read(), array)
    assert np.array_equal(again[index], array[index])


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bcd"] * 2, "O"),
        np.array([b"x", b"yz"] * 2),
        np.arange(4).astype(ml_dtypes.bfloat16),
        np.array([True, False] * 2),
        np.arange(4) * (1 + 2j),
    ],
    ids=lambda array: str(array.dtype),
)
def test_any_dtype(array: np.ndarray[Any, Any]) -> None:
    """Strings, bfloat16, bools: nothing is computed, so nothing needs to be a number."""
    opened = initreg.open({"w": array})
    apart = opened.split("w", 0, ["a", "b"])
    whole = opened["w"].read()
    assert apart["b"].read().tolist() == whole[2:].tolist()
    again = apart.concat("w", 0, ["a", "b"])["w"].read()
    assert again.tolist() == whole.tolist()
    assert again.dtype in (whole.dtype, "O")  # text of any length


# --- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stored.npz", "packed.npz", "a.ckpt", "chunked.h5"])
@pytest.mark.parametrize(
    "rules",
    [
        {"split": {"qkv": (0, ["a", "b", "c"])}},
        {"unstack": {"qkv": (0, "r{i}")}},
        {"stack": {"x": (0, ["q", "k"])}, "split": {"qkv": (0, ["a", "b", "c"])}},
    ],
    ids=str,
)
def test_checksums_are_verified_although_parts_are_read(
    name: str, rules: dict[str, Any], tmp_path: Path
) -> None:
    """One bit of the array is another one, in a part that is not read: it is noticed."""
    WRITERS[name](tmp_path / name)
    with initreg.open(tmp_path / name) as opened:
        extent = opened["qkv"].value
    piece = extent.chunks[-1] if isinstance(extent, ChunkedExtent) else extent
    content = bytearray(extent.file.read_bytes())
    content[piece.offset + piece.length - 4] ^= 1
    extent.file.write_bytes(content)
    kept = ["q", "k", "qkv"]
    with pytest.raises(DamagedFile):
        initreg.load(tmp_path / name, keep=kept, **rules)
    with initreg.open(tmp_path / name, keep=kept, **rules) as opened:
        parts = [array for array in opened if array not in ("q", "k", "x")]
        part = parts[-1 if name == "chunked.h5" else 0]  # its chunks have checksums of their own
        with pytest.raises(DamagedFile):
            opened[part].read()
        with pytest.raises(DamagedFile):
            opened[part].read()  # again: an array that is damaged is never taken for verified
    if name in ("stored.npz", "a.ckpt"):
        assert len(initreg.load(tmp_path / name, keep=kept, verify=False, **rules)) > 2


def test_a_closed_map_reads_nothing(tmp_path: Path) -> None:
    """Neither parts nor wholes, and the error names an array."""
    WRITERS["a.safetensors"](tmp_path / "a.safetensors")
    opened = initreg.open(tmp_path / "a.safetensors")
    ruled = opened.split("qkv", 0, ["a", "b"]).concat("x", 0, ["q", "v"])
    ruled.close()
    for name in ("a", "x"):
        with pytest.raises(InitregError, match="closed"):
            ruled[name].read()


def test_the_files_of_all_parts_are_known(tmp_path: Path) -> None:
    """So that no conversion replaces a file that it reads from."""
    WRITERS["a.safetensors"](tmp_path / "a.safetensors")
    with initreg.open(tmp_path / "a.safetensors") as opened:
        joined = opened.keep("q", "v").stack("x", 0, ["q", "v"])
        assert joined.files == (tmp_path / "a.safetensors",)


def test_threads_may_share_them(source: Any) -> None:
    """Parts and wholes of one map, read at once."""
    with initreg.open(source) as opened:
        ruled = opened.split("qkv", 0, ["a", "b", "c"]).stack("x", 0, ["q", "k", "v"])
        found: list[bool] = []

        def read() -> None:
            same = np.array_equal(np.concatenate([ruled[n].read() for n in "abc"]), ARRAYS["qkv"])
            found.append(same and np.array_equal(ruled["x"].read()[2], ARRAYS["v"]))

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [True] * 6


MEASURE = """
import sys, numpy as np, initreg
source, out, rules = sys.argv[1], sys.argv[2], eval(sys.argv[3])
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) << 10
initreg.convert({"a": np.zeros(8, "f4")}, out, split={"a": (0, ["b", "c"])})
before = peak()
initreg.convert(source, out, **rules)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        ({"split": {"w": (0, "p{i}", 32)}}, 48),
        ({"unstack": {"w": (0, "p{i}")}}, 48),
        ({"split": {"w": (0, "p{i}", 32)}, "stack": {"x": (0, ["p0", "p1"])}}, 64),
    ],
    ids=str,
)
def test_memory_is_bounded(rules: dict[str, Any], most: int, tmp_path: Path) -> None:
    """A conversion never has the whole array in memory, but one part of it, and some ahead."""
    source, out = tmp_path / "w.safetensors", tmp_path / "out.safetensors"
    initreg.save(source, {"w": np.zeros((512, 1024, 64), "f4")})  # 128 MiB in 16 parts of 8 MiB
    program = [sys.executable, "-c", MEASURE, str(source), str(out), repr(rules)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert int(done.stdout) < most << 20
