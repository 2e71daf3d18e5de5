"""The safetensors format, against files that the reference library wrote."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import (
    AmbiguousSource,
    Confidence,
    DamagedFile,
    DuplicateName,
    InitregError,
    OpenOptions,
    RefusedFile,
    SmartInit,
    Source,
    SourceNotFound,
    dtypes,
)
from initreg_formats import safetensors as plugin
from initreg_formats.safetensors.dtypes import DTYPES as OF_THE_PLUGIN

# What the format calls a dtype, and what numpy or ml_dtypes call it.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}


def some_bits(shape, dtype):
    """An array of all kinds of bits, NaNs and infinities included. A bool has only two."""
    count = int(np.prod(shape, dtype=int)) * dtypes.itemsize(dtype)
    raw = np.random.default_rng(count).integers(0, 256, count, dtype=np.uint8)
    if dtype == "bool":
        raw &= 1
    return raw.view(dtypes.to_numpy(dtype)).reshape(shape)


def same(found, expected):
    """Equal shape, dtype and bits."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def save(arrays, path, metadata=None):
    """``safetensors.serialize_file``, which writes dtypes that numpy lacks."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    specs = {
        name: safetensors.TensorSpec(
            dtype=array.dtype.name,
            shape=arrays[name].shape,
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
        for name, array in kept.items()
    }
    safetensors.serialize_file(specs, str(path), metadata)


def write(path, header, body=b""):
    """Write a file with any header: a dict, or the JSON text itself."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


# --- what the reference library writes ----------------------------------------------------------


@pytest.mark.newest
@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (2, 3, 4)])
@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_and_shape(tmp_path, kind, shape):
    """Every dtype of the format reads bit by bit, 0-d and empty arrays too."""
    expected = some_bits(shape, DTYPES[kind])
    save({"a": expected}, tmp_path / "m.safetensors")
    header = (tmp_path / "m.safetensors").read_bytes()[8:]
    assert b'"dtype":"%s"' % kind.encode() in header
    with initreg.open(tmp_path / "m.safetensors") as arrays:
        assert arrays.format == "safetensors"
        assert arrays["a"].spec.dtype == DTYPES[kind]
        same(arrays["a"].read(), expected)


def test_every_known_dtype_is_tested():
    """The plugin has the same dtypes as this test, except for the packed ones."""
    readable = {kind: name for kind, (_, name) in OF_THE_PLUGIN.items() if name is not None}
    assert readable == DTYPES


def test_it_reads_what_the_library_reads(tmp_path):
    """safe_open and initreg agree on names, shapes, dtypes and bits of a numpy save_file."""
    written = {
        kind: some_bits((3, 5), name)
        for kind, name in DTYPES.items()
        if name in {"bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32"}
        or name in {"float32", "complex64", "float64", "int64", "uint64"}
    }
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(written, path, metadata={"format": "np", "a": "b"})
    with safetensors.safe_open(path, "np") as reference, initreg.open(path) as arrays:
        assert set(arrays) == set(reference.keys()) == set(written)
        for name in arrays:
            same(arrays[name].read(), reference.get_tensor(name))


