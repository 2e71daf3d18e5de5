"""Checks of extents when a file is opened, against the size of the file and each other.

Nothing is allocated or read, so that a header with wrong numbers costs nothing. Errors that only
the bytes can show are found by :mod:`initreg.arrays.reader`.
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

_JUSTIFIED = 64 << 20  # bytes that arrays may always take in memory, however small the file is
# A format may give two names to the same bytes. No file is read more than so many times its size.
_SHARED = 4


def _nbytes(extent: Extent) -> int:
    return math.prod(extent.shape) * dtypes.stored_itemsize(extent.dtype)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size and time of a file, to notice if it is replaced or written to.

    The inode is not compared, because on some network file systems it differs each time.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path | int) -> Stamp:
        """The stamp of a path or a descriptor. Raises OSError."""
        found = os.stat(file)
        return cls(found.st_size, found.st_mtime_ns)


def check(arrays: Iterable[tuple[str, Any]], label: str, max_inflation: float) -> dict[Path, Stamp]:
    """Check all extents of a source.

    Args:
        arrays: names, and what the format returned for them. Only extents are checked.
        label: what to call the source in an error.
        max_inflation: how many times their size packed arrays may unpack to.

    Returns:
        The files that the extents are in, with the stamp of each.

    Raises:
        DamagedFile: an extent is not within its file, or contradicts itself or other extents.
        RefusedFile: packed arrays would unpack to more than is allowed.
    """
    stamps: dict[Path, Stamp] = {}
    # For arrays that unpack to more than they may: their bytes unpacked, and as they are stored.
    inflated = over = 0
    plain: dict[Path, int] = {}  # by file: stored bytes of the arrays that are not packed
    packed: dict[Path, int] = {}  # by file: stored bytes of the arrays that are packed
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
        elif isinstance(value, SlicedExtent):
            _check_slices(name, value, label, stamps)
            for _, extent in value.slices:
                plain[extent.file] = plain.get(extent.file, 0) + extent.length
    for totals, times, more in ((plain, _SHARED, _JUSTIFIED), (packed, 1, 0)):
        for file, total in totals.items():
            if total > times * stamps[file].size + more:
                raise DamagedFile(
                    f"{label}: its arrays take {total:,} bytes of {file.name}, which has only "
                    f"{stamps[file].size:,}. They overlap, so that a small file could fill the "
                    "memory. The file was made to do this, or its header is wrong"
                )
    return stamps


def _check_extent(name: str, extent: Extent, label: str, stamps: dict[Path, Stamp]) -> None:
    if extent.file not in stamps:
        try:
            stamps[extent.file] = Stamp.of(extent.file)
        except OSError as error:
            raise DamagedFile(
                f"{label}: array {name!r} is in {extent.file}, which cannot be read: "
                f"{error.strerror}. Is a part of the download missing?"
            ) from error
    size = stamps[extent.file].size
    numbers = (*extent.shape, extent.offset, extent.length, extent.skip)
    if not all(isinstance(number, (int, Integral)) for number in numbers):
        raise DamagedFile(f"{label}: array {name!r} has a length that is not an integer: {extent}")
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
    if extent.codec == "deflate":
        DamagedFile.check_deflate(f"{label}: array {name!r}", extent.length, unpacked)


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
