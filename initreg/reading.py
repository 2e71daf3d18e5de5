"""The one place where bytes become arrays: read, unpack, check.

Formats only say where bytes lie. Everything that a file's own size can prove wrong is found by
:func:`check` when the file is opened; what only its bytes can prove wrong is found by
:meth:`Reader.read`.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from initreg import dtypes
from initreg.arrays import Extent, LazyArray, SlicedExtent
from initreg.errors import DamagedFile, InitregError, UnreadableFile

if TYPE_CHECKING:
    import numpy as np

# Deflate cannot unpack to more than 1032 times its size (RFC 1951: at best 258 bytes in 2 bits).
_DEFLATE_RATIO = 1032
_CHUNK = 1 << 20


def _nbytes(extent: Extent) -> int:
    return math.prod(extent.shape) * dtypes.to_numpy(extent.dtype).itemsize


def check(arrays: Iterable[tuple[str, Any]], label: str) -> None:
    """Raise DamagedFile for an extent that its file is too small for, or that contradicts itself.

    ``arrays`` are names and what the format returned for them; other values than extents pass.
    Nothing is allocated or read, so a lying header costs nothing.
    """
    sizes: dict[Path, int] = {}
    for name, value in arrays:
        if isinstance(value, Extent):
            _check_extent(name, value, label, sizes)
        elif isinstance(value, SlicedExtent):
            _check_slices(name, value, label, sizes)


def _check_extent(name: str, extent: Extent, label: str, sizes: dict[Path, int]) -> None:
    if extent.file not in sizes:
        try:
            sizes[extent.file] = os.stat(extent.file).st_size
        except OSError as error:
            raise DamagedFile(
                f"{label}: array {name!r} lies in {extent.file}, which cannot be read: "
                f"{error.strerror}. Is a part of the download missing?"
            ) from error
    size = sizes[extent.file]
    numbers = (*extent.shape, extent.offset, extent.length, extent.skip)
    if not all(isinstance(number, (int, Integral)) for number in numbers):
        raise DamagedFile(f"{label}: array {name!r} has a length that is no whole number: {extent}")
    try:
        nbytes = _nbytes(extent)
    except TypeError as error:
        raise DamagedFile(f"{label}: array {name!r} has an unknown dtype: {error}") from error
    if dtypes.to_numpy(extent.dtype).hasobject:
        raise DamagedFile(f"{label}: array {name!r}: an extent cannot hold {extent.dtype!r}")
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
    if extent.checksum is not None and extent.checksum[0] not in _CHECKSUMS:
        raise DamagedFile(f"{label}: array {name!r}: unknown checksum {extent.checksum[0]!r}")
    if extent.codec == "deflate" and unpacked > extent.length * _DEFLATE_RATIO:
        raise DamagedFile(
            f"{label}: array {name!r} claims to unpack from {extent.length:,} to {unpacked:,} "
            "bytes, more than deflate can"
        )


def _check_slices(name: str, value: SlicedExtent, label: str, sizes: dict[Path, int]) -> None:
    covered = 0
    for start, extent in value.slices:
        _check_extent(name, extent, label, sizes)
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
        covered += math.prod(extent.shape)
    boxes = [(start, extent.shape) for start, extent in value.slices]
    if covered != math.prod(value.shape) or _overlap(boxes):
        raise DamagedFile(
            f"{label}: array {name!r} of shape {value.shape} is not covered exactly once by its "
            f"{len(value.slices)} slices"
        )


def _overlap(boxes: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Whether two boxes, given by start and shape, share an element."""
    boxes = sorted(box for box in boxes if 0 not in box[1])
    for i, (start, shape) in enumerate(boxes):
        for other, other_shape in boxes[i + 1 :]:
            if start and other[0] >= start[0] + shape[0]:
                break  # sorted by the first axis: none of the rest reaches back
            if all(
                a < b + m and b < a + n
                for a, n, b, m in zip(start, shape, other, other_shape, strict=True)
            ):
                return True
    return False