def test_bfloat16_as_the_library_reads_it(tmp_path):
    """bfloat16 from save_file of ml_dtypes arrays has the values that were saved."""
    expected = np.linspace(-3, 3, 40, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(8, 5)
    safetensors.numpy.save_file({"w": expected}, tmp_path / "m.safetensors")
    same(initreg.load(tmp_path / "m.safetensors")["w"], expected)


def test_fortran_order(tmp_path):
    """An array that was in Fortran order when it was saved has its values in place."""
    array = np.asfortranarray(np.random.default_rng(0).random((5, 7, 3)))
    save({"a": array}, tmp_path / "m.safetensors")
    same(initreg.load(tmp_path / "m.safetensors")["a"], np.ascontiguousarray(array))


def test_names(tmp_path):
    """Names have any alphabet, a trailing ':0' is dropped, and the metadata is not an array."""
    names = ["fc/W", "a.b.weight", "naïve/сеть/层", "fc/b:0", "with space", "", "\N{GRINNING FACE}"]
    written = {name: np.array(i) for i, name in enumerate(names)}
    safetensors.numpy.save_file(written, tmp_path / "m.safetensors", metadata={"x": "y"})
    found = initreg.load(tmp_path / "m.safetensors")
    assert {name: int(array) for name, array in found.items()} == {
        name.removesuffix(":0"): i for i, name in enumerate(names)
    }


def test_thousands_of_arrays(tmp_path):
    """10,000 arrays are listed and read."""
    expected = {f"layer_{i}/w": np.full(3, i) for i in range(10_000)}
    safetensors.numpy.save_file(expected, tmp_path / "m.safetensors")
    found = initreg.load(tmp_path / "m.safetensors")
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_no_arrays(tmp_path):
    """A file without arrays opens, and lists no arrays."""
    safetensors.numpy.save_file({}, tmp_path / "m.safetensors")
    with initreg.open(tmp_path / "m.safetensors") as arrays:
        assert list(arrays) == []


@pytest.mark.newest
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=6).filter(lambda n: n != "__metadata__"),
        st.sampled_from(sorted(DTYPES.values())).flatmap(
            lambda name: nps.array_shapes(min_dims=0, min_side=0, max_side=4).map(
                lambda shape: some_bits(shape, name)
            )
        ),
        max_size=5,
    )
)
@settings(max_examples=60)
def test_round_trip(tmp_path_factory, written):
    """Whatever the library writes, initreg reads bit by bit."""
    path = tmp_path_factory.mktemp("safetensors") / "m.safetensors"
    save(written, path)
    found = plugin.initreg_open(Source(path), OpenOptions())
    assert set(found) == set(written)
    if len({name.removesuffix(":0") for name in written}) == len(written):
        with initreg.open(path) as arrays:
            for name, expected in written.items():
                same(arrays[name].read(), expected)


def test_init_from_a_file(tmp_path):
    """SmartInit fills a dict of arrays from a safetensors file."""
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    safetensors.numpy.save_file({"fc/W": weights}, tmp_path / "m.safetensors")
    target = {"fc/W": np.zeros((2, 3), np.float32)}
    SmartInit(tmp_path / "m.safetensors").init(target)
    same(target["fc/W"], weights)


# --- several files ----------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path):
    """A folder with an index of two parts, as transformers writes it, and what they hold."""
    folder = tmp_path / "model"
    folder.mkdir()
    parts = {
        "model-00001-of-00002.safetensors": {"a/w": np.arange(4.0), "z/ы": np.array([7], np.int8)},
        "model-00002-of-00002.safetensors": {"b/w": np.ones((2, 2), np.float32)},
    }
    places = {}
    for part, arrays in parts.items():
        safetensors.numpy.save_file(arrays, folder / part)
        places |= dict.fromkeys(arrays, part)
    index = {"metadata": {"total_size": 49}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    return folder, {k: v for arrays in parts.values() for k, v in arrays.items()}


@pytest.mark.parametrize("given_as", ["index", "folder", "folder as str"])
def test_sharded(sharded, given_as):
    """An index, or the folder that holds it, gives the arrays of all parts."""
    folder, expected = sharded
    source = {
        "index": folder / "model.safetensors.index.json",
        "folder": folder,
        "folder as str": f"{folder}/",
    }[given_as]
    assert initreg.probe(source).winner == "safetensors"
    found = initreg.load(source)
    assert list(found) == list(expected)
    for name in expected:
        same(found[name], expected[name])


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "*.safetensors", ""])
def test_one_part_means_the_set(sharded, indexed, name):
    """A part, a pattern or the folder opens all parts, with or without an index."""
    folder, expected = sharded
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()
    found = initreg.load(folder / name)
    assert set(found) == set(expected)
    for each in expected:
        same(found[each], expected[each])


def test_an_index_that_does_not_name_the_part(sharded):
    """A part beside the index of another save is an error that shows both."""
    folder, _ = sharded
    part = folder / "model-00001-of-00001.safetensors"
    other = folder / "model-00001-of-00003.safetensors"
    (folder / "model-00001-of-00002.safetensors").rename(other)
    with pytest.raises(InitregError, match=r"names other parts: model-00001-of-00002\.safetens"):
        initreg.open(other)
    other.rename(part)  # the only one of its set is no part
    assert sorted(initreg.load(part)) == ["a/w", "z/ы"]


