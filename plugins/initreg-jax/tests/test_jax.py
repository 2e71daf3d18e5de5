"""Files that Flax writes give the values that ``flax.serialization.msgpack_restore`` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.serialization
import initreg
import ml_dtypes
import msgpack
import numpy as np
import pytest
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]

DTYPES = (
    *("float64", "float32", "float16", "complex64", "complex128", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)
OTHERS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "int4")


def arrays() -> dict[str, Any]:
    """Parameters in dicts: each dtype, and unusual shapes, names and numbers."""
    found: dict[str, Any] = {name: np.arange(1, 7).reshape(2, 3).astype(name) for name in DTYPES}
    found |= {
        name: np.arange(1, 7).reshape(2, 3).astype(getattr(ml_dtypes, name)) for name in OTHERS
    }
    return {
        "params": found | {"Dense_0": {"kernel": np.ones((2, 2), "f4"), "größe": np.ones(1, "f4")}},
        "batch_stats": {"mean": np.zeros((0, 3), "f4"), "scalar": np.array(2.5, "f4")},
        "of numpy": np.float32(1.5),
    }


def flat(found: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(found, dict):
        return {name: found}
    parts = (flat(each, f"{name}/{key}" if name else str(key)) for key, each in found.items())
    return {key: value for part in parts for key, value in part.items()}


def save(path: Path, found: Any) -> Path:
    path.write_bytes(flax.serialization.msgpack_serialize(found))
    return path


def expected(found: Any) -> dict[str, Array]:
    return {name: np.asarray(each) for name, each in flat(found).items()}


def in_parts(folder: Path) -> Sample:
    """Two files of flat dicts, and their index, as transformers writes them."""
    folder.mkdir()
    found = {"a/kernel": np.arange(6, dtype="f4").reshape(2, 3), "b/bias": np.ones(4, "f4")}
    names = [f"flax_model-0000{n}-of-00002.msgpack" for n in (1, 2)]
    for name, (key, array) in zip(names, found.items(), strict=True):
        save(folder / name, {key: array})
    index = folder / "flax_model.msgpack.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(found, names, strict=True))}))
    parts = [folder / name for name in names]
    return Sample(index, found, files=[index, *parts], parts=parts)


class TestJax(FormatContract):
    """The kit: every dtype, in one file and in parts."""

    format = "jax"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes, and two parts with their index."""
        yield Sample(save(folder / "all.msgpack", arrays()), expected(arrays()))
        yield in_parts(folder / "parts")

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """An extension of another type, and an array of texts, beside an array."""
        content = msgpack.packb(((1,), "str32", b"abcd"), use_bin_type=True)
        found = {"text": msgpack.ExtType(1, content), "odd": msgpack.ExtType(9, b"x")}
        data = msgpack.packb({"w": packed(np.ones(2, "f4"))} | found)
        (folder / "odd.msgpack").write_bytes(data)
        yield Sample(folder / "odd.msgpack", {"w": np.ones(2, "f4")}, unreadable=["text", "odd"])


def packed(array: Array, code: int = 1) -> Any:
    content = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(code, msgpack.packb(content, use_bin_type=True))


def test_a_training_has_its_model_as_parameters(tmp_path: Path) -> None:
    """A training state gives all arrays and numbers, and knows which are of the model."""
    params = {"Dense_0": {"kernel": np.ones((2, 2), "f4"), "bias": np.zeros(2, "f4")}}
    moments = {"mu": params, "count": np.int32(7)}
    state = {"step": 7, "params": params, "opt_state": {"0": moments, "1": {}}, "note": "a text"}
    state |= {"rate": 0.5, "z": 1 + 2j, "flag": True, "nothing": None, "big": 2**64 - 1}
    path = save(tmp_path / "checkpoint_7", state)
    with initreg.open(path) as found:
        values = {name: array.read() for name, array in found.items()}
        parameters, others = set(found.parameters or ()), found.not_arrays
    assert others == ("note",)
    assert parameters == {"params/Dense_0/kernel", "params/Dense_0/bias"}
    left_out = {"note", "nothing"}
    wanted = {name: each for name, each in flat(state).items() if name not in left_out}
    assert values.keys() == wanted.keys()
    for name, value in values.items():
        assert same(value, np.asarray(wanted[name])), name
    assert same(values["z"], np.array(1 + 2j))


