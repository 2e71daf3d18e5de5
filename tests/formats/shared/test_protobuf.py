"""Reading and writing protocol buffers, compared with google's own."""

from __future__ import annotations

import pytest
from google.protobuf.internal.encoder import _VarintBytes
from hypothesis import given
from hypothesis import strategies as st

from initreg_formats.shared import protobuf
from initreg_formats.shared.protobuf import Malformed


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_varint(number: int, rest: bytes) -> None:
    """Every 64-bit number is read and written, and the position after it is right."""
    data = _VarintBytes(number)
    assert protobuf.encode_varint(number) == data
    assert protobuf.varint(data + rest, 0, len(data + rest)) == (number, len(data))
    assert protobuf.varint(rest + data, len(rest), len(rest + data))[0] == number
    for end in range(len(data)):
        with pytest.raises(Malformed):
            protobuf.varint(data, 0, end)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"])
def test_a_damaged_varint(data: bytes) -> None:
    """A number that does not end, or that has more than 64 bits, is refused."""
    with pytest.raises(Malformed):
        protobuf.varint(data, 0, len(data))


@given(st.binary(max_size=60))
def test_any_bytes_as_fields(data: bytes) -> None:
    """Any bytes give fields or Malformed, and reading them ends."""
    try:
        found = list(protobuf.fields(data))
    except Malformed:
        return
    assert all(number > 0 for number, _, _, _ in found)
