"""Writing safetensors: the reference library and initreg read the same bits from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.tensorflow
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import InitregError
from initreg_formats.safetensors import writing
from initreg_formats.safetensors.dtypes import DTYPES

Array = np.ndarray[Any, Any]

NUMPY = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8"]
OTHERS = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
          "float8_e8m0fnu"]  # fmt: skip

names = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    .filter(lambda name: not name.endswith((":0", "/.ATTRIBUTES/VARIABLE_VALUE")))
    .filter(lambda name: name != "__metadata__")
)
shapes = nps.array_shapes(min_dims=0, max_dims=4, min_side=0)


@st.composite
def arrays_of_bits(draw: st.DrawFn, kinds: list[str]) -> Array:
    """Arrays of these dtypes with any bits. A bool has only two."""
    kind = draw(st.sampled_from(kinds))
    if kind == "?":
        return draw(nps.arrays("?", shapes))
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    shape = draw(shapes)
    count = int(np.prod(shape)) * dtype.itemsize
    return draw(nps.arrays("u1", (count,))).view(dtype).reshape(shape)


def check(found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the arrays begin, and the header, of a safetensors file."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return 8 + size, json.loads(content[8 : 8 + size])


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --- one file ------------------------------------------------------------------------------------


@given(st.dictionaries(names, arrays_of_bits([*NUMPY, "bfloat16"]), max_size=5))
def test_the_library_and_initreg_read_what_is_saved(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Array]
) -> None:
    """Any names, dtypes and shapes come back bit for bit, and in initreg in the order of the
    arrays."""
    path = tmp_path_factory.mktemp("safetensors") / "m.safetensors"
    initreg.save(path, initreg.open(arrays))
    whole = safetensors.numpy.load_file(path)
    found = initreg.load(path)
    assert set(whole) == set(arrays)
    assert list(found) == list(arrays)
    with safetensors.safe_open(path, "np") as opened:
        assert set(opened.keys()) == set(arrays)
        for name, array in arrays.items():
            check(whole[name], array)
            check(opened.get_tensor(name), array)
            check(found[name], array)


@pytest.mark.newest
@pytest.mark.parametrize("kind", OTHERS)
def test_dtypes_that_numpy_lacks(tmp_path: Path, kind: str) -> None:
    """All 256 bytes of each come back unchanged, under the format's name of the dtype."""
    array = np.arange(256, dtype="u1").view(getattr(ml_dtypes, kind))
    path = initreg.save(tmp_path / "m.safetensors", {"a": array})
    check(initreg.load(path)["a"], array)
    with safetensors.safe_open(path, "np") as opened:
        assert opened.get_slice("a").get_shape() == list(array.shape)
        assert DTYPES[opened.get_slice("a").get_dtype()][1] == kind


def test_tensorflow_reads_it(tmp_path: Path) -> None:
    """The library's own loader for TensorFlow reads it."""
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(3, ml_dtypes.bfloat16)}
    path = initreg.save(tmp_path / "m.safetensors", arrays)
    found = safetensors.tensorflow.load_file(str(path))
    for name, array in arrays.items():
        check(found[name].numpy(), array)


@pytest.mark.newest
@given(st.lists(arrays_of_bits([*NUMPY, *OTHERS]), max_size=8))
def test_arrays_are_aligned(tmp_path_factory: pytest.TempPathFactory, arrays: list[Array]) -> None:
    """Arrays whose length is a multiple of 64 bytes begin at such a multiple, the others are
    aligned for their dtype."""
    path = tmp_path_factory.mktemp("safetensors") / "m.safetensors"
    given_ = {str(i): array for i, array in enumerate(arrays)}
    initreg.save(path, initreg.open(given_))
    begin, fields = header(path)
    assert begin % 64 == 0
    for name, array in given_.items():
        first, last = fields[name]["data_offsets"]
        assert last - first == array.nbytes
        if array.size:
            assert (begin + first) % (64 if array.nbytes % 64 == 0 else 1) == 0
            assert (begin + first) % array.dtype.itemsize == 0


def test_a_saved_file_can_be_mapped(tmp_path: Path) -> None:
    """With mmap=True an array is aligned memory of the file, whatever else is in it."""
    arrays = {"odd": np.ones(7, "u1"), "w": np.ones((512, 512), "f4"), "step": np.array(3)}
    path = initreg.save(tmp_path / "m.safetensors", arrays)
    found = initreg.load(path, mmap=True)["w"]
    assert found.ctypes.data % 64 == 0
    assert not found.flags.owndata
    check(found, arrays["w"])


