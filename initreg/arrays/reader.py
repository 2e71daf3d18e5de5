"""The one place where bytes become arrays: map, read, unpack, check.

Formats only say where bytes lie. A large array is read in chunks, by several threads; small
neighbours are read in one go; what is packed is unpacked by a thread of its own. A chunk is summed
by the thread that read it, while it is in its cache. :mod:`initreg.arrays.streaming` reads many
arrays.

:mod:`initreg.arrays.checking` finds what a file's own size can prove wrong, when it is opened. What
only its bytes can prove wrong is found here.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from initreg import dtypes
from initreg.arrays import checksums, memory
from initreg.arrays.checking import Stamp
from initreg.arrays.copying import owned
from initreg.arrays.deflate import BadStream, inflate
from initreg.arrays.map import LazyArray
from initreg.arrays.regions import Box, box_of, runs
from initreg.arrays.threads import Job, Pool, pool_for
from initreg.errors import DamagedFile, InitregError, UnreadableFile
from initreg.specs import Extent, SlicedExtent

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Room = Callable[[tuple[int, ...], int], Array | None]  # by shape and number of bytes

_CHUNK = 4 << 20  # of a large array: one read, one sum
_Mapping = mmap.mmap  # Reader has an option of the module's name


class Reader:
    """Reads the arrays of one open source; keeps its files open until :meth:`close`.

    A file stays the one that was opened first, even when its path is replaced meanwhile; one that
    is not as its ``stamps`` say, when it is first read from, is refused: what was listed would not
    be where it was. Safe to use from several threads. Files of a map that nobody closed are closed
    when it is let go of: ``SmartInit(initreg.open("base.npz").drop("head/*"))`` leaves nobody to
    close it.

    ``mmap``: an array whose bytes lie in the file as they are is a view of the mapped file, which
    cannot be written.
    """

    def __init__(
        self,
        label: str,
        *,
        verify: bool = True,
        mmap: bool = False,
        stamps: Mapping[Path, Stamp] | None = None,
    ) -> None:
        self._label = label
        self._stamps = stamps or {}
        self._verify = verify
        self._mmap = mmap
        self._files: dict[Path, BinaryIO] = {}
        self._maps: dict[Path, _Mapping] = {}
        self._lock = threading.Condition()
        self._reading = 0
        self._closed = False
        weakref.finalize(self, _close_all, self._files)

    def close(self) -> None:
        """Close the files, once nothing is being read from them. Nothing is read after it."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: not self._reading)
            self._maps.clear()  # arrays that are views keep theirs
            _close_all(self._files)

    def check_open(self, name: str) -> None:
        """Raise InitregError if it was closed."""
        if self._closed:
            raise InitregError(f"{self._label} is closed: read {name!r} inside its 'with'")

    def read(self, array: LazyArray) -> Array:
        """The array: C order, native byte order, in memory that nobody else holds.

        Raises DamagedFile if bytes are missing, do not unpack or fail their checksum.
        """
        with pool_for(array.spec.nbytes or 0) as pool:
            return self.start([array], pool).finish()[0]

    def read_part(self, array: LazyArray, index: Any) -> Any:
        """``array[index]``, of which as few bytes are read as its layout allows. Checksums are of
        whole arrays, so that of a part is not verified."""
        value = array.value
        box = box_of(index, array.shape)
        if box is None:
            return self.read(array)[index]
        if 0 in box.shape:
            return memory.empty(box.shape, array.dtype)[box.index]
        if isinstance(value, Extent):
            return self._part_of_extent(array.name, value, box)[box.index]
        if isinstance(value, SlicedExtent):
            return self._part_of_slices(array.name, value, box)[box.index]
        return owned(array, self._label, box)[box.index]

    # --- whole arrays --------------------------------------------------------------------------

    def start(
        self,
        arrays: Sequence[LazyArray],
        pool: Pool,
        alignment: int | None = None,
        room: Room | None = None,
    ) -> Job:
        """Begin to read arrays, which are several only if their extents lie side by side.

        An array that could be mapped, but lies at no multiple of ``alignment`` in its file
        (default: that of its dtype), is read. ``room`` gives memory to read a single one into.
        """
        first, *more = arrays
        value = first.value
        if more:
            if self._mmap:
                found = [self._mapped(a.name, a.value, alignment) for a in arrays]
                if all(each is not None for each in found):
                    return Job(lambda: found)  # type: ignore[arg-type, return-value]
            return Job.of(pool.submit(self._read_together, arrays))
        if isinstance(value, SlicedExtent):
            return Job.of(pool.submit(lambda: [self._read_slices(first.name, value)]))
        if not isinstance(value, Extent):
            # The user's own, or h5py's, which has a lock of its own: in the caller's thread.
            return Job(lambda: [owned(first, self._label)])
        if self._mmap:
            view = self._mapped(first.name, value, alignment)
            if view is not None:
                return Job(lambda: [view])
        into = self._room(value, room)
        if value.codec is None and value.length - value.skip > _CHUNK:
            return self._start_chunks(first.name, value, pool, into)
        return Job.of(pool.submit(lambda: [self._read_extent(first.name, value, into)]))

    def _start_chunks(self, name: str, extent: Extent, pool: Pool, into: Array | None) -> Job:
        array, raw = self._empty(name, extent, into)
        cuts = [*range(0, len(raw), _CHUNK), len(raw)]
        chunks = [
            pool.submit(self._read_chunk, name, extent, raw, start, stop)
            for start, stop in pairwise(cuts)
        ]

        def finish() -> list[Array]:
            total = 0
            for chunk in chunks:
                found, length = chunk.result()
                if self._verify and extent.checksum is not None:
                    total = checksums.joined(extent.checksum[0], total, found, length)
            self._compare(name, extent, total)
            return [_native(array, extent)]

        return Job(finish, list(chunks))

    def _read_chunk(
        self, name: str, extent: Extent, raw: memoryview, start: int, stop: int
    ) -> tuple[int, int]:
        """Fill a part of an array; its checksum and length, those of the skipped bytes included."""
        into = raw[start:stop]
        found = 0
        head = memoryview(bytearray(extent.skip if start == 0 else 0))
        offset = extent.offset + extent.skip + start - len(head)
        self._fill(name, extent, offset, [head, into] if len(head) else [into])
        if self._verify and extent.checksum is not None:
            kind = extent.checksum[0]
            found = _sum(kind, into, _sum(kind, head, 0))
        return found, len(head) + len(into)

    def _read_extent(self, name: str, extent: Extent, into: Array | None = None) -> Array:
        array, raw = self._empty(name, extent, into)
        if extent.codec is None:
            found, _ = self._read_chunk(name, extent, raw, 0, len(raw))
        elif extent.codec == "deflate":
            kind = extent.checksum[0] if self._verify and extent.checksum else None

            def fetch(at: int, into: memoryview) -> None:
                self._fill(name, extent, extent.offset + at, [into])

            try:
                found = inflate(fetch, extent.length, extent.skip, raw, kind)
            except BadStream as error:
                raise DamagedFile(
                    f"{self._label}: array {name!r} {error}. Download or copy the file again"
                ) from error
        else:
            raise DamagedFile(f"{self._label}: array {name!r}: unknown codec {extent.codec!r}")
        self._compare(name, extent, found)
        return _native(array, extent)

    def _read_together(self, arrays: Sequence[LazyArray]) -> list[Array]:
        """Small arrays that lie side by side, each then copied into memory of its own."""
        import numpy as np

        first, last = arrays[0].value, arrays[-1].value
        begin = first.offset
        span = np.empty(last.offset + last.length - begin, np.uint8)
        self._fill(f"{arrays[0].name} to {arrays[-1].name}", first, begin, [span.data])
        found = []
        for array in arrays:
            extent = array.value
            start = extent.offset - begin
            stop = start + extent.length
            if self._verify and extent.checksum is not None:
                kind = extent.checksum[0]
                self._compare(array.name, extent, checksums.checksum(kind, span[start:stop]))
            dtype = dtypes.to_numpy(extent.dtype)
            shape = extent.shape if extent.order == "C" else extent.shape[::-1]
            try:
                view = span[start + extent.skip : stop].view(dtype).reshape(shape)
            except ValueError as error:
                raise self._impossible(array.name, shape, error) from error
            found.append(_native(view.copy(), extent))
        return found

    def _read_slices(self, name: str, value: SlicedExtent) -> Array:
        whole = self._memory(name, value.shape, dtypes.to_numpy(value.dtype).newbyteorder("="))
        for start, extent in value.slices:
            box = tuple(slice(a, a + n) for a, n in zip(start, extent.shape, strict=True))
            whole[box] = self._read_extent(name, extent)
        return whole

    def _compare(self, name: str, extent: Extent, found: int) -> None:
        if not self._verify or extent.checksum is None:
            return
        kind, expected = extent.checksum
        if found != expected:
            raise DamagedFile(
                f"{self._label}: array {name!r} fails its {kind}: the file says {expected:08x}, "
                f"its bytes give {found:08x}. The file is corrupt: download or copy it again"
            )

    # --- parts of arrays -----------------------------------------------------------------------

    def _part_of_extent(self, name: str, extent: Extent, box: Box) -> Array:
        """The box of an array; what is packed has to be unpacked from its beginning."""
        if extent.codec is not None:
            return self._read_extent(name, extent)[box.slices].copy()
        dtype = dtypes.to_numpy(extent.dtype)
        shape = extent.shape
        if extent.order != "C":
            box, shape = box.reversed(), shape[::-1]
        walked, pieces = runs(box, shape, dtype.itemsize)
        part = self._memory(name, (*box.shape[: walked + 1], *shape[walked + 1 :]), dtype)
        raw = _bytes_of(part)
        at = 0
        for offset, length in pieces:
            offset += extent.offset + extent.skip
            self._fill(name, extent, offset, [raw[at : at + length]])
            at += length
        inner = box.slices[walked + 1 :]
        if part.shape != box.shape:
            part = part[(slice(None),) * (walked + 1) + inner].copy()
        return _native(part, extent)

    def _part_of_slices(self, name: str, value: SlicedExtent, box: Box) -> Array:
        whole = self._memory(name, box.shape, dtypes.to_numpy(value.dtype).newbyteorder("="))
        for start, extent in value.slices:
            low = [max(a, b) for a, b in zip(start, box.starts, strict=True)]
            ends = [a + n for a, n in zip(start, extent.shape, strict=True)]
            high = [min(a, b) for a, b in zip(ends, box.stops, strict=True)]
            if all(a < b for a, b in zip(low, high, strict=True)):
                inside = Box(_less(low, start), _less(high, start), ())
                into = Box(_less(low, box.starts), _less(high, box.starts), ())
                whole[into.slices] = self._part_of_extent(name, extent, inside)
        return whole

    # --- memory and files ----------------------------------------------------------------------

    def _room(self, extent: Extent, room: Room | None) -> Array | None:
        """Memory that the array can be read into as it is stored, if there is any for it."""
        dtype = dtypes.to_numpy(extent.dtype)
        if room is None or extent.order != "C" or not dtype.isnative:
            return None
        into = room(extent.shape, math.prod(extent.shape) * dtype.itemsize)
        return into if into is None or into.dtype == dtype else None

    def _empty(
        self, name: str, extent: Extent, into: Array | None = None
    ) -> tuple[Array, memoryview]:
        """Memory for an array as it is stored, and its bytes."""
        shape = extent.shape if extent.order == "C" else extent.shape[::-1]
        if into is None:
            into = self._memory(name, shape, dtypes.to_numpy(extent.dtype))
        return into, _bytes_of(into)

    def _memory(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """What the checks of extents let pass can still be too much: more axes than numpy has, or
        (0, 2**63)."""
        try:
            return memory.empty(shape, dtype)
        except (ValueError, MemoryError) as error:
            raise self._impossible(name, shape, error) from error

    def _impossible(self, name: str, shape: tuple[int, ...], error: Exception) -> DamagedFile:
        return DamagedFile(f"{self._label}: array {name!r} of shape {shape} cannot be had: {error}")

    def _mapped(self, name: str, extent: Extent, alignment: int | None) -> Array | None:
        """A view of the file; None if the array's bytes do not lie there as it needs them."""
        import numpy as np

        dtype = dtypes.to_numpy(extent.dtype)
        at = extent.offset + extent.skip
        if extent.codec is not None or extent.order != "C" or not dtype.isnative:
            return None
        if at % (alignment or dtype.alignment) or extent.length == extent.skip:
            return None
        with self._using(extent.file, name) as file:
            with self._lock:
                mapping = self._maps.get(extent.file)
                if mapping is None:
                    mapping = self._maps[extent.file] = self._map(file, extent.file)
        if at + extent.length - extent.skip > len(mapping):
            raise self._ended(name, extent, len(mapping) - at, extent.length)
        if self._verify and extent.checksum is not None:
            whole = np.frombuffer(mapping, np.uint8, extent.length, extent.offset)
            self._compare(name, extent, checksums.checksum(extent.checksum[0], whole))
        try:
            return np.ndarray(extent.shape, dtype, mapping, at)
        except (ValueError, MemoryError) as error:
            raise self._impossible(name, extent.shape, error) from error

    def _map(self, file: BinaryIO, path: Path) -> _Mapping:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: it is empty by now
            raise UnreadableFile(f"{path}: cannot be mapped: {error}") from error

    @contextmanager
    def _using(self, path: Path, name: str) -> Iterator[BinaryIO]:
        """The open file, which is not closed meanwhile."""
        with self._lock:
            self.check_open(name)
            file = self._files.get(path)
            if file is None:
                try:
                    file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
                except OSError as error:
                    raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
                stamp = self._stamps.get(path)
                if stamp is not None and stamp != (now := Stamp.of(file.fileno())):
                    file.close()
                    raise DamagedFile(
                        f"{self._label}: {path} was replaced or written to after it was opened, "
                        f"when it had {stamp.size:,} bytes; it has {now.size:,}. Open it again"
                    )
                self._files[path] = file
            self._reading += 1
        try:
            yield file
        finally:
            with self._lock:
                self._reading -= 1
                self._lock.notify_all()

    def _fill(self, name: str, extent: Extent, offset: int, into: list[memoryview]) -> None:
        """Read as many bytes as there is room for."""
        wanted = sum(map(len, into))
        done = 0
        with self._using(extent.file, name) as file:
            try:
                while done < wanted:
                    count = os.preadv(file.fileno(), into, offset + done)
                    if not count:
                        raise self._ended(name, extent, done, wanted)
                    done += count
                    while into and count >= len(into[0]):
                        count -= len(into[0])
                        into = into[1:]
                    if into:
                        into = [into[0][count:], *into[1:]]
            except OSError as error:
                raise UnreadableFile(
                    f"{extent.file}: reading array {name!r} failed: {error.strerror}"
                ) from error

    def _ended(self, name: str, extent: Extent, done: int, wanted: int) -> DamagedFile:
        return DamagedFile(
            f"{self._label}: array {name!r}: {extent.file.name} ended after {done:,} of "
            f"{wanted:,} bytes. Did it shrink while it was read?"
        )


def _bytes_of(array: Array) -> memoryview:
    import numpy as np

    return array.reshape(-1).view(np.uint8).data


def _sum(kind: str, data: memoryview, before: int) -> int:
    import numpy as np

    return checksums.checksum(kind, np.asarray(data), before) if len(data) else before


def _less(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _native(array: Array, extent: Extent) -> Array:
    """What was read, as it is stored, in C order and native byte order."""
    import numpy as np

    if extent.order != "C":
        array = np.array(array.T, order="C")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _close_all(files: dict[Path, BinaryIO]) -> None:
    for file in files.values():
        file.close()
    files.clear()
