"""Unpacking chunks: each codec gives back what was packed, and is an error if that is damaged."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.arrays.codecs import fletcher32, has_checksum, is_possible, steps, undo
from initreg.arrays.inflating import BadStream
from initreg.specs import Chunk, Codec

ZLIB, SUM, LZF = Codec("zlib"), Codec("fletcher32"), Codec("lzf")


@given(st.binary(max_size=3000), st.integers(1, 9))
def test_zlib(data: bytes, level: int) -> None:
    """A stream gives its bytes, and neither fewer nor more than are expected."""
    packed = zlib.compress(data, level)
    assert bytes(undo(ZLIB, packed, len(data), True)) == data
    for size in {len(data) + 1, max(0, len(data) - 1)} - {len(data)}:
        with pytest.raises(BadStream):
            undo(ZLIB, packed, size, True)
    with pytest.raises(BadStream):
        undo(ZLIB, packed[:-1], len(data), True)


def test_a_bomb_is_not_unpacked() -> None:
    """A stream of a gigabyte for a chunk of a kilobyte is stopped after a kilobyte."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    with pytest.raises(BadStream, match="unpacks to 1,025 bytes, not to the 1,024 of a chunk"):
        undo(ZLIB, packed, 1024, True)


@given(st.binary(max_size=400), st.integers(1, 40))
def test_shuffle(data: bytes, size: int) -> None:
    """The first bytes of all elements come first; what remains at the end is as it was."""
    count = len(data) // size
    whole, rest = data[: count * size], data[count * size :]
    shuffled = b"".join(whole[index::size] for index in range(size)) + rest
    assert bytes(undo(Codec("shuffle", (size,)), shuffled, None, True)) == data


def test_fletcher32() -> None:
    """The sums are those of words of 16 bits. An odd byte counts as the first of a word."""
    assert fletcher32(b"") == 0
    assert fletcher32(b"\x01\x02") == 0x0102_0102
    assert fletcher32(b"\x01\x02\x03\x04\x05") == (0x0102 * 3 + 0x0304 * 2 + 0x0500) << 16 | 0x0906
    assert fletcher32(b"\xff\xff" * 5) == 0xFFFF_FFFF  # ones' complement: not 0
    data = bytes(range(256)) * 3000
    total = first = 0
    for word in np.frombuffer(data, ">u2").tolist():
        first = (first + word) % 0xFFFF
        total = (total + first) % 0xFFFF
    assert fletcher32(data) % (1 << 32) == total << 16 | first


def test_a_wrong_sum() -> None:
    """A checksum is compared if it should be, also in the order of bytes of old versions."""
    data = b"\x01\x02\x03\x04"
    found = fletcher32(data)
    old = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
    for each in (found, old):
        assert bytes(undo(SUM, data + each.to_bytes(4, "little"), 4, True)) == data
    with pytest.raises(BadStream, match="fails its fletcher32"):
        undo(SUM, data + bytes(4), 4, True)
    assert bytes(undo(SUM, data + bytes(4), 4, False)) == data
    with pytest.raises(BadStream, match="too short"):
        undo(SUM, b"123", 4, True)


@pytest.mark.parametrize(
    ("packed", "data"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\x20\x00", b"aaaa"),  # three bytes from one byte before: it repeats
        (b"\x01ab\xe0\x05\x01", b"ab" + b"ab" * 7),  # a long reference
    ],
)
def test_lzf(packed: bytes, data: bytes) -> None:
    """Runs and references, which may overlap with what they make."""
    assert undo(LZF, packed, len(data), True) == data


@pytest.mark.parametrize(
    "packed", [b"\x05ab", b"\x20\x00", b"\x00a\xe0", b"\x00a\x20", b"\x00a\x3f\xff"]
)
def test_a_damaged_lzf(packed: bytes) -> None:
    """A stream that ends too early, or refers to what is not there, is an error."""
    with pytest.raises(BadStream):
        undo(LZF, packed, 100, True)


@given(st.binary(max_size=200))
def test_any_lzf_ends(packed: bytes) -> None:
    """Whatever bytes come in, no more come out than are expected, or an error."""
    try:
        assert len(undo(LZF, packed, 50, True)) == 50
    except BadStream:
        return


def test_scale_offset_without_sense() -> None:
    """Parameters that do not fit the chunk are an error."""
    head = (8).to_bytes(4, "little") + b"\x08" + bytes(16)
    good = (2, 0, 4, 0, 4, 1, 0, 0)
    assert (
        undo(Codec("scale-offset", good), head + b"\1\2\3\4", 16, True)
        == np.array([1, 2, 3, 4], "<i4").tobytes()
    )
    for values in (
        (),
        (2, 0, 5, *good[3:]),
        (0, *good[1:]),
        (*good[:6], 7, 0),
        (2, 0, 4, 0, 3, 1, 0, 0),
    ):
        with pytest.raises(BadStream):
            undo(Codec("scale-offset", values), head + b"\1\2\3\4", 16, True)
    for data in (head, head[:20], (33).to_bytes(4, "little") + head[4:] + bytes(99)):
        with pytest.raises(BadStream):
            undo(Codec("scale-offset", good), data, 16, True)


def test_what_a_chunk_may_take() -> None:
    """The stored size must be possible for the codecs that were applied."""
    shuffle = Codec("shuffle", (4,))
    assert is_possible((), 0, 64, 64)
    assert not is_possible((), 0, 63, 64)
    assert is_possible((shuffle, SUM), 0, 68, 64)
    assert not is_possible((shuffle, SUM), 0, 64, 64)
    assert is_possible((shuffle, SUM), 0b10, 64, 64)
    assert is_possible((ZLIB,), 0, 20, 1032 * 20)
    assert not is_possible((ZLIB,), 0, 20, 1032 * 20 + 1)
    assert not is_possible((LZF,), 0, 20, 1032 * 20)


def test_steps_are_those_of_packing_backwards() -> None:
    """Each step knows the size that comes out. Behind a packing one it is not known."""
    codecs = (SUM, ZLIB, Codec("shuffle", (2,)))
    assert steps(codecs, 0, 100) == [(codecs[2], None), (ZLIB, 104), (SUM, 100)]
    assert steps(codecs, 0b010, 100) == [(codecs[2], 104), (SUM, 100)]
    with pytest.raises(BadStream, match="packed by two codecs"):
        undo(ZLIB, b"", None, True)


def test_checksums() -> None:
    """zlib's stream has a checksum, unless the chunk left it out."""
    assert has_checksum((ZLIB,), Chunk((0,), 0, 1))
    assert not has_checksum((ZLIB,), Chunk((0,), 0, 1, 1))
    assert not has_checksum((LZF, Codec("shuffle", (4,))), Chunk((0,), 0, 1))
