"""Unpacking what is packed: the raw deflate streams of zip members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initreg.arrays import checksums

_CHUNK = 1 << 17  # bytes packed, and unpacked, that are held at a time: they stay in the cache


class BadStream(Exception):
    """A packed stream is damaged; the message completes "the array ...". Kept inside of reading."""


def inflate(
    fetch: Callable[[int, memoryview], None],
    length: int,
    skip: int,
    into: memoryview,
    kind: str | None,
) -> int:
    """Unpack ``length`` bytes: the first ``skip`` of what comes out are left out, the others fill
    ``into``, which must be exactly what is there.

    ``fetch(at, into)`` reads packed bytes. Returns the checksum of the given kind of all that came
    out, 0 if none is asked for. Raises BadStream.
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
        # One byte over, so that a stream longer than it should be is noticed.
        limit = min(_CHUNK, expected - done + 1)
        try:
            out = engine.decompress(packed, limit)
        except failure as error:
            raise BadStream(f"cannot be unpacked: {error}") from error
        packed = engine.unconsumed_tail
        # What was cut at the limit may go on, as a repetition does, with nothing left to put in.
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
