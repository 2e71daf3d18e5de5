"""Unpacking raw deflate streams (RFC 1951), as in the members of a zip file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initreg.arrays import checksums

_CHUNK = 1 << 17  # bytes that are held at a time, packed and unpacked: they stay in the cache


class BadStream(Exception):
    """A packed stream is damaged. The message completes "array 'x' ...". The reader catches it."""


def inflate(
    fetch: Callable[[int, memoryview], None],
    length: int,
    skip: int,
    into: memoryview,
    kind: str | None,
) -> int:
    """Unpack a stream.

    Args:
        fetch: ``fetch(at, into)`` reads packed bytes from position ``at`` of the stream.
        length: how many packed bytes there are.
        skip: how many unpacked bytes are left out at the beginning.
        into: where the other unpacked bytes go. They must fill it exactly.
        kind: the kind of checksum to compute, or None.

    Returns:
        The checksum of all unpacked bytes, including the skipped ones, or 0 if ``kind`` is None.

    Raises:
        BadStream: the stream is damaged, or does not have the expected length.
    """
    from zlib_ng import zlib_ng

    failure: Any = zlib_ng.error
    engine = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS)
    expected = skip + len(into)
    wrong = f"does not unpack to the {expected:,} bytes that its header says"
    done = at = found = 0
    chunk = memoryview(bytearray(min(_CHUNK, length)))
    packed: bytes | memoryview = b""
    may_hold_more = False
    while not engine.eof:
        if not packed and not may_hold_more:
            if at == length:
                break
            packed = chunk[: length - at]
            fetch(at, packed)
            at += len(packed)
        # Allow one byte more, to notice a stream that is too long.
        limit = min(_CHUNK, expected - done + 1)
        try:
            out = engine.decompress(packed, limit)
        except failure as error:
            raise BadStream(f"cannot be unpacked: {error}") from error
        packed = engine.unconsumed_tail
        # Output that was cut at the limit may continue without more input, such as a repetition.
        may_hold_more = len(out) == limit
        if done + len(out) > expected:
            raise BadStream(wrong)
        if kind is not None:
            found = checksums.checksum(kind, out, found)
        start = done - skip
        if start >= 0:
            into[start : start + len(out)] = out
        elif start + len(out) > 0:
            into[: start + len(out)] = out[-start:]
        done += len(out)
    if done != expected or not engine.eof:
        raise BadStream(wrong)
    return found
