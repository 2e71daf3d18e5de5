"""An npz with members that are not arrays, packed in any way, or that cannot be read: the rest is
usable, and nothing is left out in silence."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import Confidence, DamagedFile, InitregError, MismatchError, RefusedFile, SmartInit
from initreg.cli import main

W = np.arange(12, dtype=np.float32).reshape(3, 4)
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
methods = pytest.mark.parametrize("method", METHODS, ids=["stored", "deflated", "bzip2", "lzma"])
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(50)
OTHERS = {
    "config.json": b"{}",
    "README": b"weights of a model",
    ".DS_Store": b"\0\0\0\1Bud1" + bytes(20),
    "__MACOSX/._w.npy": APPLE_DOUBLE,
    "sub/._b.npy": APPLE_DOUBLE,
    "weights.txt": b"",
}


def npy(array: Any) -> bytes:
    """An array as numpy writes it."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def write(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """An archive with these members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@methods
def test_other_members_are_not_arrays(method: int, tmp_path: Path) -> None:
    """They are listed as what they are, and the arrays are those that numpy finds, however it is
    opened."""
    path = write(tmp_path / "m.npz", {"w.npy": npy(W), **OTHERS, "folder/": b""}, method)
    with initreg.open(path) as arrays:
        assert list(arrays) == ["w"]
        assert arrays.not_arrays == tuple(OTHERS)
        assert arrays.rename({"w": "x"}).not_arrays == tuple(OTHERS)
    for options in ({}, {"keep": "w"}):
        found = initreg.load(path, **options)
        assert list(found) == ["w"]
        assert found["w"].tolist() == W.tolist()
    target = {"w": np.zeros_like(W)}
    SmartInit(path, on_unused="error").init(target)
    assert target["w"].tolist() == W.tolist()
    assert initreg.verify(path).ok
    assert initreg.convert(path, tmp_path / "m.safetensors")
    assert list(initreg.load(tmp_path / "m.safetensors")) == ["w"]