class Reader:
    """Reads the arrays of one open source; keeps its files open until :meth:`close`.

    A file stays the one that was opened first, even when its path is replaced meanwhile. Safe to
    use from several threads. Files of a map that nobody closed are closed when it is let go of:
    ``SmartInit(initreg.open("base.npz").drop("head/*"))`` leaves nobody to close it.
    """

    def __init__(self, label: str, *, verify: bool = True) -> None:
        self._label = label
        self._verify = verify
        self._files: dict[Path, BinaryIO] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._files)

    def close(self) -> None:
        with self._lock:
            _close_all(self._files)

    def read(self, array: LazyArray) -> np.ndarray[Any, Any]:
        """The array: C order, native byte order, in fresh memory that nobody else holds.

        Raises DamagedFile if bytes are missing, do not unpack or fail their checksum.
        """
        value = array.value
        if isinstance(value, Extent):
            return self._read_extent(array.name, value)
        if isinstance(value, SlicedExtent):
            return self._read_slices(array.name, value)
        return self._read_other(array)

    def _read_slices(self, name: str, value: SlicedExtent) -> np.ndarray[Any, Any]:

        dtype = dtypes.to_numpy(value.dtype).newbyteorder("=")
        whole = self._empty(name, value.shape, dtype)
        for start, extent in value.slices:
            box = tuple(slice(a, a + n) for a, n in zip(start, extent.shape, strict=True))
            whole[box] = self._read_extent(name, extent)
        return whole

    def _read_extent(self, name: str, extent: Extent) -> np.ndarray[Any, Any]:
        import numpy as np

        dtype = dtypes.to_numpy(extent.dtype)
        shape = extent.shape if extent.order == "C" else extent.shape[::-1]
        array = self._empty(name, shape, dtype)
        raw = array.reshape(-1).view(np.uint8)
        if extent.codec is None:
            head = bytearray(extent.skip)
            self._fill(name, extent, extent.offset, memoryview(head))
            self._fill(name, extent, extent.offset + extent.skip, raw.data)
        elif extent.codec == "deflate":
            head = self._inflate(name, extent, raw.data)
        else:
            raise DamagedFile(f"{self._label}: array {name!r}: unknown codec {extent.codec!r}")
        if self._verify and extent.checksum is not None:
            kind, expected = extent.checksum
            found = _CHECKSUMS[kind](bytes(head), raw)
            if found != expected:
                raise DamagedFile(
                    f"{self._label}: array {name!r} fails its {kind}: the file says "
                    f"{expected:08x}, its bytes give {found:08x}. The file is corrupt: download "
                    "or copy it again"
                )
        if extent.order != "C":
            array = np.array(array.T, order="C")
        if not dtype.isnative:
            array = array.astype(dtype.newbyteorder("="))
        return array

    def _empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Memory for an array. What :func:`check` lets pass can still be too much for numpy: more
        axes than it has, or (0, 2**63)."""
        import numpy as np

        try:
            return np.empty(shape, dtype)
        except (ValueError, MemoryError) as error:
            raise DamagedFile(
                f"{self._label}: array {name!r} of shape {shape} cannot be had: {error}"
            ) from error

    def _file(self, path: Path) -> BinaryIO:
        file = self._files.get(path)
        if file is None:
            try:
                file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
                self._files[path] = file
            except OSError as error:
                raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
        return file

    def _fill(self, name: str, extent: Extent, offset: int, into: memoryview) -> None:
        """Read exactly ``len(into)`` bytes."""
        done = 0
        with self._lock:
            file = self._file(extent.file)
            try:
                file.seek(offset)
                while done < len(into):
                    count = file.readinto(into[done:])  # type: ignore[attr-defined]
                    if not count:
                        break
                    done += count
            except OSError as error:
                raise UnreadableFile(
                    f"{extent.file}: reading array {name!r} failed: {error.strerror}"
                ) from error
        if done < len(into):
            raise DamagedFile(
                f"{self._label}: array {name!r}: {extent.file.name} ended after {done:,} of "
                f"{len(into):,} bytes. Did it shrink while it was read?"
            )

    def _inflate(self, name: str, extent: Extent, into: memoryview) -> bytearray:
        """Unpack the extent: the skipped bytes are returned, the others go ``into``."""
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        head = bytearray()
        expected, done, at = extent.skip + len(into), 0, 0
        while not engine.eof:
            packed = engine.unconsumed_tail
            if not packed:
                if at == extent.length:
                    break
                chunk = bytearray(min(_CHUNK, extent.length - at))
                self._fill(name, extent, extent.offset + at, memoryview(chunk))
                at += len(chunk)
                packed = bytes(chunk)
            try:
                # One byte over, so that a stream longer than it should be is noticed.
                out = engine.decompress(packed, min(_CHUNK, expected - done + 1))
            except zlib.error as error:
                raise DamagedFile(
                    f"{self._label}: array {name!r} cannot be unpacked: {error}. Download or copy "
                    "the file again"
                ) from error
            if done + len(out) > expected:
                break
            taken = min(len(out), extent.skip - len(head))
            head += out[:taken]
            rest = len(out) - taken
            start = done + taken - extent.skip
            if rest:
                into[start : start + rest] = out[taken:]
            done += len(out)
        if done != expected or not engine.eof:
            raise DamagedFile(
                f"{self._label}: array {name!r} does not unpack to the {expected:,} bytes that "
                "its header says. Download or copy the file again"
            )
        return head

    def _read_other(self, array: LazyArray) -> np.ndarray[Any, Any]:
        """A value that is no extent: the user's own array, an h5py dataset, ..."""
        import numpy as np

        try:
            found = np.asarray(_own(array.value), order="C")
        except InitregError:
            raise
        except Exception as error:  # whatever a plugin's library makes of damaged bytes
            raise DamagedFile(
                f"{self._label}: array {array.name!r} cannot be read: "
                f"{type(error).__name__}: {error}"
            ) from error
        kind = dtypes.name_of(found.dtype)
        if kind == "object" and array.spec.dtype == dtypes.STRING:
            kind = dtypes.STRING
        if found.shape != array.shape or kind != array.spec.dtype:
            raise DamagedFile(
                f"{self._label}: array {array.name!r} was announced as {array.shape} "
                f"{array.spec.dtype}, but reads as {found.shape} {kind}"
            )
        if not found.dtype.isnative:
            found = found.astype(found.dtype.newbyteorder("="))
        return found