def test_a_stale_index_and_a_missing_part_get_different_advice(sharded):
    """Parts of another count beside the index show that the index is of another save."""
    folder, _ = sharded
    for n in (1, 2):
        (folder / f"model-0000{n}-of-00002.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"2 parts are missing: model-00001-of-00002.*Download"):
        initreg.open(folder)
    safetensors.numpy.save_file(
        {"a/w": np.arange(4.0)}, folder / "model-00001-of-00003.safetensors"
    )
    with pytest.raises(DamagedFile, match=r"has model-\*-of-00003.*the index is from another save"):
        initreg.open(folder)


def test_a_folder_with_two_sets(sharded):
    """Without an index, two sets in one folder are an error that shows both."""
    folder, _ = sharded
    (folder / "model.safetensors.index.json").unlink()
    safetensors.numpy.save_file(
        {"a/w": np.arange(4.0)}, folder / "model-00001-of-00003.safetensors"
    )
    with pytest.raises(AmbiguousSource) as caught:
        initreg.open(folder)
    assert "model-*-of-00002.safetensors (2 of 2 parts)" in str(caught.value)
    assert "model-*-of-00003.safetensors (1 of 3 parts)" in str(caught.value)


def test_two_parts_with_one_name(sharded):
    """An array in two parts of a set without an index is an error that names both parts."""
    folder, _ = sharded
    (folder / "model.safetensors.index.json").unlink()
    safetensors.numpy.save_file(
        {"a/w": np.arange(4.0)}, folder / "model-00002-of-00002.safetensors"
    )
    with pytest.raises(DuplicateName, match=r"00002-of-00002.*'a/w' is also in .*00001-of-00002"):
        initreg.open(folder)


def reindex(folder, change):
    """Change the weight_map of the folder's index."""
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def test_a_missing_part(sharded):
    """The part that is missing is named."""
    folder, _ = sharded
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"part model-00002-of-00002\.safetensors is missing"):
        initreg.open(folder)


def test_a_part_that_is_a_folder(sharded):
    """A folder in the place of a part is an error."""
    folder, _ = sharded
    (folder / "model-00002-of-00002.safetensors").unlink()
    (folder / "model-00002-of-00002.safetensors").mkdir()
    with pytest.raises(DamagedFile, match=r"model-00002-of-00002\.safetensors is not a file"):
        initreg.open(folder)


def test_an_array_that_its_part_lacks(sharded):
    """An array that is in the index but not in its part is an error."""
    folder, _ = sharded
    reindex(folder, lambda places: places.update({"c/w": "model-00001-of-00002.safetensors"}))
    with pytest.raises(DamagedFile, match=r"'c/w' should lie in part model-00001"):
        initreg.open(folder)


def test_an_array_that_the_index_lacks(sharded):
    """An array that is in a part but not in the index is an error."""
    folder, _ = sharded
    reindex(folder, lambda places: places.pop("a/w"))
    with pytest.raises(DamagedFile, match=r"'a/w' lies in part model-00001.*index has it nowhere"):
        initreg.open(folder)


def test_an_array_in_another_part(sharded):
    """An array in another part than the index says is an error."""
    folder, _ = sharded
    reindex(folder, lambda places: places.update({"a/w": "model-00002-of-00002.safetensors"}))
    with pytest.raises(DamagedFile, match=r"'a/w' lies in part model-00001.*has it in model-00002"):
        initreg.open(folder)


@pytest.mark.parametrize("name", ["../m.safetensors", "/etc/passwd", "sub/m", "..", "", "a\\b"])
def test_a_part_elsewhere(sharded, name):
    """The name of a part must be a plain file name, so that the index cannot leave its folder."""
    folder, _ = sharded
    reindex(folder, lambda places: places.update({"a/w": name}))
    with pytest.raises(RefusedFile, match="not a plain file name"):
        initreg.open(folder)