def test_ls_and_probe_say_what_else_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The listing ends with the other members, JSON has them all, and the claim counts them."""
    path = write(tmp_path / "m.zip", {"w.npy": npy(W), **OTHERS})
    assert main(["ls", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "1 array, 12 numbers, 48 B"
    assert lines[3] == "not arrays, but other members of the archive: 6"
    assert lines[4:] == [f"  {name}" for name in OTHERS]
    assert main(["ls", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["not_arrays"] == list(OTHERS)
    claim = dict(initreg.probe(path).claims)["npz"]
    assert claim.confidence is Confidence.CONTENT
    assert claim.reason == "zip archive, 3 of 7 members called .npy"


def test_an_array_may_be_called_anything(tmp_path: Path) -> None:
    """As for numpy, what begins like an array is one, under its whole name."""
    path = write(tmp_path / "m.npz", {"w": npy(W), "__MACOSX/._b.npy": npy(W), "a.txt": b"x"})
    with initreg.open(path) as arrays, np.load(path) as reference:
        assert list(arrays) == ["w", "__MACOSX/._b"]
        assert arrays["w"].read().tolist() == reference["w"].tolist()
        assert arrays.not_arrays == ("a.txt",)


@pytest.mark.parametrize("members", [{"config.json": b"{}"}, {"__MACOSX/._w.npy": APPLE_DOUBLE}])
def test_a_zip_without_arrays_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    """The message says what it holds instead."""
    path = write(tmp_path / "m.npz", members)
    (name,) = members
    with pytest.raises(DamagedFile, match=f"m.npz: no member .* is an array.*{name}"):
        initreg.open(path)


# --- packing ------------------------------------------------------------------------------------


@methods
@pytest.mark.parametrize("mmap", [False, True])
def test_every_way_of_packing_reads_alike(method: int, mmap: bool, tmp_path: Path) -> None:
    """Numbers, Fortran order, empty and structured arrays, as numpy reads them."""
    rng = np.random.default_rng(0)
    arrays = {
        "large": rng.random((300, 400)),
        "zeros": np.zeros((600, 700), "f4"),
        "fortran": np.asfortranarray(rng.random((50, 7)).astype(">f4")),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(7),
        "fields": np.array([(1, 2.5)] * 9, [("a", "<i4"), ("b", "<f8")]),
    }
    path = write(tmp_path / "m.npz", {f"{k}.npy": npy(v) for k, v in arrays.items()}, method)
    with np.load(path) as reference, initreg.open(path, mmap=mmap) as found:
        for name in arrays:
            expected = reference[name]
            array = found[name].read()
            assert array.dtype == expected.dtype.newbyteorder("=")
            np.testing.assert_array_equal(array, expected)
            if expected.ndim:
                np.testing.assert_array_equal(found[name][1:3], expected[1:3])
    assert initreg.verify(path).ok


@methods
def test_every_flipped_byte_is_found(method: int, tmp_path: Path) -> None:
    """The crc32 of a member covers all of it, however it is packed."""
    path = write(tmp_path / "m.npz", {"w.npy": npy(np.random.default_rng(0).random(40))}, method)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        member = archive.infolist()[0]
    start = member.header_offset + 30 + len(member.filename)
    for position in range(start, start + member.compress_size, 5):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        (tmp_path / "bad.npz").write_bytes(changed)
        if method == zipfile.ZIP_LZMA and position - start < 9:
            continue  # the version, and the size of the dictionary, do not change the values
        with pytest.raises(DamagedFile, match=r"bad\.npz"):
            initreg.load(tmp_path / "bad.npz")


@methods
@pytest.mark.parametrize("value", ["ab", b"ab", 1.5, True], ids=repr)
def test_an_array_without_axes(method: int, value: Any, tmp_path: Path) -> None:
    """Its one value is read by ``[()]`` and ``[...]``, as numpy reads it."""
    path = write(tmp_path / "m.npz", {"x.npy": npy(np.array(value))}, method)
    with initreg.open(path) as arrays:
        for index in ((), ...):
            assert arrays["x"][index] == value
            assert type(arrays["x"][index]) is type(np.array(value)[()])
        assert arrays["x"].read().shape == ()


@pytest.mark.parametrize("method", METHODS[1:], ids=["deflated", "bzip2", "lzma"])
def test_a_bomb_is_not_unpacked(method: int, tmp_path: Path) -> None:
    """Neither a header without its values nor a member of many zeros takes memory."""
    head = npy(np.zeros(3, "f4"))
    size = 100_000_000
    write(tmp_path / "m.npz", {"a.npy": head + bytes(size), "b.npy": npy(W)}, method)
    fields = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size // 4},), }}"
    head = b"\x93NUMPY\x01\x00" + len(fields).to_bytes(2, "little") + fields.encode()
    write(tmp_path / "n.npz", {"a.npy": head + bytes(size)}, method)
    tracemalloc.start()
    try:
        assert initreg.load(tmp_path / "m.npz", keep="b")["b"].tolist() == W.tolist()
        with pytest.raises(DamagedFile, match="takes 12 bytes, but the archive has 100,000,012"):
            initreg.load(tmp_path / "m.npz", keep="a")
        with pytest.raises((RefusedFile, DamagedFile), match=r"n\.npz.*unpacks from|than deflate"):
            initreg.load(tmp_path / "n.npz", max_inflation=100)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


# --- what cannot be read ------------------------------------------------------------------------


def _encrypted(path: Path) -> None:
    """Set the flag of the second member, in both of its headers."""
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = data.index(sign, data.index(sign) + 4)
        data[place + at] |= 1
    path.write_bytes(data)


def _method(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        place = data.index(sign, data.index(sign) + 4)
        struct.pack_into("<H", data, place + at, 93)
    path.write_bytes(data)


def _local_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\3\4", 4) + 2] ^= 1
    path.write_bytes(data)


def _nothing(path: Path) -> None:
    pass


UNREADABLE = {
    "objects": (npy(np.array([{}], object)), _nothing, RefusedFile, "holds a pickle.*allow_pickle"),
    "object fields": (
        npy(W).replace(b"'<f4'", b"[('a', '|O')]"),
        _nothing,
        RefusedFile,
        "holds pickled objects",
    ),
    "not npy": (b"no array", _nothing, DamagedFile, "not an .npy array"),
    "empty": (b"", _nothing, DamagedFile, "not an .npy array"),
    "header": (npy(W).replace(b"descr", b"discr"), _nothing, DamagedFile, "header is damaged"),
    "version": (npy(W).replace(b"NUMPY\1", b"NUMPY\7"), _nothing, DamagedFile, "version 7"),
    "dtype": (npy(W).replace(b"<f4", b"<f9"), _nothing, DamagedFile, "'<f9'"),
    "cut": (npy(W)[:-3], _nothing, DamagedFile, "takes 48 bytes, but the archive has 45"),
    "longer": (npy(W) + b"x", _nothing, DamagedFile, "takes 48 bytes, but the archive has 49"),
    "encrypted": (npy(W), _encrypted, DamagedFile, "is encrypted"),
    "packing": (npy(W), _method, DamagedFile, "packed by method 93"),
    "local header": (npy(W), _local_header, DamagedFile, "has no local header"),
}


@pytest.fixture(params=UNREADABLE)
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, type, str]:
    """An archive whose second array of three cannot be read, with the error and its words."""
    content, change, error, says = UNREADABLE[request.param]
    path = write(tmp_path / "m.npz", {"a.npy": npy(W), "bad.npy": content, "z.npy": npy(W + 1)})
    change(path)
    return path, error, says


def test_one_unreadable_array_is_listed(
    unreadable: tuple[Path, type, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is in the map with its reason, ls and verify say so, and reading it is that error."""
    path, error, says = unreadable
    with initreg.open(path) as arrays:
        assert list(arrays) == ["a", "bad", "z"]
        assert arrays["a"].read().tolist() == W.tolist()
        assert arrays["z"].read().tolist() == (W + 1).tolist()
        assert [bool(spec.unreadable) for spec in arrays.specs()] == [False, True, False]
        with pytest.raises(error, match=rf"m\.npz: member 'bad\.npy'.*{says}.*drop='bad'"):
            arrays["bad"].read()
    assert main(["ls", str(path)]) == 0
    text = capsys.readouterr().out
    assert "1 array cannot be read:" in text
    assert "--drop bad" in text
    found = initreg.verify(path)
    assert [(each.name, bool(each.problem)) for each in found.arrays] == [
        ("a", False),
        ("bad", True),
        ("z", False),
    ]


