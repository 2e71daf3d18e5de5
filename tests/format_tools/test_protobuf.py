"""Reading protocol buffers of a file, compared with google's own."""

from __future__ import annotations

import io

import numpy as np
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from hypothesis import given
from hypothesis import strategies as st

from initreg.format_tools import protobuf
from initreg.format_tools.protobuf import BYTES, FIXED32, FIXED64, VARINT, Fault, Wire


def wire(data: bytes) -> Wire:
    return Wire(io.BytesIO(data), len(data))


def field(number: int, content: bytes) -> bytes:
    return _VarintBytes(number << 3 | BYTES) + _VarintBytes(len(content)) + content


def test_the_fields_of_a_message() -> None:
    """Fields of each wire type have their number, their value and their place."""
    data = b"\x08\x96\x01" + field(300, b"hi") + b"\x1d1234" + b"\x2112345678"
    found = wire(data)
    fields = list(found.fields(0, len(data)))
    assert [(each.number, each.kind) for each in fields] == [
        (1, VARINT),
        (300, BYTES),
        (3, FIXED32),
        (4, FIXED64),
    ]
    assert fields[0].value == 150
    assert found.text(fields[1]) == "hi"
    assert [found.read(each.begin, each.end) for each in fields[2:]] == [b"1234", b"12345678"]


def test_messages_are_read_beyond_a_window() -> None:
    """Contents of a megabyte are stepped over, and what comes after them is found."""
    inner = field(1, bytes(1 << 20)) + field(2, b"end")
    data = field(7, inner) + b"\x08\x05"
    found = wire(data)
    outer, last = found.fields(0, len(data))
    assert last.value == 5
    first, second = found.message(outer)
    assert first.end - first.begin == 1 << 20
    assert found.text(second) == "end"
    with pytest.raises(Fault, match="a number instead of a message in field 1"):
        found.message(last)


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=40))
def test_packed_numbers(numbers: list[int]) -> None:
    """All 64-bit numbers in a row are read."""
    data = b"".join(_VarintBytes(number) for number in numbers)
    assert protobuf.varints(data).tolist() == numbers
    assert protobuf.varints(data).dtype == np.uint64


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 10 + b"\x01", b"\x01\x80"])
def test_damaged_packed_numbers(data: bytes) -> None:
    """A number that does not end, or that has too many bytes, is a fault."""
    with pytest.raises(Fault):
        protobuf.varints(data)


@given(st.binary(max_size=60))
def test_any_bytes_as_fields(data: bytes) -> None:
    """Any bytes give fields inside of them or a fault, and reading them ends."""
    try:
        found = list(wire(data).fields(0, len(data)))
    except Fault:
        return
    ends = [0, *(each.end for each in found)]
    assert ends == sorted(ends)
    assert ends[-1] == len(data)


def test_a_file_that_became_shorter_is_a_fault() -> None:
    """What was announced and is gone is not taken for zeros."""
    found = Wire(io.BytesIO(b"abc"), 10)
    with pytest.raises(Fault, match="ended while it was read"):
        found.read(0, 10)