def test_a_part_that_links_out_of_the_folder(sharded, tmp_path):
    """A part that is a link out of the folder is refused. A link inside of it is followed."""
    folder, expected = sharded
    part = folder / "model-00002-of-00002.safetensors"
    part.rename(tmp_path / "elsewhere.safetensors")
    part.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(RefusedFile, match=r"link out of the folder, to .*elsewhere"):
        initreg.open(folder)
    part.unlink()
    (tmp_path / "elsewhere.safetensors").rename(folder / "inside")
    part.symlink_to("inside")
    same(initreg.load(folder)["b/w"], expected["b/w"])


def test_a_hugging_face_snapshot(sharded, tmp_path):
    """In the cache of Hugging Face every file of a snapshot is a link into ../../blobs."""
    folder, expected = sharded
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / f"blob{i}")
        (snapshot / file.name).symlink_to(Path("../../blobs", f"blob{i}"))
    found = initreg.load(snapshot)
    assert found.keys() == expected.keys()
    same(found["b/w"], expected["b/w"])


def test_a_part_that_is_a_pipe(sharded):
    """A named pipe in the place of a part is not waited for."""
    folder, _ = sharded
    (folder / "model-00002-of-00002.safetensors").unlink()
    os.mkfifo(folder / "model-00002-of-00002.safetensors")
    with pytest.raises(DamagedFile, match="is not a file"):
        initreg.open(folder)


@pytest.mark.parametrize(
    ("index", "part"),
    [
        ("m.safetensors.index.fp16.json", "m.fp16-0000{}-of-00002.safetensors"),
        ("m.safetensors.index.fp16.json", "m-0000{}-of-00002.fp16.safetensors"),
        ("m.fp16.safetensors.index.json", "m.fp16-0000{}-of-00002.safetensors"),
    ],
)
def test_the_index_of_a_variant(tmp_path, index, part):
    """diffusers puts the name of a variant into that of the index. The index, a part and the folder
    give all arrays."""
    names = [part.format(n) for n in (1, 2)]
    for n, name in enumerate(names):
        safetensors.numpy.save_file({f"w{n}": np.full(2, n, "f2")}, tmp_path / name)
    places = {f"w{n}": name for n, name in enumerate(names)}
    (tmp_path / index).write_text(json.dumps({"weight_map": places}))
    probe = initreg.probe(tmp_path / index)
    assert dict(probe.claims)["safetensors"].confidence is Confidence.EXACT
    for source in (tmp_path / index, tmp_path / names[1], tmp_path):
        found = initreg.load(source)
        assert {name: array.tolist() for name, array in found.items()} == {
            "w0": [0, 0],
            "w1": [1, 1],
        }
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(InitregError, match="2 indices of safetensors files"):
        initreg.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"weight_map": {"a": 3}}', "its weight_map does not give each array the name of a file"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"metadata": {}}', "no weight_map"),
        ('["weight_map"]', "holds a list, not an object"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "'a' occurs twice"),
        ('{"weight_map": {', "JSON is damaged"),
        ("", "JSON is damaged"),
    ],
)
def test_a_damaged_index(tmp_path, text, says):
    """A damaged index is an error that says what is wrong."""
    (tmp_path / "m.safetensors.index.json").write_text(text)
    with pytest.raises(DamagedFile, match=says):
        initreg.open(tmp_path / "m.safetensors.index.json")


# --- folders ------------------------------------------------------------------------------------


def test_a_folder_with_one_file(tmp_path):
    """A folder with one safetensors file opens as that file, whatever else it holds."""
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert initreg.load(tmp_path)["a"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".safetensors", ".safetensors.index.json"])
def test_a_folder_with_several(tmp_path, suffix):
    """A folder with several files is an error that names all of them."""
    for name in ("ema", "model"):
        safetensors.numpy.save_file({}, tmp_path / f"{name}{suffix}")
    with pytest.raises(InitregError, match=rf"ema{suffix}, model{suffix}"):
        initreg.open(tmp_path)


