"""Checks of extents when a file is opened, against the size of the file and each other.

Nothing is allocated or read, so that a header with wrong numbers costs nothing. Errors that only
the bytes can show are found by :mod:`initreg.arrays.reader`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from initreg import dtypes
from initreg.arrays import checksums, codecs
from initreg.arrays.chunked import chunk_nbytes, grid
from initreg.arrays.regions import MOST_CUTS, cover_once, cut_axes
from initreg.errors import DamagedFile, RefusedFile
from initreg.specs import ChunkedExtent, Extent, OpaqueExtent, SlicedExtent
from initreg.storage.paths import opened, read_at, stamp_of, status
from initreg.storage.stamps import AnyStamp
from initreg.storage.stand_ins import HEAD, stand_in
from initreg.store_paths import FilePath

_JUSTIFIED = 64 << 20  # bytes that arrays may always take in memory, however small the file is
# A format may give two names to the same bytes. No file is read more than so many times its size.
_SHARED = 4


def _nbytes(extent: Extent) -> int:
    return math.prod(extent.shape) * dtypes.stored_itemsize(extent.dtype)


def check(
    arrays: Iterable[tuple[str, Any]],
    label: str,
    max_inflation: float,
    known: Mapping[FilePath, AnyStamp] | None = None,
) -> dict[FilePath, AnyStamp]:
    """Check all extents of a source.

    Args:
        arrays: names, and what the format returned for them. Only extents are checked.
        label: what to call the source in an error.
        max_inflation: how many times their size packed arrays may unpack to.
        known: the stamps that the files of the source had when the format first looked at them.

    Returns:
        ``known``, and the stamps of the other files that the extents are in.

    Raises:
        DamagedFile: an extent is not within its file, or contradicts itself or other extents.
        RefusedFile: packed arrays would unpack to more than is allowed.
    """
    stamps: dict[FilePath, AnyStamp] = dict(known or {})
    # For arrays that unpack to more than they may: their bytes unpacked, and as they are stored.
    inflated = over = 0
    plain: dict[FilePath, int] = {}  # by file: stored bytes of the arrays that are not packed
    packed: dict[FilePath, int] = {}  # by file: stored bytes of the arrays that are packed
    filled: dict[FilePath, int] = {}  # by file: bytes of the chunks that are not stored
    for name, value in arrays:
        if isinstance(value, Extent):
            _check_extent(name, value, label, stamps)
            if value.codec is None:
                plain[value.file] = plain.get(value.file, 0) + value.length
                continue
            packed[value.file] = packed.get(value.file, 0) + value.length
            unpacked = value.skip + _nbytes(value)
            if unpacked > value.length * max_inflation:
                inflated += unpacked
                over += value.length
                what = f"{label}: the packed data up to array {name!r}"
                RefusedFile.check_inflation(what, over, inflated, max_inflation)
        elif isinstance(value, OpaqueExtent):
            as_bytes = Extent(value.file, value.offset, value.length, (value.length,), "uint8")
            _check_extent(name, as_bytes, label, stamps)
            plain[value.file] = plain.get(value.file, 0) + value.length
        elif isinstance(value, SlicedExtent):
            _check_slices(name, value, label, stamps)
            for _, extent in value.slices:
                plain[extent.file] = plain.get(extent.file, 0) + extent.length
        elif isinstance(value, ChunkedExtent):
            stored, unpacked, absent = _check_chunks(name, value, label, stamps)
            totals = packed if value.codecs else plain
            totals[value.file] = totals.get(value.file, 0) + stored
            if unpacked > stored * max_inflation:
                inflated += unpacked
                over += stored
                what = f"{label}: the packed data up to array {name!r}"
                RefusedFile.check_inflation(what, over, inflated, max_inflation)
            filled[value.file] = filled.get(value.file, 0) + absent
            what = f"{label}: what was never written of the arrays up to {name!r}"
            size = stamps[value.file].size
            RefusedFile.check_inflation(what, size, filled[value.file], max_inflation)
    for totals, times, more in ((plain, _SHARED, _JUSTIFIED), (packed, 1, 0)):
        for file, total in totals.items():
            if total > times * stamps[file].size + more:
                raise DamagedFile(
                    f"{label}: its arrays take {total:,} bytes of {file.name}, which has only "
                    f"{stamps[file].size:,}. They overlap, so that a small file could fill the "
                    "memory. The file was made to do this, or its header is wrong"
                )
    return stamps


def _size_of(name: str, file: FilePath, label: str, stamps: dict[FilePath, AnyStamp]) -> int:
    """The size of a file, whose stamp is taken the first time."""
    if file not in stamps:
        try:
            here = status(file)
            if here is None or not here.is_file:  # a pipe would be waited for
                why = "cannot be read: No such file" if here is None else "is not a file"
                raise DamagedFile(f"{label}: array {name!r} is in {file}, which {why}")
            with opened(file) as content:
                stamps[file] = stamp_of(content)
                what = stand_in(read_at(content, HEAD, 0), stamps[file].size)
        except OSError as error:
            raise DamagedFile(
                f"{label}: array {name!r} is in {file}, which cannot be read: "
                f"{error.strerror or error}. Is a part of the download missing?"
            ) from error
        if what:
            raise DamagedFile(f"{label}: its file {file.name} is {what}")
    return stamps[file].size


def _check_extent(name: str, extent: Extent, label: str, stamps: dict[FilePath, AnyStamp]) -> None:
    size = _size_of(name, extent.file, label, stamps)
    numbers = (*extent.shape, extent.offset, extent.length, extent.skip)
    kinds = set(map(type, numbers))
    if kinds != {int} and not all(issubclass(kind, (int, Integral)) for kind in kinds):
        raise DamagedFile(f"{label}: array {name!r} has a length that is not an integer: {extent}")
    try:
        nbytes = _nbytes(extent)
    except TypeError as error:
        raise DamagedFile(
            f"{label}: array {name!r} has a dtype that cannot be read: {error}"
        ) from error
    if min(numbers) < 0:
        raise DamagedFile(f"{label}: array {name!r} has a negative length or offset: {extent}")
    if extent.offset + extent.length > size:
        raise DamagedFile(
            f"{label}: array {name!r} should end at byte {extent.offset + extent.length:,} of "
            f"{extent.file.name}, which has {size:,} bytes: the file is truncated, or its header "
            "is wrong. Download or copy it again"
        )
    unpacked = extent.skip + nbytes
    if extent.codec is None and unpacked != extent.length:
        raise DamagedFile(
            f"{label}: array {name!r} of shape {extent.shape} and dtype {extent.dtype} takes "
            f"{nbytes:,} bytes, but the file holds {extent.length - extent.skip:,} for it"
        )
    if extent.checksum is not None and extent.checksum[0] not in checksums.KINDS:
        raise DamagedFile(f"{label}: array {name!r}: unknown checksum {extent.checksum[0]!r}")
    if extent.codec == "deflate":
        DamagedFile.check_deflate(f"{label}: array {name!r}", extent.length, unpacked)


def _check_slices(
    name: str, value: SlicedExtent, label: str, stamps: dict[FilePath, AnyStamp]
) -> None:
    for start, extent in value.slices:
        _check_extent(name, extent, label, stamps)
        ends = [a + n for a, n in zip(start, extent.shape, strict=False)]
        if (
            len(start) != len(value.shape)
            or len(extent.shape) != len(value.shape)
            or extent.dtype != value.dtype
            or min(start, default=0) < 0
            or any(end > axis for end, axis in zip(ends, value.shape, strict=True))
        ):
            raise DamagedFile(
                f"{label}: array {name!r} of shape {value.shape} has a slice of shape "
                f"{extent.shape} at {start}, which is not inside of it"
            )
    boxes = [(start, extent.shape) for start, extent in value.slices]
    cuts = len(cut_axes(value.shape, boxes))
    if cuts > MOST_CUTS:
        raise DamagedFile(
            f"{label}: array {name!r} of shape {value.shape} is cut along {cuts} axes, "
            f"but at most {MOST_CUTS} can be read"
        )
    if not cover_once(value.shape, boxes):
        raise DamagedFile(
            f"{label}: array {name!r} of shape {value.shape} is not covered exactly once by its "
            f"{len(value.slices)} slices"
        )


def _check_chunks(
    name: str, value: ChunkedExtent, label: str, stamps: dict[FilePath, AnyStamp]
) -> tuple[int, int, int]:
    """Check the chunks of an array.

    Returns:
        How many bytes its chunks take in the file, how many when they are unpacked, and how many
        bytes of the array are in no chunk.
    """
    what = f"{label}: array {name!r}"
    size = _size_of(name, value.file, label, stamps)
    if len(value.chunk) != len(value.shape) or min(value.chunk, default=1) < 1:
        raise DamagedFile(f"{what} of shape {value.shape} has chunks of shape {value.chunk}")
    unknown = [codec.name for codec in value.codecs if codec.name not in codecs.NAMES]
    if unknown:
        raise DamagedFile(f"{what}: unknown codec {unknown[0]!r}")
    try:
        nbytes = chunk_nbytes(value)
        if len(value.fill) != dtypes.stored_itemsize(value.dtype):
            raise TypeError(f"its fill value has {len(value.fill)} bytes")
    except TypeError as error:
        raise DamagedFile(f"{what} has a dtype that cannot be read: {error}") from error
    counts, places, stored = grid(value), set(), 0
    if min(value.shape, default=0) < 0:
        raise DamagedFile(f"{what} has a negative length: {value.shape}")
    for chunk in value.chunks:
        if len(chunk.at) != len(counts) or not all(
            0 <= at < count for at, count in zip(chunk.at, counts, strict=True)
        ):
            raise DamagedFile(f"{what} of shape {value.shape} has a chunk outside of it: {chunk}")
        if chunk.at in places:
            raise DamagedFile(f"{what} has two chunks at the same place: {chunk}")
        if min(chunk.offset, chunk.length) < 0 or chunk.offset + chunk.length > size:
            raise DamagedFile(
                f"{what} has a chunk that should end at byte {chunk.offset + chunk.length:,} of "
                f"{value.file.name}, which has {size:,} bytes: the file is truncated, or its "
                "header is wrong. Download or copy it again"
            )
        if not codecs.is_possible(value.codecs, chunk.left_out, chunk.length, nbytes):
            raise DamagedFile(
                f"{what} has a chunk of {nbytes:,} bytes at {chunk.at}, but {chunk.length:,} are "
                "stored for it, which is not possible. Download or copy the file again"
            )
        places.add(chunk.at)
        stored += chunk.length
    absent = math.prod(counts) - len(places)
    return stored, nbytes * len(places), absent * nbytes
