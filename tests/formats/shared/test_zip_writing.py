"""Large zip archives: what numpy, zipfile and initreg read from them. The rest of the writer is
tested through npz."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import Source
from initreg_formats.shared.npy_header import make_header
from initreg_formats.shared.zip_writing import ZipWriter


@pytest.mark.slow
def test_a_member_of_more_than_4_gb(tmp_path: Path) -> None:
    """zipfile reads its sizes, and initreg its shape. It is packed less than 1000-fold, because
    more is refused by default."""
    count = (1 << 32) + 10
    with open(tmp_path / "m.npz", "wb") as file:
        archive = ZipWriter(file)
        archive.deflate("a.npy", make_header("|u1", (count,)), np.zeros(count, "u1").data)
        archive.store("b.npy", make_header("|u1", (3,)), b"abc")
        archive.finish()
    with zipfile.ZipFile(tmp_path / "m.npz") as found:
        member = found.getinfo("a.npy")
        assert member.file_size == count + 128
        assert 100 < member.file_size / member.compress_size < 1000
        assert found.read("b.npy").endswith(b"abc")
    assert struct.unpack_from("<2L", (tmp_path / "m.npz").read_bytes(), 18) == (0xFFFFFFFF,) * 2
    with initreg.open(tmp_path / "m.npz") as opened:
        assert opened["a"].shape == (count,)
        assert opened["b"].read().tobytes() == b"abc"


def test_an_offset_of_more_than_4_gb(tmp_path: Path) -> None:
    """After a hole of 4 GB, zipfile and initreg find the bytes of the second member."""
    path = tmp_path / "m.npz"
    with open(path, "wb") as file:
        archive = ZipWriter(file)
        archive.store("a.npy", make_header("|u1", (3,)), b"abc")
        archive._at = file.seek((1 << 32) + 7)
        archive.store("b.npy", make_header("|u1", (3,)), b"def")
        archive.finish()
    with np.load(path) as reference:
        assert reference["b"].tobytes() == b"def"
    with initreg.open(path) as opened:
        assert opened["a"].read().tobytes() == b"abc"
        assert opened["b"].read().tobytes() == b"def"
        assert opened["b"].value.offset > 1 << 32
        assert (opened["b"].value.offset + opened["b"].value.skip) % 64 == 0


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536, 70_000])
def test_many_members(tmp_path: Path, count: int) -> None:
    """At and beyond what 16 bits count, every member is found."""
    path = tmp_path / "m.npz"
    head = make_header("|u1", (1,))
    with open(path, "wb", 1 << 20) as file:
        archive = ZipWriter(file)
        for i in range(count):
            archive.store(f"{i}.npy", head, bytes([i & 255]))
        archive.finish()
    assert (b"PK\6\6" in path.read_bytes()[-200:]) == (count >= 65_535)
    members = Source(path).members
    assert members is not None
    assert len(members) == count
    with zipfile.ZipFile(path) as found:
        assert found.read(f"{count - 1}.npy")[-1] == (count - 1) & 255
