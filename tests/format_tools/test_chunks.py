"""Elements in chunks of which a format makes something else."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from initreg import Chunk, ChunkedExtent, Codec, DamagedFile, RefusedFile
from initreg.format_tools import chunks


def _extent(path: Path, codecs: tuple[Codec, ...] = (), size: int = 8) -> ChunkedExtent:
    """Three bytes of two elements each, of which the last chunk is never written."""
    first, second = b"abcd", b"efgh"
    stored = [zlib.compress(each) if codecs else each for each in (first, second)]
    path.write_bytes(b"head" + b"".join(stored))
    at = (4, 4 + len(stored[0]))
    found = tuple(
        Chunk((i,), where, len(each))
        for i, (where, each) in enumerate(zip(at, stored, strict=True))
    )
    return ChunkedExtent(path, (5,), "|V2", (2,), found, b"..", codecs)


def _fetch(path: Path):
    def fetch(offset: int, into: memoryview) -> None:
        into[:] = path.read_bytes()[offset : offset + len(into)]

    return fetch


@pytest.mark.parametrize("codecs", [(), (Codec("zlib"),)], ids=["plain", "packed"])
def test_values(tmp_path, codecs):
    """All elements are read as they are stored, unpacked, with the fill value where none are."""
    extent = _extent(tmp_path / "x", codecs)
    chunks.check(extent, "w", "x", 1000)
    found = chunks.read(extent, "x: array 'w'", _fetch(tmp_path / "x"))
    assert found.tobytes() == b"abcdefgh.."
    assert found.dtype == np.dtype("V2")


def test_a_damaged_chunk(tmp_path):
    """A chunk that does not unpack is an error that names the array."""
    path = tmp_path / "x"
    extent = _extent(path, (Codec("zlib"),))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"x: array 'w' has a damaged chunk at \(1,\)"):
        chunks.read(extent, "x: array 'w'", _fetch(path))


def test_what_a_file_cannot_hold(tmp_path):
    """A chunk beyond the file, and what is never written of a large array, are refused."""
    path = tmp_path / "x"
    extent = _extent(path)
    path.write_bytes(b"head")
    with pytest.raises(DamagedFile, match="'w' has a chunk that should end at byte"):
        chunks.check(extent, "w", "x", 1000)
    path.write_bytes(b"head")
    large = ChunkedExtent(path, (1 << 40,), "|V2", (2,), (), b"..")
    with pytest.raises(RefusedFile, match="never written"):
        chunks.check(large, "w", "x", 1000)
