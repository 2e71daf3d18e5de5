"""What a file's own size can prove wrong with an extent, found when the file is opened.

Nothing is allocated or read, so a lying header costs nothing. What only its bytes can prove wrong
is found by :mod:`initreg.arrays.reader`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from initreg import dtypes
from initreg.arrays import checksums
from initreg.arrays.regions import MOST_CUTS, cover_once, cut_axes
from initreg.errors import DamagedFile, RefusedFile
from initreg.specs import Extent, SlicedExtent

# Deflate cannot unpack to more than 1032 times its size (RFC 1951: at best 258 bytes in 2 bits).
_DEFLATE_RATIO = 1032
_JUSTIFIED = 64 << 20  # bytes that arrays may take in memory, however small the file
# A format may give two names to the same bytes. More than so many times its size no file is read.
_SHARED = 4


def _nbytes(extent: Extent) -> int:
    return math.prod(extent.shape) * dtypes.stored_itemsize(extent.dtype)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file from one that took its place, or from itself after it was written to. No
    inode: on some network file systems a file has another one each time it is asked for."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path | int) -> Stamp:
        """Of a path or a descriptor. Raises OSError."""
        found = os.stat(file)
        return cls(found.st_size, found.st_mtime_ns)


def check(arrays: Iterable[tuple[str, Any]], label: str, max_inflation: float) -> dict[Path, Stamp]:
    """Raise DamagedFile for an extent that its file is too small for, or that contradicts itself or
    others; RefusedFile for those that unpack to more than ``max_inflation`` times their size.

    ``arrays`` are names and what the format returned for them; other values than extents pass.
    Returns the files that they lie in.
    """
    stamps: dict[Path, Stamp] = {}
    inflated = over = 0  # bytes of arrays that unpack to more than they may, and in the file
    plain: dict[Path, int] = {}  # bytes of all arrays in a file: of those that are not packed
    packed: dict[Path, int] = {}  # and of those that are, as they are stored
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
                what = f"{label}: what is packed up to array {name!r}"
                RefusedFile.check_inflation(what, over, inflated, max_inflation)
        elif isinstance(value, SlicedExtent):
            _check_slices(name, value, label, stamps)
            for _, extent in value.slices:
                plain[extent.file] = plain.get(extent.file, 0) + extent.length
    for totals, times, more in ((plain, _SHARED, _JUSTIFIED), (packed, 1, 0)):
        for file, total in totals.items():
            if total > times * stamps[file].size + more:
                raise DamagedFile(
                    f"{label}: its arrays take {total:,} bytes of {file.name}, which has "
                    f"{stamps[file].size:,}: they lie in each other, so that a small file could "
                    "fill the memory. It was made so on purpose, or its header is wrong"
                )
    return stamps


def _check_extent(name: str, extent: Extent, label: str, stamps: dict[Path, Stamp]) -> None:
    if extent.file not in stamps:
        try:
            stamps[extent.file] = Stamp.of(extent.file)
        except OSError as error:
            raise DamagedFile(
                f"{label}: array {name!r} lies in {extent.file}, which cannot be read: "
                f"{error.strerror}. Is a part of the download missing?"
            ) from error
    size = stamps[extent.file].size
    numbers = (*extent.shape, extent.offset, extent.length, extent.skip)
    if not all(isinstance(number, (int, Integral)) for number in numbers):
        raise DamagedFile(f"{label}: array {name!r} has a length that is no whole number: {extent}")
    try:
        nbytes = _nbytes(extent)
    except TypeError as error:
        raise DamagedFile(
            f"{label}: array {name!r} has a dtype that cannot be read: {error}"
        ) from error
    if min(extent.shape, default=0) < 0 or min(extent.offset, extent.length, extent.skip) < 0:
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
    if extent.codec == "deflate" and unpacked > extent.length * _DEFLATE_RATIO:
        raise DamagedFile(
            f"{label}: array {name!r} claims to unpack from {extent.length:,} to {unpacked:,} "
            "bytes, more than deflate can"
        )


def _check_slices(name: str, value: SlicedExtent, label: str, stamps: dict[Path, Stamp]) -> None:
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
                f"{extent.shape} at {start}, which lies outside of it"
            )
    boxes = [(start, extent.shape) for start, extent in value.slices]
    cuts = len(cut_axes(value.shape, boxes))
    if cuts > MOST_CUTS:
        raise DamagedFile(
            f"{label}: array {name!r} of shape {value.shape} is cut along {cuts} axes; "
            f"{MOST_CUTS} are the most read"
        )
    if not cover_once(value.shape, boxes):
        raise DamagedFile(
            f"{label}: array {name!r} of shape {value.shape} is not covered exactly once by its "
            f"{len(value.slices)} slices"
        )