def test_other_folders(tmp_path):
    """A folder without a safetensors file is not claimed, and the folder of a checkpoint only as
    CONTENT."""
    (tmp_path / "checkpoint").write_text("")
    assert plugin.initreg_claim(Source(tmp_path)) is None
    safetensors.numpy.save_file({}, tmp_path / "export.safetensors")
    claim = plugin.initreg_claim(Source(tmp_path))
    assert claim is not None
    assert claim.confidence is Confidence.CONTENT
    assert claim.reason == "folder with export.safetensors, beside checkpoint"


def test_a_folder_without_any_by_name(tmp_path):
    """format='safetensors' for a folder without such a file says so."""
    with pytest.raises(InitregError, match=r"holds no \.safetensors file"):
        initreg.open(tmp_path, format="safetensors")


# --- claims -------------------------------------------------------------------------------------


def test_claims(tmp_path):
    """A plausible header is claimed as EXACT under any name, the suffix alone as NAME."""
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "anything.bin")
    claim = plugin.initreg_claim(Source(tmp_path / "anything.bin"))
    assert claim is not None
    assert claim.confidence is Confidence.EXACT
    (tmp_path / "empty.safetensors").write_bytes(b"")
    claim = plugin.initreg_claim(Source(tmp_path / "empty.safetensors"))
    assert claim is not None
    assert claim.confidence is Confidence.NAME
    assert plugin.initreg_claim(Source(tmp_path / "missing.safetensors")) is None
    (tmp_path / "other.bin").write_bytes(b'12345678{"json": 1}')
    assert plugin.initreg_claim(Source(tmp_path / "other.bin")) is None
    assert plugin.initreg_claim(Source({"a": 1})) is None


def test_claiming_imports_no_numpy(sharded):
    """probe recognises a file, an index and a folder without numpy and safetensors."""
    folder, _ = sharded
    code = (
        "import sys, initreg\n"
        "print([initreg.probe(p).winner for p in sys.argv[1:]])\n"
        "print(sorted({'numpy', 'safetensors', 'h5py', 'tensorflow'} & set(sys.modules)))\n"
    )
    paths = [folder, folder / "model.safetensors.index.json", *folder.glob("model-*")]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(["safetensors"] * 4), "[]"]


# --- damaged and hostile files --------------------------------------------------------------------


