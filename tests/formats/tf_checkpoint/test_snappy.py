"""Snappy streams unpack as snappy's own library unpacks them."""

from __future__ import annotations

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg_formats.shared.protobuf import Malformed
from initreg_formats.tf_checkpoint import snappy

WORDS = st.lists(
    st.sampled_from([b"layer", b"/kernel", b"\0", b"\x08\x01\x12", b"x" * 70, b"ab"])
    | st.binary(max_size=40),
    max_size=60,
).map(b"".join)


@given(WORDS)
def test_snappy(data: bytes) -> None:
    """What snappy's own compressor packed unpacks to the same bytes."""
    assert snappy.decompress(bytes(cramjam.snappy.compress_raw(data))) == data


@given(WORDS, st.data())
def test_snappy_that_is_damaged(data: bytes, draw: st.DataObject) -> None:
    """Packed bytes with some changed or missing unpack as snappy unpacks them, or give
    Malformed."""
    packed = bytearray(cramjam.snappy.compress_raw(data))
    for _ in range(draw.draw(st.integers(1, 3))):
        packed[draw.draw(st.integers(0, len(packed) - 1))] = draw.draw(st.integers(0, 255))
    packed = packed[: draw.draw(st.integers(0, len(packed)))]
    check_like_snappy(bytes(packed))


@given(st.binary(max_size=80))
def test_any_bytes_as_snappy(data: bytes) -> None:
    """Any bytes unpack as snappy unpacks them, or give Malformed."""
    check_like_snappy(data)


def check_like_snappy(packed: bytes) -> None:
    try:
        wanted: bytes | None = bytes(cramjam.snappy.decompress_raw(packed))
    except cramjam.DecompressionError:
        wanted = None
    try:
        found: bytes | None = snappy.decompress(packed)
    except Malformed:
        found = None
    if packed:  # of no bytes at all, cramjam makes no bytes; snappy's own reader refuses them
        assert found == wanted


def test_snappy_by_hand() -> None:
    """Each element of the format: literals with a length of 0 to 4 bytes, copies of 1, 2 and 4
    bytes, and one that repeats itself."""
    assert snappy.decompress(b"\x05\x10abcde") == b"abcde"
    assert snappy.decompress(b"\x46\xf0\x45" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xf4\x45\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xf8\x45\x00\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x46\xfc\x45\x00\x00\x00" + b"x" * 70) == b"x" * 70
    assert snappy.decompress(b"\x06\x04ab\x01\x02") == b"ababab"
    assert snappy.decompress(b"\x05\x04ab\x0a\x02\x00") == b"ababa"
    assert snappy.decompress(b"\x05\x04ab\x0b\x02\x00\x00\x00") == b"ababa"


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff\xff\xff\xff\x0f\x00a",  # 4 GB from two bytes
        b"\x05\x10abcd",  # ends inside a literal
        b"\x05\xf4\x04",  # ends inside a length
        b"\x06\x04ab\x0a\x02",  # ends inside a copy
        b"\x06\x04ab\x01\x03",  # copies from before the beginning
        b"\x06\x04ab\x01\x00",  # copies from nowhere
        b"\x03\x10abcde",  # more than it says
        b"\x09\x10abcde",  # less than it says
    ],
)
def test_snappy_that_lies(packed: bytes) -> None:
    """Streams with one error each are refused."""
    with pytest.raises(Malformed):
        snappy.decompress(packed)
