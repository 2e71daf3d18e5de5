"""Reading the arrays of one source: read or map the bytes, unpack them, verify checksums.

Formats only say where the bytes are. A large array is read in chunks, by several threads. Small
arrays that lie side by side are read in one go. A packed array is unpacked by one thread. The
thread that reads a chunk also computes its checksum, while the chunk is in its cache.

:mod:`initreg.arrays.streaming` reads many arrays. :mod:`initreg.arrays.extent_checks` checks
extents when a file is opened. The errors that only the bytes can show are found here.
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
from initreg.arrays.copying import owned
from initreg.arrays.extent_checks import Stamp
from initreg.arrays.inflating import BadStream, inflate
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.regions import Box, box_of, runs
from initreg.arrays.threads import Job, Pool, pool_for
from initreg.errors import DamagedFile, InitregError, UnreadableFile
from initreg.specs import Extent, SlicedExtent

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Room = Callable[[tuple[int, ...], int], Array | None]  # takes a shape and a number of bytes

_CHUNK = 4 << 20  # bytes of a large array that are read in one go
_Mapping = mmap.mmap  # Reader has an option that is called like the module


class Reader:
    """Reads the arrays of one open source, and keeps its files open until :meth:`close`.

    A file stays the one that was opened first, even if its path is replaced meanwhile. A file that
    changed between listing and the first read is refused, since its arrays may be elsewhere now.
    A reader can be used from several threads. If nobody closes it, its files are closed when the
    reader is garbage: nobody can close the map in
    ``SmartInit(initreg.open("base.npz").drop("head/*"))``.

    Args:
        label: what to call the source in an error.
        verify: whether to verify checksums.
        mmap: whether an array may be a read-only view of the mapped file, if its bytes are in the
            file as they are in memory.
        stamps: the stamp of each file when the arrays were listed.
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
        """Close the files, after the reads that are going on. Later reads are errors."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: not self._reading)
            self._maps.clear()  # arrays that are views keep their mapping
            _close_all(self._files)

    def check_open(self, name: str) -> None:
        """Raise InitregError if the reader was closed. ``name`` is the array to be read."""
        if self._closed:
            raise InitregError(f"{self._label} is closed: read {name!r} inside its 'with'")

    def read(self, array: LazyArray) -> Array:
        """Read an array: C order, native byte order, in memory that nobody else holds.

        Raises:
            DamagedFile: bytes are missing, do not unpack, or fail their checksum.
            UnreadableFile: the system cannot read the file.
            InitregError: the reader was closed.
        """
        with pool_for(array.spec.nbytes or 0) as pool:
            return self.start([array], pool).finish()[0]

    def read_part(self, array: LazyArray, index: Any) -> Any:
        """Read ``array[index]``, with as few bytes as the layout of the array allows.

        Checksums are of whole arrays, so that they are not verified for a part.
        """
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
        """Begin to read arrays.

        Args:
            arrays: one array, or several whose extents lie side by side in one file.
            pool: what does the work.
            alignment: an array is mapped only if its position in the file is a multiple of this.
                The default is the alignment of its dtype. Other arrays are read.
            room: returns memory to read a single array into, or None. It takes the shape, and the
                size in bytes.

        Returns:
            A job that gives the arrays when it is finished.
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
            # In the caller's thread: it is the user's own, or h5py reads it, which has a lock.
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
        """Fill a part of an array.

        Returns:
            The checksum and the length of what was read, including skipped bytes.
        """
        into = raw[start:stop]
        found = 0
        head = memoryview(bytearray(extent.skip if start == 0 else 0))
        offset = extent.offset + extent.skip + start - len(head)
        self._fill(name, extent, offset, [head, into] if len(head) else [into])
        if self._verify and extent.checksum is not None:
            kind = extent.checksum[0]
            found = checksums.checksum(kind, into, checksums.checksum(kind, head))
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
        """Read small arrays that lie side by side, and copy each into memory of its own."""
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
        """Read a box of an array. A packed array has to be unpacked completely."""
        if extent.codec is not None:
            return self._read_extent(name, extent)[box.slices].copy()
        dtype = dtypes.to_numpy(extent.dtype)
        shape = extent.shape
        if extent.order != "C":
            box, shape = box.reversed(), shape[::-1]
        walked, pieces = runs(box, shape, dtype.itemsize)
        part = self._memory(name, (*box.shape[: walked + 1], *shape[walked + 1 :]), dtype)
        raw = memory.bytes_of(part)
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
            stops = tuple(a + n for a, n in zip(start, extent.shape, strict=True))
            shared = box.intersection(Box(start, stops, ()))
            if shared is not None:
                inside, into = shared.relative_to(start), shared.relative_to(box.starts)
                whole[into.slices] = self._part_of_extent(name, extent, inside)
        return whole

    # --- memory and files ----------------------------------------------------------------------

    def _room(self, extent: Extent, room: Room | None) -> Array | None:
        """The memory that ``room`` has for the array, if the array can be read into it as it is."""
        dtype = dtypes.to_numpy(extent.dtype)
        if room is None or extent.order != "C" or not dtype.isnative:
            return None
        into = room(extent.shape, math.prod(extent.shape) * dtype.itemsize)
        return into if into is None or into.dtype == dtype else None

    def _empty(
        self, name: str, extent: Extent, into: Array | None = None
    ) -> tuple[Array, memoryview]:
        """Memory for an array as it is stored, as an array and as bytes."""
        shape = extent.shape if extent.order == "C" else extent.shape[::-1]
        if into is None:
            into = self._memory(name, shape, dtypes.to_numpy(extent.dtype))
        return into, memory.bytes_of(into)

    def _memory(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Allocate an array. A checked extent can still ask for too much: the shape (0, 2**63)."""
        try:
            return memory.empty(shape, dtype)
        except (ValueError, MemoryError) as error:
            raise self._impossible(name, shape, error) from error

    def _impossible(self, name: str, shape: tuple[int, ...], error: Exception) -> DamagedFile:
        return DamagedFile(
            f"{self._label}: cannot allocate array {name!r} of shape {shape}: {error}"
        )

    def _mapped(self, name: str, extent: Extent, alignment: int | None) -> Array | None:
        """A view of the mapped file, or None if the bytes are not there as the array needs them."""
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
        except (OSError, ValueError) as error:  # ValueError: the file has become empty
            raise UnreadableFile(f"{path}: cannot be mapped: {error}") from error

    @contextmanager
    def _using(self, path: Path, name: str) -> Iterator[BinaryIO]:
        """The open file. It is not closed while the block runs."""
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
        """Read bytes until ``into`` is full."""
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


def _native(array: Array, extent: Extent) -> Array:
    """An array that was read as it is stored, in C order and native byte order."""
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
