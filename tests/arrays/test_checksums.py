"""initreg.arrays.checksums: of a whole, of its parts, and of parts put together."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.arrays.checksums import KINDS, checksum, joined

REFERENCES: dict[str, Callable[[bytes], int]] = {
    "crc32": zlib.crc32,
    "crc32c": google_crc32c.value,
}
kinds = st.sampled_from(sorted(REFERENCES))
# Any bytes, and many that are alike, as in an array of zeros.
pieces = st.binary(max_size=300) | st.builds(
    lambda byte, count: bytes([byte]) * count, st.sampled_from([0, 255]), st.integers(0, 5000)
)


def test_the_kinds_are_those_that_have_a_reference() -> None:
    """There is a reference implementation for each kind of checksum."""
    assert set(REFERENCES) == KINDS


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("crc32", b"", 0),
        ("crc32", b"123456789", 0xCBF43926),
        ("crc32", b"\0" * 32, 0x190A55AD),
        ("crc32c", b"", 0),
        ("crc32c", b"123456789", 0xE3069283),
        # RFC 3720, B.4
        ("crc32c", b"\0" * 32, 0x8A9136AA),
        ("crc32c", b"\xff" * 32, 0x62A8AB43),
        ("crc32c", bytes(range(32)), 0x46DD794E),
    ],
)
def test_known_values(kind: str, data: bytes, value: int) -> None:
    """The checksums are those of the standards: check values, and the examples of RFC 3720."""
    assert checksum(kind, data) == value
    halves = data[: len(data) // 2], data[len(data) // 2 :]
    sums = [checksum(kind, half) for half in halves]
    assert joined(kind, *sums, len(halves[1])) == value


@given(kinds, pieces, pieces)
def test_a_checksum_goes_on_where_the_one_before_ended(kind: str, a: bytes, b: bytes) -> None:
    """``before`` continues the checksum of the data that came before."""
    assert checksum(kind, a) == REFERENCES[kind](a)
    assert checksum(kind, b, checksum(kind, a)) == REFERENCES[kind](a + b)


@given(kinds, st.lists(pieces, max_size=8))
def test_the_sums_of_the_pieces_make_the_sum_of_the_whole(kind: str, parts: list[bytes]) -> None:
    """The joined checksums of any pieces, also empty ones, are the checksum of all data."""
    total = 0
    for part in parts:
        total = joined(kind, total, checksum(kind, part), len(part))
    assert total == REFERENCES[kind](b"".join(parts))


@given(kinds, pieces, pieces, pieces)
def test_it_does_not_matter_which_pieces_are_joined_first(
    kind: str, a: bytes, b: bytes, c: bytes
) -> None:
    """Joining checksums is associative."""
    x, y, z = (checksum(kind, part) for part in (a, b, c))
    left = joined(kind, joined(kind, x, y, len(b)), z, len(c))
    assert left == joined(kind, x, joined(kind, y, z, len(c)), len(b + c))


@pytest.mark.parametrize("kind", sorted(REFERENCES))
@pytest.mark.parametrize(
    "lengths",
    [
        (4 << 20, 4 << 20, 12345),
        (1, 6_000_000, 0, 3_333_333),
        ((1 << 22) + 1, (1 << 22) - 1, 7),
    ],
    ids=str,
)
def test_pieces_of_megabytes(kind: str, lengths: tuple[int, ...]) -> None:
    """The joined checksums of pieces as large as the reader's are right."""
    data = np.random.default_rng(0).bytes(sum(lengths))
    cuts = np.cumsum((0, *lengths))
    parts = [data[a:b] for a, b in pairwise(cuts)]
    found = reduce(
        lambda total, part: joined(kind, total, checksum(kind, part), len(part)), parts, 0
    )
    assert found == REFERENCES[kind](data)


@pytest.mark.parametrize("kind", sorted(REFERENCES))
def test_lengths_beyond_any_memory(kind: str) -> None:
    """The checksum of a terabyte of zeros is right: doubling a length joins a checksum to
    itself."""
    parts = [(checksum(kind, b"\0"), 1)]
    for _ in range(40):
        half, length = parts[-1]
        parts.append((joined(kind, half, half, length), 2 * length))
    assert parts[20] == (REFERENCES[kind](b"\0" * (1 << 20)), 1 << 20)
    # Cut elsewhere: 2**40 = 1 + 1 + 2 + 4 + ... + 2**39.
    elsewhere = parts[0][0]
    for found, count in parts[:40]:
        elsewhere = joined(kind, elsewhere, found, count)
    assert elsewhere == parts[40][0]


@pytest.mark.parametrize("kind", sorted(REFERENCES))
@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(bytearray(data), np.uint8),
        lambda data: np.frombuffer(b"xx" + data, np.uint8)[2:],
    ],
    ids=["bytes", "read-only array", "array", "part of an array"],
)
def test_whatever_holds_the_bytes(kind: str, wrap: Callable[[bytes], Any]) -> None:
    """Bytes, memoryviews and arrays are accepted, writable or not, also empty ones."""
    for data in (b"some bytes" * 20, b""):
        assert checksum(kind, wrap(data)) == REFERENCES[kind](data)
        assert checksum(kind, wrap(data), 12345) == checksum(kind, data, 12345)
