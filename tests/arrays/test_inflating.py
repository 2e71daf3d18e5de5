"""initreg.arrays.inflating: a raw deflate stream becomes the right bytes, or is refused."""

from __future__ import annotations

import bz2
import io
import lzma
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg import DamagedFile
from initreg.arrays import inflating
from initreg.arrays.inflating import BadStream, inflate

SUMS: dict[str, Callable[[bytes], int]] = {"crc32": zlib.crc32, "crc32c": google_crc32c.value}
kinds = st.sampled_from([None, *SUMS])


def pack(data: bytes, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """A raw deflate stream, as in a zip member."""
    engine = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    return engine.compress(data) + engine.flush()


def unpack(
    packed: bytes, skip: int, size: int, kind: str | None = None, length: int | None = None
) -> tuple[bytes, int]:
    """What comes out, and its checksum; the packed bytes are asked for one after the other."""
    into = bytearray(b"\xaa" * size)
    length = len(packed) if length is None else length
    asked = 0

    def fetch(at: int, chunk: memoryview) -> None:
        nonlocal asked
        assert at == asked, "every packed byte is read once, in order"
        asked += len(chunk)
        assert len(chunk) > 0
        assert asked <= length, "no byte is read that is not the stream's"
        chunk[:] = packed[at : at + len(chunk)]

    found = inflate(fetch, length, skip, memoryview(into), kind)
    return bytes(into), found


def wrong(packed: bytes, skip: int, size: int, message: str | None = None) -> None:
    """It is refused, whether or not it is summed."""
    for kind in (None, "crc32"):
        with pytest.raises(BadStream, match=message):
            unpack(packed, skip, size, kind)


# Of three kinds: what cannot be packed, what is packed into next to nothing, and in between.
contents = (
    st.binary(max_size=400)
    | st.builds(
        lambda byte, count: bytes([byte]) * count, st.integers(0, 255), st.integers(0, 3000)
    )
    | st.builds(lambda part, count: part * count, st.binary(max_size=20), st.integers(0, 100))
)
strategies = st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY])