def _close_all(files: dict[Path, BinaryIO]) -> None:
    for file in files.values():
        file.close()
    files.clear()


# Types whose __array__(copy=True) was seen to copy, and those that were seen not to.
_copying: dict[Any, bool] = {}


def _own(value: Any) -> np.ndarray[Any, Any]:
    """The values of an array-like, in memory that nobody else holds."""
    import numpy as np

    kind = value.__class__
    if not _copies(kind):  # numpy would warn if it were asked for a copy
        return np.array(np.asarray(value), copy=True, order="C")
    found = np.array(value, copy=True)
    if kind not in _copying and found.size:
        # numpy takes its word for it. Once for each type we do not: two copies share nothing.
        _copying[kind] = not np.shares_memory(found, np.array(value, copy=True))
    return found if _copying.get(kind, not found.size) else found.copy()


@functools.cache
def _copies(kind: Any) -> bool:
    """Whether ``__array__`` of this type takes ``copy``, as numpy 2 asks of it."""
    try:
        return "copy" in inspect.signature(kind.__array__).parameters
    except (AttributeError, TypeError, ValueError):  # a C function does not say
        return False


def _crc32(head: bytes, body: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(body.data, zlib.crc32(head))


def _crc32c(head: bytes, body: np.ndarray[Any, Any]) -> int:
    import google_crc32c

    return int(google_crc32c.extend(google_crc32c.value(head), body))


_CHECKSUMS: dict[str, Callable[[bytes, Any], int]] = {"crc32": _crc32, "crc32c": _crc32c}
