"""Unpacking the streams of zip members: raw deflate (RFC 1951), bzip2 and LZMA.

Sources: PKWARE's APPNOTE, 5.8.8 and 5.8.9, for the header of LZMA in a zip file, and Igor Pavlov's
``lzma-specification.txt`` for its properties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initreg.arrays import checksums

CODECS = frozenset({"deflate", "bzip2", "lzma"})
LZMA_HEADER = 9  # bytes: the version, the size of the properties, and the properties
# Bytes that are held at a time, packed and unpacked. They stay in the cache, and threads wait less
# for each other than with fewer: with 128 KiB, a restore takes 1.1 times as long (measured).
_CHUNK = 1 << 20
_SMALLEST_DICTIONARY = 1 << 12  # bytes


class BadStream(Exception):
    """A packed stream is damaged. The message completes "array 'x' ...". The reader catches it."""


def inflate(
    fetch: Callable[[int, memoryview], None],
    length: int,
    skip: int,
    into: memoryview,
    kind: str | None,
    codec: str = "deflate",
) -> int:
    """Unpack a stream.

    Args:
        fetch: ``fetch(at, into)`` reads packed bytes from position ``at`` of the stream.
        length: how many packed bytes there are.
        skip: how many unpacked bytes are left out at the beginning.
        into: where the other unpacked bytes go. They must fill it exactly.
        kind: the kind of checksum to compute, or None.
        codec: how the stream is packed, one of ``CODECS``.

    Returns:
        The checksum of all unpacked bytes, including the skipped ones, or 0 if ``kind`` is None.

    Raises:
        BadStream: the stream is damaged, or does not have the expected length.
    """
    expected = skip + len(into)
    wrong = f"does not unpack to the {expected:,} bytes that its header says"
    engine, failures, at = _engine(codec, fetch, length, expected)
    done = found = 0
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
        except failures as error:
            raise BadStream(f"cannot be unpacked: {error}") from error
        packed = getattr(engine, "unconsumed_tail", b"")  # bzip2 and LZMA keep it themselves
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
    # LZMA may do without a mark at its end. Then all of it was unpacked.
    if done != expected or not (engine.eof or codec == "lzma"):
        raise BadStream(wrong)
    return found


def _engine(
    codec: str, fetch: Callable[[int, memoryview], None], length: int, expected: int
) -> tuple[Any, tuple[Any, ...], int]:
    """What unpacks a stream, the errors that it raises, and where the stream begins."""
    if codec == "bzip2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, ValueError), 0
    if codec == "lzma":
        import lzma

        header = memoryview(bytearray(min(LZMA_HEADER, length)))
        fetch(0, header)
        filters = [_lzma_filter(bytes(header), expected)]
        try:
            engine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
        except (lzma.LZMAError, ValueError, MemoryError) as error:
            raise BadStream(f"cannot be unpacked: {error}") from error
        return engine, (lzma.LZMAError,), LZMA_HEADER
    from isal import isal_zlib

    failure: Any = isal_zlib.error
    return isal_zlib.decompressobj(-isal_zlib.MAX_WBITS), (failure,), 0


def _lzma_filter(header: bytes, expected: int) -> dict[str, int]:
    """The properties of an LZMA stream. Raises BadStream.

    The dictionary is what the stream may refer back to, so it takes no more memory than what comes
    out of the stream.
    """
    import lzma

    if len(header) < LZMA_HEADER or header[2:4] != b"\5\0" or header[4] >= 9 * 5 * 5:
        raise BadStream("cannot be unpacked: its header is not one of LZMA")
    rest, lc = divmod(header[4], 9)
    pb, lp = divmod(rest, 5)
    size = min(int.from_bytes(header[5:9], "little"), expected)
    size = max(size, _SMALLEST_DICTIONARY)
    return {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": lc, "lp": lp, "pb": pb}