def test_to_bytes_of_lists_is_numbered(tmp_path: Path) -> None:
    """Lists and tuples, which Flax saves as dicts, have their numbers as names."""
    tree = {"layers": [np.ones(1, "f4"), {"w": np.zeros(1, "f4")}], "raw": (np.ones(2, "i4"),)}
    (tmp_path / "m.msgpack").write_bytes(flax.serialization.to_bytes(tree))
    assert list(initreg.load(tmp_path / "m.msgpack")) == ["layers/0", "layers/1/w", "raw/0"]
    (tmp_path / "n.msgpack").write_bytes(msgpack.packb({"a": [packed(np.ones(1, "f4")), 3]}))
    assert list(initreg.load(tmp_path / "n.msgpack")) == ["a/0", "a/1"]


@pytest.mark.parametrize("size", [8, 12, 20, 1000])
def test_arrays_in_chunks_are_one_array(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Flax cuts into chunks, because it is large, comes back as one array."""
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", size)
    tree = {"w": np.arange(30, dtype="f4").reshape(2, 3, 5), "v": np.arange(9, dtype="i8")}
    path = save(tmp_path / "m.msgpack", tree)
    restored = flax.serialization.msgpack_restore(path.read_bytes())
    found = initreg.load(path)
    for name in tree:
        assert same(found[name], tree[name])
        assert same(found[name], np.asarray(restored[name]))
    with initreg.open(path) as lazy:
        assert lazy["w"][1, 1:3, 2].tolist() == [22, 27]


def chunked(shape: Any, chunks: Any) -> bytes:
    found = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}
    return msgpack.packb({"w": found})


@pytest.mark.parametrize(
    ("shape", "chunks", "reason"),
    [
        ({"0": 3}, {"0": packed(np.ones(2, "f4"))}, "has 2 elements in its chunks"),
        ({"0": -1}, {"0": packed(np.ones(2, "f4"))}, "do not fit together"),
        ({"1": 2}, {"0": packed(np.ones(2, "f4"))}, "not numbered"),
        ({"0": 2}, {}, "do not fit together"),
        ({"0": 2}, {"0": 1, "1": 2}, "do not fit together"),
        ({"0": 2}, {"0": packed(np.ones((2, 1), "f4"))}, "do not fit together"),
        (
            {"0": 2},
            {"0": packed(np.ones(1, "f4")), "1": packed(np.ones(1, "f2"))},
            "do not fit together",
        ),
    ],
)
def test_chunks_that_do_not_fit_are_one_error(
    tmp_path: Path, shape: Any, chunks: Any, reason: str
) -> None:
    """Chunks of other dtypes, shapes or numbers are damage."""
    (tmp_path / "m.msgpack").write_bytes(chunked(shape, chunks))
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(tmp_path / "m.msgpack")


def ndarray(*content: Any, code: int = 1) -> bytes:
    return msgpack.packb({"w": msgpack.ExtType(code, msgpack.packb(content, use_bin_type=True))})


HOSTILE = {
    "nested": (b"\x81\xa1a" * 5000 + b"\xc0", "more than 100 levels deep"),
    "lists": (b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0", "more than 100 levels deep"),
    "a map of billions": (b"\xdf\xff\xff\xff\xff", "a map of 4,294,967,295 pairs"),
    "a list of billions": (b"\x81\xa1a\xdd\xff\xff\xff\xff", "a list of 4,294,967,295 values"),
    "a text beyond the end": (b"\x81\xa1a\xdb\xff\xff\xff\xff", "beyond its end"),
    "an array beyond the end": (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "beyond its end"),
    "no key": (b"\x81\xc0\xc0", "neither a text nor a number"),
    "a key of bytes": (b"\x81\xc4\x01\xff\xc0", "a key that is not UTF-8"),
    "a byte without meaning": (b"\x81\xa1a\xc1", "the byte 0xc1"),
    "a list": (b"\x91\x01", "does not hold a dict"),
    "an end": (b"\x81\xa1a\x01rest", "ends at byte 4, but the file has 8"),
    "no array": (ndarray(1), "without shape, dtype and bytes"),
    "a shape of texts": (ndarray(["a"], "f4", b""), "of another kind"),
    "a shape below zero": (ndarray([-1], "float32", b""), "of another kind"),
    "many axes": (ndarray([1] * 65, "float32", b"1234"), "of another kind"),
    "no dtype": (ndarray([1], 4, b"1234"), "of another kind"),
    "too few bytes": (ndarray([2], "float32", b"1234"), "has 4 bytes for float32 of shape"),
    "too large": (ndarray([2**40, 2**40], "float32", b"1234"), "has 4 bytes for float32"),
    "a number of three": (ndarray(1.0, 2.0, 3.0, code=2), "not two numbers"),
    "a number of texts": (ndarray("a", "b", code=2), "not two numbers"),
    "empty": (b"", "beyond its end"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_error(tmp_path: Path, name: str) -> None:
    """Lengths beyond the file, values in each other and arrays that do not fit are refused."""
    data, reason = HOSTILE[name]
    (tmp_path / "m.msgpack").write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(tmp_path / "m.msgpack")


def test_two_ways_to_one_name_are_an_error(tmp_path: Path) -> None:
    """Keys that join to one name are told, not chosen from; and so is a key that is there twice."""
    one = packed(np.ones(1, "f4"))
    twice = b"\x82" + 2 * msgpack.packb({"a": one})[1:]
    for data in (msgpack.packb({"a/b": one, "a": {"b": one}}), twice):
        (tmp_path / "m.msgpack").write_bytes(data)
        with pytest.raises(initreg.DuplicateName, match="'a"):
            initreg.open(tmp_path / "m.msgpack")


def test_claims_follow_the_first_array(tmp_path: Path) -> None:
    """A file of any name is claimed by its first array; other msgpack only by its name."""
    save(tmp_path / "m.dat", {"step": 3, "params": {"w": np.ones(2, "f4")}})
    assert initreg.probe(tmp_path / "m.dat").winner == "jax"
    (tmp_path / "x.dat").write_bytes(msgpack.packb({"a": [1.5, None, "text"]}))
    assert initreg.probe(tmp_path / "x.dat").winner is None
    (tmp_path / "x.msgpack").write_bytes(msgpack.packb({"a": [1.5, None, "text"]}))
    claim = dict(initreg.probe(tmp_path / "x.msgpack").claims)["jax"]
    assert claim.confidence is initreg.Confidence.NAME


def test_a_set_of_parts_is_opened_by_its_index(tmp_path: Path) -> None:
    """The index, its folder and any part give all arrays; an index that lies is damage."""
    sample = in_parts(tmp_path / "m")
    index = Path(sample.source)
    for source in (index, index.parent, sample.parts[1]):
        found = initreg.load(source)
        assert all(same(found[name], array) for name, array in sample.arrays.items())
    whole = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": whole["weight_map"] | {"b/bias": "../b"}}))
    with pytest.raises(initreg.RefusedFile, match="not a plain file name"):
        initreg.open(index)
    first = sample.parts[0].name
    index.write_text(json.dumps({"weight_map": whole["weight_map"] | {"b/bias": first}}))
    with pytest.raises(initreg.DamagedFile, match=r"'b/bias' .*different saves"):
        initreg.open(index)
    (index.parent / "flax_model.msgpack").write_bytes(b"")
    (index.parent / "other.msgpack.index.json").write_text("{}")
    with pytest.raises(initreg.AmbiguousSource, match="which of its msgpack files"):
        initreg.open(index.parent)


def test_no_jax_is_imported(tmp_path: Path) -> None:
    """Reading needs numpy alone: neither JAX, Flax nor msgpack is imported."""
    save(tmp_path / "m.msgpack", {"w": np.ones(2, "f4")})
    code = (
        "import sys, initreg; found = initreg.load('m.msgpack'); "
        "assert found['w'].tolist() == [1, 1], found; "
        "assert not {'jax', 'flax', 'msgpack'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