def test_every_truncation(tmp_path):
    """A file cut anywhere is an InitregError."""
    path = tmp_path / "m.safetensors"
    save({"a": np.arange(3), "b": np.ones((2, 2), ml_dtypes.bfloat16)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match=r"m\.safetensors"):
            initreg.load(path)


def test_a_longer_file(tmp_path):
    """Bytes after the last array are an error, as in the reference."""
    path = write(tmp_path / "m.safetensors", {"a": entry()}, bytes(9))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.safe_open(path, "np").__enter__()
    with pytest.raises(DamagedFile, match="has something after them"):
        initreg.open(path)


HUGE = 1 << 61
LIES = {
    "a gap": {"a": entry(), "b": entry(begin=16, end=24)},
    "an overlap": {"a": entry(), "b": entry(begin=4, end=12)},
    "not from 0": {"a": entry(begin=8, end=16)},
    "shape too large": {"a": entry(shape=(3,))},
    "shape too small": {"a": entry(shape=(1,))},
    "end before begin": {"a": entry(shape=(0,), begin=8, end=0)},
    "negative shape": {"a": entry(shape=(-2,))},
    "two negatives": {"a": entry(shape=(-1, -2))},
    "negative offset": {"a": entry(begin=-8, end=0)},
    "shape of floats": {"a": entry(shape=(2.0,))},
    "shape of bools": {"a": entry(shape=(True, 2))},
    "shape of strings": {"a": entry(shape=("2",))},
    "shape no list": {"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}},
    "three offsets": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}},
    "no dtype": {"a": {"shape": [2], "data_offsets": [0, 8]}},
    "unknown dtype": {"a": entry(dtype="F7")},
    "dtype no string": {"a": entry(dtype=["F32"])},
    "entry no object": {"a": [1, 2]},
    "overflow": {"a": entry(shape=(HUGE, HUGE, 2))},
    "overflow to 0": {"a": entry(shape=(0, HUGE, HUGE), end=0)},
    "too many axes": {"a": entry(shape=(2, *[1] * 100))},
    "beyond the file": {"a": entry(shape=(1 << 40,), end=1 << 42)},
    "half a byte": {"a": entry(dtype="F4", shape=(3,), end=2)},
    "metadata no object": {"__metadata__": "x", "a": entry()},
    "metadata of numbers": {"__metadata__": {"x": 1}, "a": entry()},
    "metadata of nothing": {"__metadata__": {"x": None}, "a": entry()},
    "metadata in a list": {"__metadata__": ["x"], "a": entry()},
    "metadata not Unicode": {"__metadata__": {"x": "\ud800"}, "a": entry()},
    "metadata key not Unicode": {"__metadata__": {"\ud800": "x"}, "a": entry()},
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_in_the_header(tmp_path, lie):
    """A header that contradicts itself or the file is a DamagedFile when the file is opened."""
    path = write(tmp_path / "m.safetensors", LIES[lie], bytes(8))
    with pytest.raises(DamagedFile, match=r"m\.safetensors"):
        initreg.open(path)


TEXTS = {
    "a repeated array": b'{"a":%(e)s,"a":%(e)s}',
    "a repeated field": b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "no JSON": b"{]",
    "cut JSON": b'{"a":',
    "a leading NUL": b'\0{"a":%(e)s}',
    "a byte order mark": b'\xef\xbb\xbf{"a":%(e)s}',
    "a leading form feed": b'\f{"a":%(e)s}',
    "something after it": b'{"a":%(e)s}x',
    "a NUL after it": b'{"a":%(e)s}\0',
    "two objects": b'{"a":%(e)s}{}',
    "blanks alone": b" \n\t",
    "a list": b"[]",
    "not utf-8": b'{"\xff":%(e)s}',
    "a lone surrogate": b'{"\\ud800":%(e)s}',
    "NaN": b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}',
    "an endless number": b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,8]}}' % (b"9" * 5000),
    "too deep": b'{"a":' * 100_000,
    "deep lists": b'{"a":' + b"[" * 200_000,
    "empty": b"",
}


@pytest.mark.parametrize("text", TEXTS)
def test_bad_json(tmp_path, text):
    """A header that is not a JSON object of unique keys is a DamagedFile."""
    header = TEXTS[text].replace(b"%(e)s", json.dumps(entry()).encode())
    path = write(tmp_path / "m.safetensors", header, bytes(8))
    with pytest.raises(DamagedFile, match=r"m\.safetensors"):
        initreg.open(path, format="safetensors")


def test_header_length_lies(tmp_path):
    """A header length beyond the file, or beyond 100 MB, is refused before anything is read."""
    path = tmp_path / "m.safetensors"
    for length in (100, 1 << 40, (1 << 64) - 1, 0):
        path.write_bytes(length.to_bytes(8, "little") + b'{"a": 1}')
        with pytest.raises(DamagedFile, match="header"):
            initreg.open(path)


def test_missing_file(tmp_path):
    """A path that names nothing is a FileNotFoundError, by format= too."""
    with pytest.raises(SourceNotFound, match=r"m\.safetensors: no such file"):
        initreg.open(tmp_path / "m.safetensors")
    with pytest.raises(SourceNotFound, match=r"m\.safetensors: no such file"):
        initreg.open(tmp_path / "m.safetensors", format="safetensors")
    with pytest.raises(InitregError, match="opens paths"):
        initreg.open(3, format="safetensors")


@given(st.data())
@settings(max_examples=150)
def test_flipped_bytes(tmp_path_factory, data):
    """Whatever byte of the header changes, the file opens or is an InitregError."""
    folder = tmp_path_factory.mktemp("flip")
    path = folder / "m.safetensors"
    save({"a": np.arange(3), "b": np.ones((2, 2), np.float16)}, path, {"k": "v"})
    raw = bytearray(path.read_bytes())
    size = 8 + int.from_bytes(raw[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, size - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with contextlib.suppress(InitregError):
        assert len(initreg.load(path, format="safetensors")) <= 2
