"""Reading the arrays of one source: read or map the bytes, unpack them, verify checksums.

Formats only say where the bytes are. A large array is read in chunks, by several threads. Small
arrays that lie side by side are read in one go. A packed array is unpacked by one thread. The
thread that reads a chunk also computes its checksum, while the chunk is in its cache.

:mod:`initreg.arrays.streaming` reads many arrays. :mod:`initreg.arrays.extent_checks` checks
extents when a file is opened. The errors that only the bytes can show are found here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import checksums, chunked, memory
from initreg.arrays.box_reading import read_box
from initreg.arrays.copying import owned, owned_together
from initreg.arrays.files import OpenFiles
from initreg.arrays.inflating import CODECS, BadStream, inflate
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.regions import Box, box_of, whole
from initreg.arrays.store_reads import requests_at_once
from initreg.arrays.threads import Job, Pool, pool_for
from initreg.errors import DamagedFile
from initreg.specs import Chunk, ChunkedExtent, Extent, SlicedExtent
from initreg.storage.stamps import AnyStamp
from initreg.store_paths import FilePath

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Room = Callable[[tuple[int, ...], int], Array | None]  # takes a shape and a number of bytes

_CHUNK = 4 << 20  # bytes of a large array that are read in one go


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
        stamps: the stamp of each file, from before the arrays were listed.
    """

    def __init__(
        self,
        label: str,
        *,
        verify: bool = True,
        mmap: bool = False,
        stamps: Mapping[FilePath, AnyStamp] | None = None,
    ) -> None:
        self._label = label
        self._verify = verify
        self._mmap = mmap
        self._files = OpenFiles(label, stamps or {})
        self._verified: set[str] = set()  # arrays that are read in parts

    def close(self) -> None:
        """Close the files, after the reads that are going on. Later reads are errors."""
        self._files.close()

    def check_open(self, name: str) -> None:
        """Raise InitregError if the reader was closed. ``name`` is the array to be read."""
        self._files.check_open(name)

    def read(self, array: LazyArray) -> Array:
        """Read an array: C order, native byte order, in memory that nobody else holds.

        Raises:
            DamagedFile: bytes are missing, do not unpack, or fail their checksum.
            UnreadableFile: the system cannot read the file.
            InitregError: the reader was closed.
        """
        with pool_for(array.spec.nbytes or 0, requests_at_once(array.value)) as pool:
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
        if isinstance(value, ChunkedExtent):
            nbytes = math.prod(box.shape) * array.dtype.itemsize
            with pool_for(nbytes, requests_at_once(value)) as pool:
                return self._start_grid(array.name, value, pool, None, box).finish()[0][box.index]
        return owned(array, self._label, box)[box.index]

    def verify(self, array: LazyArray) -> None:
        """Verify the checksum of an array that is going to be read in parts. Only once.

        A packed array is verified whenever a part of it is read, because all of it is unpacked.

        Raises:
            DamagedFile: the checksum is another one.
        """
        value = array.value
        extents = (
            [extent for _, extent in value.slices] if isinstance(value, SlicedExtent) else [value]
        )
        if not self._verify or array.name in self._verified:
            return
        for each in extents:
            if isinstance(each, Extent) and each.checksum is not None and each.codec is None:
                self._verify_extent(array.name, each)
        self._verified.add(array.name)

    def _verify_extent(self, name: str, extent: Extent) -> None:
        """Compare a checksum. In memory is one chunk."""
        assert extent.checksum is not None
        nbytes = extent.length - extent.skip
        scratch = memoryview(bytearray(min(nbytes, _CHUNK)))
        total = 0
        for start in range(0, max(nbytes, 1), _CHUNK):
            into = scratch[: min(nbytes - start, _CHUNK)]
            found, length = self.fill(name, extent, into, start)
            total = checksums.joined(extent.checksum[0], total, found, length)
        self.compare(name, extent, total)

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
            arrays: one array, several whose extents lie side by side in one file, or several
                whose values a plugin reads together.
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
        if more and not isinstance(value, Extent):  # in the caller's thread, as below
            return Job(lambda: owned_together(arrays, self._label))
        if more:
            if self._mmap:
                found = [self._mapped(a.name, a.value, alignment) for a in arrays]
                if all(each is not None for each in found):
                    return Job(lambda: found)  # type: ignore[arg-type, return-value]
            return Job.of(pool.submit(self._read_together, arrays))
        if isinstance(value, SlicedExtent):
            return Job.of(pool.submit(lambda: [self._read_slices(first.name, value)]))
        if isinstance(value, ChunkedExtent):
            into = self._room(value, room)
            return self._start_grid(first.name, value, pool, into, whole(value.shape))
        if not isinstance(value, Extent):
            # In the caller's thread: it is the user's own, or a library reads it.
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
            pool.submit(self.fill, name, extent, raw[start:stop], start)
            for start, stop in pairwise(cuts)
        ]

        def finish() -> list[Array]:
            total = 0
            for chunk in chunks:
                found, length = chunk.result()
                if self._verify and extent.checksum is not None:
                    total = checksums.joined(extent.checksum[0], total, found, length)
            self.compare(name, extent, total)
            return [_native(array, extent)]

        return Job(finish, list(chunks))

    def _start_grid(
        self, name: str, extent: ChunkedExtent, pool: Pool, into: Array | None, box: Box
    ) -> Job:
        """Begin to read a region of an array that is stored in chunks."""
        array = (
            self._memory(name, box.shape, dtypes.to_numpy(extent.dtype)) if into is None else into
        )
        chunked.fill(extent, array)

        def read(chunks: Sequence[Chunk]) -> None:
            places = [(chunk.offset, chunk.offset + chunk.length) for chunk in chunks]
            fetch = self._files.fetcher(extent.file, name, places)
            try:
                chunked.read_chunks(extent, chunks, array, box, fetch, self._verify)
            except BadStream as error:
                raise self._unpackable(name, error) from error

        reads = [pool.submit(read, chunks) for chunks in chunked.batches(extent, box)]

        def finish() -> list[Array]:
            for each in reads:
                each.result()
            return [_native(array, extent)]

        return Job(finish, reads)

    def _unpackable(self, name: str, error: BadStream) -> DamagedFile:
        return DamagedFile(
            f"{self._label}: array {name!r} {error}. Download or copy the file again"
        )

    def fill(self, name: str, extent: Extent, into: memoryview, start: int) -> tuple[int, int]:
        """Fill a part of an array that is not packed, from the byte ``start`` on.

        Returns:
            The checksum and the length of what was read, including skipped bytes.
        """
        found = 0
        head = memoryview(bytearray(extent.skip if start == 0 else 0))
        offset = extent.offset + extent.skip + start - len(head)
        self._files.fill(extent.file, name, offset, [head, into] if len(head) else [into])
        if self._verify and extent.checksum is not None:
            kind = extent.checksum[0]
            found = checksums.checksum(kind, into, checksums.checksum(kind, head))
        return found, len(head) + len(into)

    def _read_extent(self, name: str, extent: Extent, into: Array | None = None) -> Array:
        array, raw = self._empty(name, extent, into)
        if extent.codec is None:
            found, _ = self.fill(name, extent, raw, 0)
        elif extent.codec in CODECS:
            fetch = self._files.stream(extent.file, name, extent.offset, extent.length)
            found = self._inflate(name, extent, raw, fetch)
        else:
            raise DamagedFile(f"{self._label}: array {name!r}: unknown codec {extent.codec!r}")
        self.compare(name, extent, found)
        return _native(array, extent)

    def _inflate(
        self, name: str, extent: Extent, raw: memoryview, fetch: Callable[[int, memoryview], None]
    ) -> int:
        """Unpack an array into memory. Returns its checksum."""
        kind = extent.checksum[0] if self._verify and extent.checksum else None
        assert extent.codec is not None
        try:
            return inflate(fetch, extent.length, extent.skip, raw, kind, extent.codec)
        except BadStream as error:
            raise self._unpackable(name, error) from error

    def _unpacked(self, name: str, extent: Extent, packed: memoryview) -> Array:
        """An array whose packed bytes are in memory."""
        array, raw = self._empty(name, extent)

        def fetch(at: int, into: memoryview) -> None:
            into[:] = packed[at : at + len(into)]

        self.compare(name, extent, self._inflate(name, extent, raw, fetch))
        return _native(array, extent)

    def _read_together(self, arrays: Sequence[LazyArray]) -> list[Array]:
        """Read small arrays that lie side by side, and copy each into memory of its own."""
        import numpy as np

        first, last = arrays[0].value, arrays[-1].value
        begin = first.offset
        span = np.empty(last.offset + last.length - begin, np.uint8)
        names = f"{arrays[0].name} to {arrays[-1].name}"
        self._files.fill(first.file, names, begin, [span.data])
        found = []
        for array in arrays:
            extent = array.value
            start = extent.offset - begin
            stop = start + extent.length
            if extent.codec is not None:
                found.append(self._unpacked(array.name, extent, span[start:stop].data))
                continue
            if self._verify and extent.checksum is not None:
                kind = extent.checksum[0]
                self.compare(array.name, extent, checksums.checksum(kind, span[start:stop]))
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

    def compare(self, name: str, extent: Extent, found: int) -> None:
        """Raise DamagedFile if this is not the checksum of an array, and it is to be verified."""
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
            whole = self._read_extent(name, extent)
            return whole[box.slices].copy() if box.slices else whole
        dtype = dtypes.to_numpy(extent.dtype)
        shape = extent.shape
        if extent.order != "C":
            box, shape = box.reversed(), shape[::-1]
        part = read_box(
            box,
            shape,
            dtype,
            lambda shape: self._memory(name, shape, dtype),
            lambda places: self._files.fetcher(extent.file, name, places),
            extent.offset + extent.skip,
        )
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

    # --- memory ----------------------------------------------------------------------

    def _room(self, extent: Extent | ChunkedExtent, room: Room | None) -> Array | None:
        """The memory that ``room`` has for the array, if the array can be read into it as it is."""
        dtype = dtypes.to_numpy(extent.dtype)
        if room is None or not dtypes.is_native(dtype) or getattr(extent, "order", "C") != "C":
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
        return memory.allocated(f"{self._label}: array {name!r}", shape, dtype, DamagedFile)

    def _impossible(self, name: str, shape: tuple[int, ...], error: ValueError) -> DamagedFile:
        return DamagedFile(
            f"{self._label}: array {name!r}: cannot make an array of shape {shape}: {error}"
        )

    def _mapped(self, name: str, extent: Extent, alignment: int | None) -> Array | None:
        """A view of the mapped file, or None if the bytes are not there as the array needs them."""
        import numpy as np

        dtype = dtypes.to_numpy(extent.dtype)
        at = extent.offset + extent.skip
        if extent.codec is not None or extent.order != "C" or not dtypes.is_native(dtype):
            return None
        if at % (alignment or dtype.alignment) or extent.length == extent.skip:
            return None
        mapping = self._files.mapping(extent.file, name)
        if at + extent.length - extent.skip > len(mapping):
            raise self._files.ended(extent.file, name, len(mapping) - at, extent.length)
        if self._verify and extent.checksum is not None:
            whole = np.frombuffer(mapping, np.uint8, extent.length, extent.offset)
            self.compare(name, extent, checksums.checksum(extent.checksum[0], whole))
        try:
            return np.ndarray(extent.shape, dtype, mapping, at)
        except ValueError as error:
            raise self._impossible(name, extent.shape, error) from error


def _native(array: Array, extent: Extent | ChunkedExtent) -> Array:
    """An array that was read as it is stored, in C order and native byte order."""
    import numpy as np

    if getattr(extent, "order", "C") != "C":
        array = np.array(array.T, order="C")
    if not dtypes.is_native(array.dtype):
        array = array.astype(array.dtype.newbyteorder("="))
    return array