@given(contents, st.data(), kinds, st.integers(0, 9), strategies, st.integers(1, 600))
def test_what_was_packed_comes_out(
    content: bytes, data: st.DataObject, kind: str | None, level: int, strategy: int, chunk: int
) -> None:
    """Data comes out as it went in, for any packing, any skipped beginning and any chunk size."""
    skip = data.draw(st.integers(0, len(content)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        found, total = unpack(pack(content, level, strategy), skip, len(content) - skip, kind)
    assert found == content[skip:]
    assert total == (SUMS[kind](content) if kind else 0)


@given(contents, st.data(), st.integers(1, 600), st.integers(1, 40))
def test_too_long_and_too_short(
    content: bytes, data: st.DataObject, chunk: int, change: int
) -> None:
    """A stream that is longer or shorter than expected is refused, even by one byte."""
    skip = data.draw(st.integers(0, len(content)))
    size = len(content) - skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        message = "does not unpack to the .* bytes that its header says"
        wrong(pack(content), skip, size + change, message)
        if size >= change:
            wrong(pack(content), skip, size - change, message)


@given(contents, st.data(), st.integers(1, 600))
def test_a_stream_that_is_cut_off(content: bytes, data: st.DataObject, chunk: int) -> None:
    """A stream without its end is refused, even if all bytes of the array are there."""
    packed = pack(content)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        wrong(packed[:cut], 0, len(content), "does not unpack to the")


@given(st.binary(max_size=300), st.integers(0, 100), st.integers(0, 100), st.integers(1, 600))
def test_garbage(packed: bytes, skip: int, size: int, chunk: int) -> None:
    """Random bytes are refused, unless zlib also unpacks them to exactly so many bytes."""
    engine = zlib.decompressobj(-15)
    try:
        content = engine.decompress(packed)
        fits = engine.eof and len(content) == skip + size
    except zlib.error:
        fits = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        if fits:
            assert unpack(packed, skip, size)[0] == content[skip:]
        else:
            wrong(packed, skip, size)


@given(contents.filter(bool), st.data(), st.integers(1, 600))
def test_a_flipped_bit(content: bytes, data: st.DataObject, chunk: int) -> None:
    """A flipped bit is refused or changes the checksum, unless the bit has no meaning."""
    packed = bytearray(pack(content))
    position = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[position // 8] ^= 1 << position % 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        try:
            found, total = unpack(bytes(packed), 0, len(content), "crc32")
        except BadStream:
            return
    assert total == zlib.crc32(found)
    assert (total == zlib.crc32(content)) == (found == content)


@pytest.mark.parametrize("kind", [None, *SUMS])
@pytest.mark.parametrize("skip", [0, 1, 128, 65_535, 65_536, 65_537, 300_000])
def test_headers_of_any_length(
    monkeypatch: pytest.MonkeyPatch, skip: int, kind: str | None
) -> None:
    """Skipped bytes may end before, at or after the end of a chunk, and count for the checksum."""
    monkeypatch.setattr(inflating, "_CHUNK", 65_536)
    content = b"h" * skip + np.arange(300_000, dtype="u4").tobytes()
    found, total = unpack(pack(content, 1), skip, len(content) - skip, kind)
    assert found == content[skip:]
    assert total == (SUMS[kind](content) if kind else 0)


@pytest.mark.parametrize("level", [1, 6, 9])
def test_repetitions_across_the_end_of_a_chunk(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """A repetition may go on after all packed bytes are used up, and is not cut off."""
    monkeypatch.setattr(inflating, "_CHUNK", 1000)
    refused = []
    for size in range(3300):
        content = bytes(size)
        try:
            assert unpack(pack(content, level), 0, size)[0] == content
        except BadStream:
            refused.append(size)
    assert refused == []


@pytest.mark.parametrize("level", [1, 6, 9])
def test_one_byte_too_many_wherever_it_is(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """One byte too many is noticed, also at the end of a chunk."""
    monkeypatch.setattr(inflating, "_CHUNK", 1000)
    taken = []
    for size in range(2300):
        try:
            unpack(pack(bytes(size + 1), level), 0, size)
            taken.append(size)
        except BadStream:
            pass
    assert taken == []


@pytest.mark.parametrize("level", [1, 6])
def test_an_npz_of_zeros(tmp_path: Path, level: int) -> None:
    """Arrays of zeros with about the length of a chunk are read, as biases and slots are."""
    refused = []
    for more in range(-200, 600, 5):
        member = io.BytesIO()
        np.save(member, np.zeros(inflating._CHUNK + more, "u1"))
        with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED, True, level) as file:
            file.writestr("w.npy", member.getvalue())
        try:
            assert not initreg.load(tmp_path / "m.npz")["w"].any()
        except DamagedFile:
            refused.append(more)
    assert refused == []


@pytest.mark.parametrize("count", [262_144, 524_288, 2_097_152])
def test_zeros_as_numpy_packs_them(tmp_path: Path, count: int) -> None:
    """Zeros packed by ``np.savez_compressed`` are read, for powers of two."""
    np.savez_compressed(tmp_path / "m.npz", w=np.zeros(count, "f4"))
    found = initreg.load(tmp_path / "m.npz")["w"]
    assert (found.shape, found.dtype, bool(found.any())) == ((count,), np.float32, False)


def test_nothing_at_all() -> None:
    """An empty stream is refused, and a stream of no data is accepted."""
    wrong(b"", 0, 0)
    wrong(b"", 0, 10)
    assert unpack(pack(b""), 0, 0, "crc32") == (b"", 0)
    assert unpack(pack(b"header"), 6, 0, "crc32") == (b"", zlib.crc32(b"header"))
    wrong(pack(b"header"), 7, 0)
    wrong(pack(b"header"), 5, 0)


def test_a_bomb_is_not_unpacked() -> None:
    """If more comes out than expected, only one byte of it is unpacked."""
    bomb = pack(bytes(50_000_000), 9)
    tracemalloc.start()
    try:
        wrong(bomb, 0, 100, "does not unpack to the 100 bytes")
        wrong(bomb, 28, 100, "does not unpack to the 128 bytes")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_what_goes_wrong_with_the_file_is_passed_on() -> None:
    """An error of ``fetch`` is raised unchanged."""

    def fetch(at: int, chunk: memoryview) -> None:
        raise ZeroDivisionError(at)

    with pytest.raises(ZeroDivisionError, match="0"):
        inflate(fetch, 10, 0, memoryview(bytearray(10)), None)


def test_packed_bytes_are_held_a_chunk_at_a_time() -> None:
    """Only one chunk of packed bytes is in memory at a time."""
    content = np.random.default_rng(0).bytes(12_000_000)
    packed = pack(content, 0)
    asked: list[tuple[int, int]] = []
    into: Any = bytearray(len(content))

    def fetch(at: int, chunk: memoryview) -> None:
        asked.append((at, len(chunk)))
        chunk[:] = packed[at : at + len(chunk)]

    found = inflate(fetch, len(packed), 0, memoryview(into), "crc32")
    assert into == content
    assert found == zlib.crc32(content)
    assert max(length for _, length in asked) <= 1_200_000  # a tenth of it, and in the cache
    assert sum(length for _, length in asked) == len(packed)


# --- bzip2 and LZMA -----------------------------------------------------------------------------


def pack_lzma(content: bytes, dictionary: int = 1 << 16) -> bytes:
    """A stream as zip files have it: version, size of the properties, properties, data."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": 2, "lp": 1, "pb": 3}]
    properties = bytes([(3 * 5 + 1) * 9 + 2]) + dictionary.to_bytes(4, "little")
    data = lzma.compress(content, lzma.FORMAT_RAW, filters=filters)
    return b"\x09\x14\x05\x00" + properties + data


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": pack,
    "bzip2": bz2.compress,
    "lzma": pack_lzma,
}


def unpack_by(codec: str, packed: bytes, skip: int, size: int) -> tuple[bytes, int]:
    into = bytearray(size)

    def fetch(at: int, chunk: memoryview) -> None:
        assert at + len(chunk) <= len(packed), "no byte is read that is not the stream's"
        chunk[:] = packed[at : at + len(chunk)]

    found = inflate(fetch, len(packed), skip, memoryview(into), "crc32", codec)
    return bytes(into), found


@pytest.mark.parametrize("codec", ["bzip2", "lzma"])
@given(contents, st.data(), st.integers(1, 600))
def test_other_codecs_give_what_was_packed(
    codec: str, content: bytes, data: st.DataObject, chunk: int
) -> None:
    """As for deflate: any content, any skipped beginning, any chunk size."""
    skip = data.draw(st.integers(0, len(content)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_CHUNK", chunk)
        found, total = unpack_by(codec, PACKERS[codec](content), skip, len(content) - skip)
    assert found == content[skip:]
    assert total == zlib.crc32(content)


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("wrong_by", [-1, 1, 1000])
def test_other_codecs_give_the_right_length(codec: str, wrong_by: int) -> None:
    """One byte more or fewer than expected is refused."""
    content = np.random.default_rng(0).bytes(5000)
    with pytest.raises(BadStream, match="does not unpack to"):
        unpack_by(codec, PACKERS[codec](content), 0, len(content) + wrong_by)


@pytest.mark.parametrize("codec", PACKERS)
def test_streams_that_are_cut_short(codec: str) -> None:
    """Every shorter stream is refused, but for the mark at the end of LZMA, which may lack."""
    content = np.random.default_rng(0).bytes(300)
    packed = PACKERS[codec](content)
    for length in range(len(packed)):
        try:
            found, _ = unpack_by(codec, packed[:length], 0, len(content))
        except BadStream:
            continue
        assert (found, codec) == (content, "lzma")
        assert length > len(packed) - 10


@pytest.mark.parametrize("codec", PACKERS)
def test_bombs_of_every_codec(codec: str) -> None:
    """If more comes out than expected, next to nothing of it is unpacked."""
    bomb = PACKERS[codec](bytes(30_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadStream, match="does not unpack to the 100 bytes"):
            unpack_by(codec, bomb, 0, 100)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000  # bzip2's own tables
    finally:
        tracemalloc.stop()


def test_a_dictionary_takes_no_more_than_what_comes_out() -> None:
    """A header that asks for 4 GB gets as much as the array has bytes."""
    packed = bytearray(pack_lzma(b"weights " * 100))
    packed[5:9] = b"\xff\xff\xff\xff"
    tracemalloc.start()
    try:
        assert unpack_by("lzma", bytes(packed), 0, 800)[0] == b"weights " * 100
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header",
    [b"", b"\x09\x14\x05\x00", b"\x09\x14\x06\x00" + bytes(6), b"\t\x14\5\0\xff" + bytes(9)],
)
def test_headers_that_are_not_lzma(header: bytes) -> None:
    """Too short, of another size, or with properties that do not exist."""
    with pytest.raises(BadStream, match="cannot be unpacked"):
        unpack_by("lzma", header, 0, 10)


@given(st.sampled_from(["bzip2", "lzma"]), st.binary(max_size=60), st.integers(0, 100))
def test_any_bytes_are_refused_by_every_codec(codec: str, data: bytes, size: int) -> None:
    """Bytes that nobody packed raise BadStream and nothing else, or are a stream of that size."""
    for packed in (data, PACKERS[codec](bytes(50))[:12] + data):
        try:
            found, _ = unpack_by(codec, packed, 0, size)
        except BadStream:
            continue
        assert len(found) == size
