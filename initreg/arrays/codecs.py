"""Unpacking a chunk of an array: the codecs of :class:`initreg.ChunkedExtent`.

Sources: RFC 1950 (zlib). HDF5's filters shuffle, fletcher32 and scale-offset, as HDF5 and its
Reference Manual describe them (``H5Pset_shuffle``, ``H5Pset_fletcher32``, ``H5Pset_scaleoffset``).
LZF, as in liblzf's documentation of its stream: a literal run of up to 32 bytes, or a reference of
at least 3 bytes to what was unpacked before.

Each codec knows how many bytes must come out before it unpacks, and makes no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from initreg.arrays.inflating import BadStream
from initreg.specs import Chunk, Codec

if TYPE_CHECKING:
    import numpy as np

NAMES = frozenset({"zlib", "shuffle", "fletcher32", "lzf", "scale-offset"})
# How many times their size the packed bytes may have, at most. Deflate's limit is the largest:
# zlib's documentation says 1032:1.
RATIOS = {"zlib": 1032, "lzf": 90, "scale-offset": 0}  # 0: no bytes at all may be many
MOST_PLANES = 16  # bytes of an element that are put into their places one by one
_SUM = 4  # bytes of a fletcher32 checksum
_MOST_DECIMALS = 300
_BLOCK = 1 << 15  # elements that are unpacked together from scale-offset


def steps(codecs: Sequence[Codec], left_out: int, nbytes: int) -> list[tuple[Codec, int | None]]:
    """The codecs to undo, in order, each with the bytes that come out.

    Args:
        codecs: in the order of packing.
        left_out: which of them were not applied.
        nbytes: the size of the chunk.

    Returns:
        The codecs, the last one first. None stands for a size that is not known.
    """
    found: list[tuple[Codec, int | None]] = []
    size: int | None = nbytes
    for index, codec in enumerate(codecs):
        if not left_out >> index & 1:
            found.append((codec, size))
            if codec.name == "fletcher32":
                size = None if size is None else size + _SUM
            elif codec.name != "shuffle":
                size = None
    return found[::-1]


def undo(codec: Codec, data: Any, size: int | None, verify: bool) -> Any:
    """Undo one codec.

    Args:
        codec: which one.
        data: the packed bytes.
        size: how many bytes must come out.
        verify: whether to compare checksums.

    Raises:
        BadStream: the data is damaged, or gives another number of bytes.
    """
    if codec.name == "fletcher32":
        return _without_sum(data, verify)
    if codec.name == "shuffle":
        return _unshuffled(data, codec.values[0])
    if size is None:
        raise BadStream("is packed by two codecs, one after the other, which is not possible")
    unpack = {"zlib": _inflated, "lzf": _from_lzf}.get(codec.name)
    out = _from_scale_offset(data, codec.values, size) if unpack is None else unpack(data, size)
    if len(out) != size:
        raise BadStream(f"unpacks to {len(out):,} bytes, not to the {size:,} of a chunk")
    return out


def _inflated(data: Any, size: int) -> bytes:
    from isal import isal_zlib

    failure: Any = isal_zlib.error
    engine = isal_zlib.decompressobj()
    try:
        out: bytes = engine.decompress(data, size + 1)  # one more, to notice one that is too long
        if not engine.eof and len(out) == size:
            out += engine.decompress(engine.unconsumed_tail, 1)
    except failure as error:
        raise BadStream(f"cannot be unpacked: {error}") from error
    if len(out) == size and not engine.eof:
        raise BadStream("cannot be unpacked: the stream has no end")
    return out


def _unshuffled(data: Any, itemsize: int) -> Any:
    import numpy as np

    count = len(data) // itemsize
    if itemsize < 2 or count < 2:
        return data
    planes = np.frombuffer(data, np.uint8)
    out = np.empty(len(planes), np.uint8)
    out[count * itemsize :] = planes[count * itemsize :]
    rows = out[: count * itemsize].reshape(count, itemsize)
    if itemsize > MOST_PLANES:
        rows[...] = planes[: count * itemsize].reshape(itemsize, count).T
    else:  # four times as fast
        for index in range(itemsize):
            rows[:, index] = planes[index * count : (index + 1) * count]
    return out.data


def _without_sum(data: Any, verify: bool) -> Any:
    if len(data) < _SUM:
        raise BadStream("is too short for its checksum")
    content = memoryview(data)[:-_SUM]
    if verify:
        expected, found = int.from_bytes(data[-_SUM:], "little"), fletcher32(content)
        # HDF5 before 1.6.3 swapped the bytes of each half, and later versions still accept that.
        swapped = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
        if expected not in (found, swapped):
            raise BadStream(
                f"fails its fletcher32: the file says {expected:08x}, its bytes give {found:08x}. "
                "The file is corrupt"
            )
    return content


def fletcher32(data: Any) -> int:
    """The Fletcher checksum of big-endian words of 16 bits, as HDF5 computes it."""
    import numpy as np

    given = np.frombuffer(data, np.uint8)
    words = given[: len(given) // 2 * 2].view(">u2")
    first = second = 0
    for start in range(0, len(words), 1 << 16):
        block = words[start : start + (1 << 16)].astype(np.uint64)
        second += first * len(block) + int(block @ np.arange(len(block), 0, -1).astype(np.uint64))
        first += int(block.sum())
    if len(given) % 2:
        first += int(given[-1]) << 8
        second += first
    # Ones' complement: a sum that is not 0 never becomes 0.
    low, high = ((total - 1) % 0xFFFF + 1 if total else 0 for total in (first, second))
    return high << 16 | low


def _from_lzf(data: Any, size: int) -> bytes:
    data, out, at, end = bytes(data), bytearray(), 0, len(data)
    try:
        while at < end and len(out) <= size:
            control = data[at]
            at += 1
            if control < 32:
                if at + control >= end:
                    raise BadStream("cannot be unpacked: a run is longer than the chunk")
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            start = len(out) - ((control & 31) << 8 | data[at]) - 1
            at += 1
            if start < 0:
                raise BadStream("cannot be unpacked: it refers to bytes before its first")
            length += 2
            piece = out[start : start + length]
            out += piece if len(piece) == length else (piece * length)[:length]
    except IndexError as error:
        raise BadStream("cannot be unpacked: it ends too early") from error
    return bytes(out)


def _from_scale_offset(data: Any, values: tuple[int, ...], size: int) -> bytes:
    """Each number is stored as its distance from the smallest, in as few bits as are needed.

    ``values`` are HDF5's parameters: the kind of scaling (0 is decimal, of floats; 2 is for
    integers), the decimal exponent, the number of elements, the class (0 is integers), the size of
    an element, its sign, its order of bytes (0 is little-endian), whether there is a value for
    elements that were never written, and that value.
    """
    import numpy as np

    if len(values) < 8:
        raise BadStream("is packed by scale-offset without its parameters")
    kind, exponent, count, is_float, itemsize, is_signed, is_big, has_fill = values[:8]
    code = "f" if is_float else "iu"[not is_signed]
    if itemsize not in ((4, 8) if is_float else (1, 2, 4, 8)) or count * itemsize != size:
        raise BadStream("has other elements than scale-offset was told")
    flags = {is_float, is_signed, is_big, has_fill}
    if kind != (0 if is_float else 2) or len(data) < 21 or not flags <= {0, 1}:
        raise BadStream("is packed by scale-offset in an unknown way")
    bits = int.from_bytes(data[:4], "little")
    dtype, order = np.dtype(f"<{code}{itemsize}"), "<>"[bool(is_big)]
    packed = np.frombuffer(data, np.uint8, offset=21)
    if bits > 8 * itemsize or len(packed) < (count * bits + 7) // 8:
        raise BadStream("is packed by scale-offset, and too short")
    if bits == 8 * itemsize:
        return packed[:size].tobytes()
    distances = _numbers(packed, bits, count)
    smallest = np.frombuffer(data[5 : 5 + itemsize], dtype)[0]
    if is_float:
        decimals = exponent - (exponent >> 31 << 32)
        if abs(decimals) > _MOST_DECIMALS:
            raise BadStream(f"is packed by scale-offset to {decimals} decimals")
        signed = distances.astype(f"<i{itemsize}").astype(dtype)
        with np.errstate(all="ignore"):  # for this thread
            out = signed / np.float64(10.0**decimals).astype(dtype) + smallest
    else:
        wide = distances + np.uint64(int(smallest) & 0xFFFF_FFFF_FFFF_FFFF)
        out = wide.astype(f"<u{itemsize}").view(dtype)
    if has_fill:
        stored = b"".join(value.to_bytes(4, "little") for value in values[8:])[:itemsize]
        if len(stored) == itemsize:
            out[distances == np.uint64((1 << bits) - 1)] = np.frombuffer(stored, dtype)[0]
    return bytes(out.astype(f"{order}{code}{itemsize}").tobytes())


def _numbers(packed: np.ndarray[Any, Any], bits: int, count: int) -> np.ndarray[Any, Any]:
    """Numbers of so many bits each, one after the other, the highest bit first."""
    import numpy as np

    found = np.zeros(count, np.uint64)
    if not bits:
        return found
    powers = np.array([1 << bit for bit in reversed(range(bits))], np.uint64)
    for start in range(0, count, _BLOCK):  # a multiple of 8, so that each block begins with a byte
        length = min(_BLOCK, count - start)
        first = start * bits // 8
        piece = np.unpackbits(packed[first : first + (length * bits + 7) // 8])[: length * bits]
        found[start : start + length] = piece.reshape(length, bits) @ powers
    return found


def is_possible(codecs: tuple[Codec, ...], left_out: int, stored: int, nbytes: int) -> bool:
    """Whether a chunk of ``nbytes`` may have so many bytes as it is stored."""
    known: int | None = nbytes  # the size of what is stored
    times = 1
    for codec, _ in steps(codecs, left_out, nbytes)[::-1]:
        if codec.name == "fletcher32":
            known = None if known is None else known + _SUM
        elif codec.name != "shuffle":
            known, times = None, RATIOS[codec.name]
    return stored == known if known is not None else not times or nbytes <= stored * times


def has_checksum(codecs: tuple[Codec, ...], chunk: Chunk) -> bool:
    """Whether a chunk has a checksum: that of fletcher32, or the Adler-32 in every zlib stream."""
    used = [codec for i, codec in enumerate(codecs) if not chunk.left_out >> i & 1]
    return any(codec.name in ("fletcher32", "zlib") for codec in used)