def test_the_same_arrays_make_the_same_file(tmp_path: Path) -> None:
    """Byte for byte, from any source."""
    arrays = {"b": np.arange(1000.0), "a": np.array(3), "c": np.ones(16, "f4")}
    one = initreg.save(tmp_path / "1.safetensors", arrays)
    two = initreg.convert(one, tmp_path / "2.safetensors")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("array", [np.ones(2, "c16"), np.ones(2, ml_dtypes.int4), np.ones(2, "g"),
                                   np.array(["text"]), np.zeros(2, "f4,i4")])  # fmt: skip
def test_a_dtype_of_another_format_is_refused(tmp_path: Path, array: Array) -> None:
    """The error names file and array, and nothing is written."""
    with pytest.raises(InitregError, match=r"m\.safetensors: .* cannot store array 'fc/W': its "):
        initreg.save(tmp_path / "m.safetensors", {"w": np.ones(1), "fc/W": array})
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["__metadata__", "a\ud800"])
def test_a_name_of_the_formats_own_is_refused(tmp_path: Path, name: str) -> None:
    """The format's own name, and a name that is not text, are refused."""
    with pytest.raises(InitregError, match=r"Rename it\. Nothing was written"):
        initreg.save(tmp_path / "m.safetensors", {name: np.ones(1)})
    assert listing(tmp_path) == []


def test_compress_is_refused(tmp_path: Path) -> None:
    """The format has no packed arrays, and the error says so."""
    with pytest.raises(InitregError, match="Leave out compress, or save as"):
        initreg.save(tmp_path / "m.safetensors", {"a": np.ones(1)}, compress=True)


