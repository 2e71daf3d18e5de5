"""Arrays of 4 and 6 bits: numpy has no such dtypes, and their bytes are verified and copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

import initreg
from initreg import InitregError, MismatchError, RuleError, SmartInit

KINDS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
BYTES = bytes(range(7, 7 + 40))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def file(tmp_path: Path, kind: str) -> Path:
    """Two arrays of it of one size, and one of float32 between them."""
    size = KINDS[kind]  # bytes of 8 elements
    header = {
        "a": {"dtype": kind, "shape": [2, 4], "data_offsets": [0, size]},
        "f": {"dtype": "F32", "shape": [2], "data_offsets": [size, size + 8]},
        "z": {"dtype": kind, "shape": [8], "data_offsets": [size + 8, 2 * size + 8]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    body = BYTES[:size] + np.array([1, 2], "<f4").tobytes() + BYTES[size : 2 * size]
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def raw(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Dtype, shape and bytes of each array, from the header. The reference accepts the file."""
    with safetensors.safe_open(path, "np") as reference:
        assert reference.keys()
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: (
            each["dtype"],
            each["shape"],
            content[start + each["data_offsets"][0] : start + each["data_offsets"][1]],
        )
        for name, each in header.items()
    }


def test_it_is_listed_and_not_read(file: Path, kind: str) -> None:
    """Name, shape, dtype and size are known. Every way to read values says what can be done."""
    with initreg.open(file) as arrays:
        array = arrays["a"]
        assert (array.shape, array.spec.dtype, str(array.dtype)) == ((2, 4), kind, kind)
        assert array.spec.nbytes == array.spec.opaque == KINDS[kind]
        assert arrays["f"].spec.opaque is None
        assert arrays.files == (file,)
        assert array.as_bytes().read().tobytes() == raw(file)["a"][2]
        with pytest.raises(InitregError, match="array 'f' is of float32, which numpy has"):
            arrays["f"].as_bytes()
        said = rf"'a' has the dtype {kind}, with {KINDS[kind]} bits .* copied to another "
        for read in (array.read, lambda: np.asarray(array), lambda: array[1:]):
            with pytest.raises(InitregError, match=said):
                read()
    with pytest.raises(InitregError, match=said):
        initreg.load(file)
    assert initreg.load(file, drop=["a", "z"])["f"].tolist() == [1, 2]


def test_it_fits_no_variable(file: Path, kind: str) -> None:
    """A restore is a mismatch, and writes nothing."""
    target = {"a": np.zeros((2, 4), np.float32), "f": np.zeros(2, "f4")}
    with pytest.raises(MismatchError, match=kind):
        SmartInit(file, on_unused="ignore").init(target)
    assert not target["a"].any()
    assert not target["f"].any()


@pytest.mark.parametrize("mmap", [False, True])
def test_it_is_copied(file: Path, tmp_path: Path, kind: str, mmap: bool) -> None:
    """Its bytes are the same in the copy, under new names too, beside arrays that are cast."""
    before = raw(file)
    same = initreg.convert(file, tmp_path / "same.safetensors", mmap=mmap)
    assert raw(same) == before
    rules: dict[str, Any] = {"rename": {"a": "net/a"}, "drop": "z", "cast": "float16"}
    other = raw(initreg.convert(file, tmp_path / "other.safetensors", mmap=mmap, **rules))
    assert other == {"net/a": before["a"], "f": ("F16", [2], np.array([1, 2], "<f2").tobytes())}
    with initreg.open(file) as arrays:
        saved = initreg.save(tmp_path / "dict.safetensors", {"x": {"y": arrays["a"]}})
    assert raw(saved) == {"x/y": before["a"]}
    index = initreg.convert(file, tmp_path / "s.safetensors", shard_size=8)
    parts = sorted(tmp_path.glob("s-*"))
    assert {name: each for part in parts for name, each in raw(part).items()} == before
    assert raw(initreg.convert(index, tmp_path / "whole.safetensors")) == before


def test_it_is_verified(file: Path, tmp_path: Path, kind: str) -> None:
    """A file with it is fine. A changed byte is found with a manifest, and a cut file always."""
    found = initreg.verify(file)
    assert found.ok
    assert [array.is_opaque for array in found.arrays] == [True, False, True]
    assert "the bytes of 2 arrays, and not their values, because numpy does not have their " in str(
        found
    )
    assert found.to_dict()["arrays"][0]["is_opaque"] is True
    path = initreg.convert(file, tmp_path / "n.safetensors", manifest=True)
    assert initreg.verify(path).ok
    content = bytearray(path.read_bytes())
    at = content.index(raw(path)["z"][2], 8 + int.from_bytes(content[:8], "little"))
    content[at] ^= 1
    path.write_bytes(content)
    problems = {array.name: array.problem for array in initreg.verify(path).arrays}
    assert problems["z"] == "its SHA-256 is not the manifest's: its values changed"
    assert problems["a"] == problems["f"] == ""
    path.write_bytes(content[:-1])
    assert not initreg.verify(path).ok


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("transpose", "a"),
        ("permute", {"a": (1, 0)}),
        ("slice", {"a": (0, 0, 1)}),
        ("pad", {"a": (0, 3)}),
        ("cast", {"a": "float32"}),
        ("view", {"a": "uint8"}),
    ],
)
def test_its_values_are_not_changed(file: Path, kind: str, rule: str, value: Any) -> None:
    """A rule for values is refused before anything is read. A cast of all floats leaves it out."""
    with pytest.raises(RuleError, match=rf"'a' has the dtype {kind}, which numpy does not have"):
        initreg.open(file, **{rule: value})


@pytest.mark.parametrize("ending", [".npz", ".h5", ".ckpt"])
def test_other_formats_refuse_it(file: Path, tmp_path: Path, kind: str, ending: str) -> None:
    """The reason is true, and following the advice works."""
    said = f"'a': its dtype is {kind}, which numpy does not have. Its bytes can only be copied"
    with pytest.raises(InitregError) as caught:
        initreg.convert(file, tmp_path / f"n{ending}")
    assert said in str(caught.value)
    assert "or drop it: drop='a'" in str(caught.value)
    path = initreg.convert(file, tmp_path / f"n{ending}", drop=["a", "z"])
    assert initreg.load(path)["f"].tolist() == [1, 2]


def test_a_lie_about_its_place(file: Path, kind: str) -> None:
    """Bytes beyond the file are found before anything is read."""
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(initreg.DamagedFile, match="truncated"):
        initreg.open(file)
