"""Arrays in chunks: they are read whole and in part, and checked when a source is opened."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import Chunk, ChunkedExtent, Codec, DamagedFile, RefusedFile
from initreg.arrays.extent_checks import check
from initreg.arrays.reader import Reader

Array = np.ndarray[Any, Any]
VALUES = np.arange(70, dtype="<f4").reshape(10, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.bin"


def stored(path: Path, values: Array = VALUES, leave_out: tuple[int, ...] = ()) -> ChunkedExtent:
    """The values in packed and shuffled chunks of (4, 3), without some of them."""
    chunks, data = [], b"head"
    for number, (i, j) in enumerate(np.ndindex(3, 3)):
        if number in leave_out:
            continue
        chunk = np.zeros((4, 3), values.dtype)
        part = values[4 * i : 4 * i + 4, 3 * j : 3 * j + 3]
        chunk[: part.shape[0], : part.shape[1]] = part
        size = values.dtype.itemsize
        shuffled = np.frombuffer(chunk.tobytes(), "u1").reshape(-1, size).T.tobytes()
        packed = zlib.compress(shuffled)
        chunks.append(Chunk((i, j), len(data), len(packed)))
        data += packed
    path.write_bytes(data)
    codecs = (Codec("shuffle", (values.dtype.itemsize,)), Codec("zlib"))
    fill = values.dtype.type(9).tobytes()
    return ChunkedExtent(path, (10, 7), values.dtype.str, (4, 3), tuple(chunks), fill, codecs)


def opened(extent: ChunkedExtent) -> initreg.ArrayMap:
    stamps = check([("w", extent)], "m", 1000)
    return initreg.ArrayMap({"w": extent}, label="m", format="f", reader=Reader("m", stamps=stamps))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "<c16"])
def test_whole_and_in_part(path: Path, dtype: str) -> None:
    """Any index gives what numpy gives, for elements of any size and order of bytes."""
    values = VALUES.astype(dtype)
    with opened(stored(path, values)) as arrays:
        np.testing.assert_array_equal(arrays["w"].read(), values)
        assert arrays["w"].read().dtype == values.dtype.newbyteorder("=")
        for index in (
            0,
            slice(2, 9),
            (slice(None), 6),
            (slice(9, 2, -3), slice(1, 5)),
            ...,
            (3, 3),
        ):
            np.testing.assert_array_equal(arrays["w"][index], values[index])


def test_chunks_that_are_packed_in_different_ways(path: Path) -> None:
    """Chunks of one row may be shuffled or not, and stored in any order, with gaps between them."""
    values = np.arange(400, dtype="<f4").reshape(8, 50)
    data, chunks = bytearray(b"head"), []
    for i, j in [(0, 3), (1, 0), (0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (1, 3), (0, 4), (1, 4)]:
        part = np.zeros((4, 12), "<f4")
        part[:, : min(12, 50 - 12 * j)] = values[4 * i : 4 * i + 4, 12 * j : 12 * j + 12]
        is_plain = j == 1
        raw = part.tobytes() if is_plain else part.reshape(-1).view("u1").reshape(-1, 4).T.tobytes()
        packed = zlib.compress(raw)
        data += bytes(3 if j == 2 else 0)
        chunks.append(Chunk((i, j), len(data), len(packed), int(is_plain)))
        data += packed
    path.write_bytes(data)
    codecs = (Codec("shuffle", (4,)), Codec("zlib"))
    extent = ChunkedExtent(path, (8, 50), "<f4", (4, 12), tuple(chunks), bytes(4), codecs)
    with opened(extent) as arrays:
        np.testing.assert_array_equal(arrays["w"].read(), values)
        for index in (
            (slice(1, 7), slice(5, 41)),
            (slice(3, 5), slice(12, 36)),
            (0, slice(11, 50)),
        ):
            np.testing.assert_array_equal(arrays["w"][index], values[index])


def test_chunks_that_are_not_stored(path: Path) -> None:
    """They have the fill value, in the whole array and in a part."""
    expected = VALUES.copy()
    expected[4:8, 3:6] = expected[8:, :3] = 9
    with opened(stored(path, leave_out=(4, 6))) as arrays:
        np.testing.assert_array_equal(arrays["w"].read(), expected)
        np.testing.assert_array_equal(arrays["w"][5], expected[5])


def test_a_number(path: Path) -> None:
    """An array without axes has one chunk, or the fill value."""
    path.write_bytes(np.float32(3).tobytes())
    extent = ChunkedExtent(path, (), "<f4", (), (Chunk((), 0, 4),), bytes(4))
    assert opened(extent)["w"].read() == 3
    assert opened(replace(extent, chunks=()))["w"].read() == 0


def test_many_chunks_by_threads(path: Path) -> None:
    """A large array is read by several threads, into aligned memory, and streams with others."""
    values = np.arange(1 << 21, dtype="<f4").reshape(2048, 1024)
    rows = [zlib.compress(values[i : i + 64].tobytes(), 1) for i in range(0, 2048, 64)]
    starts = np.cumsum([0, *map(len, rows)]).tolist()
    path.write_bytes(b"".join(rows))
    chunks = tuple(
        Chunk((i, 0), start, len(row))
        for i, (start, row) in enumerate(zip(starts, rows, strict=False))
    )
    extent = ChunkedExtent(
        path, values.shape, "<f4", (64, 1024), chunks, bytes(4), (Codec("zlib"),)
    )
    with opened(extent) as arrays:
        found = arrays["w"].read()
        np.testing.assert_array_equal(found, values)
        assert found.ctypes.data % 64 == 0
        saved = initreg.save(path.with_suffix(".npz"), arrays)
    np.testing.assert_array_equal(initreg.load(saved)["w"], values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"chunk": (4,)}, "has chunks of shape"),
        ({"chunk": (4, 0)}, "has chunks of shape"),
        ({"codecs": (Codec("zstd"),)}, "unknown codec 'zstd'"),
        ({"fill": b"1"}, "its fill value has 1 bytes"),
        ({"dtype": "nonsense"}, "a dtype that cannot be read"),
        ({"chunks": (Chunk((3, 0), 4, 9),)}, "a chunk outside of it"),
        ({"chunks": (Chunk((0,), 4, 9),)}, "a chunk outside of it"),
        ({"chunks": (Chunk((-1, 0), 4, 9),)}, "a chunk outside of it"),
        ({"chunks": (Chunk((0, 0), 4, 9), Chunk((0, 0), 9, 9))}, "two chunks at the same place"),
        ({"chunks": (Chunk((0, 0), 4, 1 << 40),)}, "should end at byte 1,099,511,627,780"),
        ({"chunks": (Chunk((0, 0), -4, 9),)}, "should end at byte"),
        ({"chunks": (Chunk((0, 0), 4, 9),), "codecs": ()}, "but 9 are stored for it"),
    ],
)
def test_what_is_not_possible(path: Path, change: dict[str, Any], says: str) -> None:
    """Chunks that contradict the array, the file or each other are an error before any is read."""
    extent = replace(stored(path), **change)
    with pytest.raises(DamagedFile, match=f"array 'w'.*{says}"):
        check([("w", extent)], "m", 1000)


def test_a_damaged_chunk(path: Path) -> None:
    """The error names the array and the chunk."""
    extent = stored(path)
    data = bytearray(path.read_bytes())
    data[extent.chunks[4].offset + 9] ^= 0xFF
    path.write_bytes(data)
    with opened(extent) as arrays:
        with pytest.raises(DamagedFile, match=r"m: array 'w' has a damaged chunk at \(1, 1\): it "):
            arrays["w"].read()
        np.testing.assert_array_equal(arrays["w"][:3], VALUES[:3])


def test_what_is_filled_or_inflated_is_limited(path: Path) -> None:
    """Neither the fill value nor packed zeros may fill the memory from a small file."""
    path.write_bytes(zlib.compress(bytes(1 << 20), 9))
    length = path.stat().st_size
    huge = ChunkedExtent(path, (1 << 30,), "<f4", (1 << 18,), (), bytes(4), (Codec("zlib"),))
    with pytest.raises(RefusedFile, match="what was never written of the arrays up to 'w'"):
        check([("w", huge)], "m", 1000)
    chunks = tuple(Chunk((i,), 0, length) for i in range(100))
    with pytest.raises((DamagedFile, RefusedFile), match="m: "):
        check([("w", replace(huge, shape=(100 << 18,), chunks=chunks))], "m", 1000)
    check([("w", replace(huge, shape=(1 << 18,), chunks=chunks[:1]))], "m", 1000)