def test_the_others_can_be_restored(unreadable: tuple[Path, type, str]) -> None:
    """What the error says to type works: for load, convert and a model that does not need it."""
    path, error, _ = unreadable
    with pytest.raises(error, match="drop='bad'"):
        initreg.load(path)
    assert list(initreg.load(path, drop="bad")) == ["a", "z"]
    with pytest.raises(InitregError, match=r"array 'bad'(: it holds|.*member 'bad\.npy')"):
        initreg.convert(path, path.with_suffix(".safetensors"))
    initreg.convert(path, path.with_suffix(".safetensors"), drop="bad")
    target = {"a": np.zeros_like(W), "z": np.zeros_like(W)}
    with pytest.warns(initreg.UnusedWarning, match="bad"):
        SmartInit(path).init(target)
    assert target["z"].tolist() == (W + 1).tolist()


def test_a_plan_that_needs_it_says_so(unreadable: tuple[Path, type, str]) -> None:
    """Before anything is written, the error names the array and the reason."""
    path, _, says = unreadable
    target = {name: np.zeros_like(W) for name in ("a", "bad", "z")}
    with pytest.raises(MismatchError, match=rf"bad: it cannot be read: .*m\.npz.*{says}"):
        SmartInit(path).init(target)
    assert not any(array.any() for array in target.values())
    plan = SmartInit(path).plan(target)
    assert [(row.name, row.kind.value) for row in plan][1] == ("bad", "mismatched")
    with pytest.warns(initreg.MismatchWarning, match="cannot be read"):
        SmartInit(path, ignore_mismatch=True).init(target)
    assert target["a"].tolist() == W.tolist()
    assert not target["bad"].any()


def test_if_nothing_can_be_read_the_file_is_damaged(tmp_path: Path) -> None:
    """One error when it is opened, instead of a list of damaged arrays."""
    path = write(tmp_path / "m.npz", {"a.npy": b"no", "b.npy": npy(W)[:-1], "c.txt": b""})
    with pytest.raises(DamagedFile, match=r"m\.npz: member 'a\.npy': not an \.npy array"):
        initreg.open(path)


def test_a_damaged_directory_is_a_damaged_file(unreadable: tuple[Path, type, str]) -> None:
    """An archive that is cut short anywhere is no archive, whatever it holds."""
    path, _, _ = unreadable
    whole = path.read_bytes()
    for length in range(1, len(whole), 101):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match=r"m\.npz"):
            initreg.open(path)


def test_two_names_of_one_member_are_a_damaged_file(tmp_path: Path) -> None:
    """If the directory calls a member otherwise than the member itself, no name can be trusted,
    not that of another member either."""
    path = write(tmp_path / "m.npz", {"a.npy": npy(W), "b.npy": npy(W)})
    data = path.read_bytes()
    at = data.rindex(b"b.npy")
    for name in (b"c.npy", b"b.npx"):
        path.write_bytes(data[:at] + name + data[at + 5 :])
        with pytest.raises(DamagedFile, match=r"m\.npz: member '..np.' is called 'b\.npy' where"):
            initreg.open(path)


def test_nothing_is_printed(tmp_path: Path) -> None:
    """Odd archives give errors, and no library warns."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1if 1else 2,), }"
    odd = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4)
    path = write(tmp_path / "m.npz", {"a.npy": npy(W), "odd.npy": odd})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(initreg.load(path, drop="odd")) == ["a"]