def test_a_header_that_nobody_reads_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference refuses 100 MB and more. Each shard has a header of its own."""
    monkeypatch.setattr(writing, "LONGEST_HEADER", 1000)
    arrays = {f"layer{i}/kernel": np.ones(4, "f4") for i in range(20)}
    with pytest.raises(InitregError, match=r"20 arrays need a header of .* have at most 1,000"):
        initreg.save(tmp_path / "m.safetensors", arrays)
    assert listing(tmp_path) == []
    path = initreg.save(tmp_path / "m.safetensors", arrays, shard_size=100)
    monkeypatch.undo()
    assert len(initreg.load(path)) == 20


# --- shards --------------------------------------------------------------------------------------

MODEL = {f"layer{i}/w": np.full((25, 10), i, "f4") for i in range(6)}  # of 1,000 bytes each
SHARDS = [f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
INDEX = "m.safetensors.index.json"


def equal(found: dict[str, Array], wanted: dict[str, Array]) -> bool:
    return list(found) == list(wanted) and all((found[n] == wanted[n]).all() for n in wanted)


def test_a_model_above_shard_size_is_several_files(tmp_path: Path) -> None:
    """They are named, filled and indexed as Hugging Face does it, and the index opens them."""
    path = initreg.save(tmp_path / "m.safetensors", MODEL, shard_size="2kB")
    assert path == tmp_path / INDEX
    assert listing(tmp_path) == [*SHARDS, INDEX]
    index = json.loads(path.read_text("utf-8"))
    assert index["metadata"] == {"total_size": 6000}
    assert index["weight_map"] == {n: SHARDS[i // 2] for i, n in enumerate(MODEL)}
    for shard in SHARDS:
        assert len(safetensors.numpy.load_file(tmp_path / shard)) == 2
    assert equal(initreg.load(path), MODEL)
    assert equal(initreg.load(tmp_path), MODEL)


def test_a_model_within_shard_size_is_one_file(tmp_path: Path) -> None:
    """This holds up to the last byte."""
    path = initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=6000)
    assert (path, listing(tmp_path)) == (tmp_path / "m.safetensors", ["m.safetensors"])


def test_an_array_above_shard_size_has_a_file_of_its_own(tmp_path: Path) -> None:
    """It is not split."""
    arrays = {"a": np.ones(10, "u1"), "big": np.ones(5000, "u1"), "z": np.ones(10, "u1")}
    path = initreg.save(tmp_path / "m.safetensors", arrays, shard_size=100)
    assert json.loads(path.read_text("utf-8"))["weight_map"] == dict(
        zip(arrays, SHARDS, strict=True)
    )
    assert equal(initreg.load(path), arrays)


def test_the_index_is_spelt_as_the_user_spells_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The returned path is relative, or leads through a link to a folder, as the user wrote it. A
    link to a file is followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert initreg.save("m.safetensors", MODEL, shard_size=2000) == Path(INDEX)
    assert initreg.save("link/m.safetensors", MODEL, shard_size=2000) == Path("link") / INDEX
    (tmp_path / "n.safetensors").symlink_to("real/m.safetensors")
    path = initreg.save("n.safetensors", MODEL, shard_size=2000)
    assert path == Path(os.path.realpath(tmp_path)) / "real" / INDEX
    assert equal(initreg.load(path), MODEL)


def test_an_index_is_not_given_as_the_path(tmp_path: Path) -> None:
    """The error says which path makes one."""
    with pytest.raises(InitregError, match=r"Give 'm\.safetensors' with a shard_size"):
        initreg.save(tmp_path / INDEX, MODEL, format="safetensors")


def test_files_that_are_being_written_are_not_of_the_folder(tmp_path: Path) -> None:
    """Temporary files beside the final ones, which a killed save leaves for a while, are not
    listed."""
    initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=2000)
    for name in listing(tmp_path):
        (tmp_path / f".initreg-0123abcd-{name}").write_bytes(b"")
    assert equal(initreg.load(tmp_path), MODEL)


def test_shards_with_names_beyond_ascii(tmp_path: Path) -> None:
    """Arrays and the file may have such names."""
    arrays = {"größe": np.ones(9), "模型": np.zeros(9), '\n"\\': np.ones(1)}
    path = initreg.save(tmp_path / "größe.safetensors", arrays, shard_size=70)
    assert equal(initreg.load(path), arrays)


# --- what stood there ----------------------------------------------------------------------------


def test_shards_again_of_the_same_number(tmp_path: Path) -> None:
    """The old shards keep their names until the new index is there, so the new ones have other
    names."""
    for turn in range(4):
        arrays = {name: array + turn for name, array in MODEL.items()}
        path = initreg.save(tmp_path / "m.safetensors", arrays, shard_size=2000)
        stem = "m.1" if turn % 2 else "m"
        assert listing(tmp_path) == sorted(
            [*(shard.replace("m", stem, 1) for shard in SHARDS), INDEX]
        )
        assert equal(initreg.load(path), arrays)


@pytest.mark.parametrize("first", [None, 1000, 2000, 3000])
@pytest.mark.parametrize("second", [None, 1000, 2000, 3000])
def test_nothing_of_the_old_save_is_left(
    tmp_path: Path, first: int | None, second: int | None
) -> None:
    """One file or some shards are replaced by one file or other shards, and the folder opens as one
    model."""
    initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=first)
    arrays = {name: array + 10 for name, array in MODEL.items()}
    path = initreg.save(tmp_path / "m.safetensors", arrays, shard_size=second)
    expected = 1 if second is None else 6000 // second + 1
    assert len(listing(tmp_path)) == expected
    assert equal(initreg.load(path), arrays)
    assert equal(initreg.load(tmp_path), arrays)


@pytest.mark.parametrize("size", [None, 3000])
def test_other_files_are_left_alone(tmp_path: Path, size: int | None) -> None:
    """Shards that the old index does not name, files that are not shards, and files outside
    stay."""
    inside, outside = tmp_path / "in", tmp_path / "out-00001-of-00001.safetensors"
    inside.mkdir()
    outside.write_bytes(b"outside")
    old = initreg.save(inside / "m.safetensors", MODEL, shard_size=2000)
    index = json.loads(old.read_text("utf-8"))
    others = ["other.safetensors", "m-00001-of-00009.safetensors", "notes.txt"]
    for name in others:
        (inside / name).write_bytes(b"mine")
    index["weight_map"] |= {"a": f"../{outside.name}", "b": str(outside), "c": others[0],
                            "d": others[2], "e": 7, "f": ".."}  # fmt: skip
    old.write_text(json.dumps(index), "utf-8")
    path = initreg.save(inside / "m.safetensors", MODEL, shard_size=size)
    assert equal(initreg.load(path), MODEL)
    assert outside.read_bytes() == b"outside"
    assert all((inside / name).read_bytes() == b"mine" for name in others)
    assert not any((inside / shard).exists() for shard in SHARDS)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"weight_map": 3}', '{"weight_map": {"a": []}}', "[" * 100_000]
)
def test_an_old_index_that_is_none_is_replaced(tmp_path: Path, text: str) -> None:
    """A damaged old index names no shards, so none are removed."""
    (tmp_path / INDEX).write_text(text)
    (tmp_path / SHARDS[0]).write_bytes(b"old")
    path = initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=2000)
    assert equal(initreg.load(path), MODEL)
    assert (tmp_path / SHARDS[0]).read_bytes() == b"old"
    assert len(listing(tmp_path)) == 5


@pytest.mark.parametrize("size", [None, 2000, 3000])
def test_a_sharded_model_is_converted_onto_itself(tmp_path: Path, size: int | None) -> None:
    """It is read from the old shards, which are removed afterwards."""
    old = initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=2000)
    new = initreg.convert(old, tmp_path / "m.safetensors", cast="float64", shard_size=size)
    found = initreg.load(new)
    assert equal(found, MODEL)
    assert {array.dtype for array in found.values()} == {np.dtype("f8")}


@pytest.mark.parametrize("size", [None, 2000])
def test_a_save_that_fails_leaves_the_old_shards(tmp_path: Path, size: int | None) -> None:
    """The save fails at the last array, when some new shards are written already."""

    class Damaged:
        shape, dtype = (250,), np.dtype("f4")

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise initreg.DamagedFile("elsewhere: damaged")

    old = initreg.save(tmp_path / "m.safetensors", MODEL, shard_size=2000)
    before = {name: (tmp_path / name).read_bytes() for name in listing(tmp_path)}
    with pytest.raises(initreg.DamagedFile):
        initreg.save(tmp_path / "m.safetensors", MODEL | {"z": Damaged()}, shard_size=size)
    assert {name: (tmp_path / name).read_bytes() for name in listing(tmp_path)} == before
    assert equal(initreg.load(old), MODEL)


@pytest.mark.parametrize("first", [None, 2000])
@pytest.mark.parametrize("second", [None, 2000, 3000])
def test_a_save_that_is_killed_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int | None, second: int | None
) -> None:
    """Killed at each change of the folder, the save leaves a complete model under the old path or
    the new one."""
    new = {name: array + 10 for name, array in MODEL.items()}
    real = {name: getattr(os, name) for name in ("replace", "unlink")}
    for moment in range(30):
        folder = tmp_path / str(moment)
        folder.mkdir()
        initreg.save(folder / "m.safetensors", MODEL, shard_size=first)
        left = moment
        for name, function in real.items():

            def count(*args: Any, function: Any = function) -> None:
                nonlocal left
                if left == 0:
                    raise KeyboardInterrupt  # and nothing is changed by what follows it
                left -= 1
                function(*args)

            monkeypatch.setattr(os, name, count)
        done = True
        try:
            initreg.save(folder / "m.safetensors", new, shard_size=second)
        except KeyboardInterrupt:
            done = False
        for name, function in real.items():
            monkeypatch.setattr(os, name, function)
        candidates = [folder / name for name in ("m.safetensors", INDEX)]
        found = [initreg.load(path) for path in candidates if path.exists()]
        assert found
        assert all(equal(each, MODEL) or equal(each, new) for each in found)
        if done:
            break
    assert done


def test_shards_of_another_model_stay(tmp_path: Path) -> None:
    """A save removes the shards that its own index names, and not those of an index that is a copy
    of another model's, nor shards that another index names."""
    arrays = {"a": np.ones(40), "b": np.ones(40)}
    other = initreg.save(tmp_path / "bert.safetensors", arrays, shard_size=100)
    index = tmp_path / "m.safetensors.index.json"
    index.write_bytes(Path(other).read_bytes())
    initreg.save(tmp_path / "m.safetensors", arrays)
    assert sorted(initreg.load(other)) == ["a", "b"]

    mine = initreg.save(tmp_path / "m.safetensors", arrays, shard_size=100)
    copy = tmp_path / "copy.safetensors.index.json"
    copy.write_bytes(Path(mine).read_bytes())
    initreg.save(tmp_path / "m.safetensors", arrays, shard_size=100)
    assert sorted(initreg.load(copy)) == ["a", "b"]  # two indices name these shards
    assert sorted(initreg.load(mine)) == ["a", "b"]
