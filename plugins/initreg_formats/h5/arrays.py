"""One dataset of an HDF5 file as an array: an extent, or strings, or what cannot be read and why.

Source of the rules: HDF5 File Format Specification 3.0, "Data Layout Message". For bfloat16:
``keras/src/saving/saving_lib.py``, ``H5IOStore``.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from initreg import Chunk, ChunkedExtent, Codec, DamagedFile, Extent, InitregError, RefusedFile
from initreg.dtypes import name_of, name_of_descr
from initreg.format_tools.values import UNKNOWN, OpaqueDtype, Unreadable
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import AGAIN, Container, native_remedy, structures
from initreg_formats.h5.hdf5 import chunks, headers, messages
from initreg_formats.h5.hdf5.content import UNDEFINED, Unknown, number
from initreg_formats.h5.hdf5.datatypes import OPAQUE, SEQUENCE, Type, datatype
from initreg_formats.h5.hdf5.heaps import local_heap, text
from initreg_formats.h5.hdf5.messages import Layout, Space
from initreg_formats.h5.hdf5.strings import DESCRIPTOR, NULLS
from initreg_formats.h5.native import Native
from initreg_formats.h5.string_arrays import Strings, in_a_row, in_chunks
from initreg_formats.h5.walk import Dataset, as_text

if TYPE_CHECKING:
    import numpy as np

_MOST_BYTES = 1 << 60
_CHUNK_MEMORY = 250  # bytes that a chunk in a list takes, about
_FILTERS = {1: "zlib", 2: "shuffle", 3: "fletcher32", 6: "scale-offset", 32000: "lzf"}
_WITH_VALUES = ("shuffle", "scale-offset")
_NAMES = {4: "szip", 5: "n-bit"}


def to_array(
    container: Container, dataset: Dataset, aliases: tuple[str, ...], is_weight: bool
) -> Any:
    """The dataset as an extent or a lazy array; None if it holds no array (a null dataspace).

    Args:
        container: the open file.
        dataset: where the dataset lies in it.
        aliases: the other names of the array.
        is_weight: whether Keras's attributes name the dataset as a weight.

    Raises:
        DamagedFile: its size is impossible.
    """
    what = f"{container.label}: dataset {dataset.path!r}"
    with structures(what):
        header = dataset.header
        space = messages.space(header.body(headers.SPACE))
        try:
            if header.has(headers.EXTERNAL):
                why = f"has its values in another file, {_other_file(container, header)!r}, which"
                return _elsewhere(header, space, f"{what} {why}", aliases)
            layout = messages.layout(header)
            if layout.kind == messages.VIRTUAL:
                why = "is virtual: its values lie in other datasets, or in other files, which"
                return _elsewhere(header, space, f"{what} {why}", aliases)
            if space.is_null:
                return None
            kind = datatype(header.body(headers.TYPE))
            return _Found(container, dataset, aliases, what, space, layout, kind, is_weight).array()
        except Unknown as error:
            message = f"{what} has {error}, which initreg does not read. {native_remedy()}"
            if container.native:
                try:
                    return Native(container, dataset.raw_path, what, aliases)
                except InitregError as other:
                    message = str(other)
            return Unreadable(space.shape, OpaqueDtype(str(error)), message, aliases)


def _other_file(container: Container, header: headers.Header) -> str:
    data = header.body(headers.EXTERNAL)
    heap = local_heap(container.content, number(data, 8, 8))
    return as_text(text(heap, number(data, 16, 8)))


def _elsewhere(
    header: headers.Header, space: Space, why: str, aliases: tuple[str, ...]
) -> Unreadable:
    """A dataset whose values are elsewhere, which not even h5py may read."""
    dtype: str | OpaqueDtype = UNKNOWN
    with contextlib.suppress(Unknown):
        dtype = name_of_descr(datatype(header.body(headers.TYPE)).dtype) or UNKNOWN
    message = f"{why} initreg does not open. Copy it into a dataset of its own"
    return Unreadable(space.shape, dtype, message, aliases, RefusedFile)


class _Found:
    """A dataset that is looked at."""

    def __init__(
        self,
        container: Container,
        dataset: Dataset,
        aliases: tuple[str, ...],
        what: str,
        space: Space,
        layout: Layout,
        kind: Type,
        is_weight: bool,
    ) -> None:
        self.container = container
        self.header = dataset.header
        self.path = dataset.path
        self.aliases = aliases
        self.what = what
        self.space = space
        self.layout = layout
        self.is_weight = is_weight
        self.inner: tuple[int, ...] = ()  # the axes of elements that are arrays themselves
        self.item = kind.size  # bytes of such an element
        while kind.shape and kind.base is not None:
            self.inner += kind.shape
            kind = kind.base
        self.kind = kind
        self.shape = space.shape + self.inner

    def array(self) -> Any:
        """The array. Raises Unknown if it is not read here."""
        kind, layout = self.kind, self.layout
        # With an axis of 0 the others may have any length, which numpy does not accept.
        if math.prod(axis or 1 for axis in self.shape) * kind.size > _MOST_BYTES:
            raise DamagedFile(f"{self.what} has the impossible shape {self.shape}. {AGAIN}")
        if kind.is_text and (kind.kind == SEQUENCE or kind.padding != NULLS):
            return self._strings()
        dtype = self._dtype()
        nbytes = math.prod(self.shape) * kind.size
        if layout.kind == messages.CHUNKED or layout.address == UNDEFINED or not nbytes:
            return self._in_chunks(dtype, nbytes)
        self._check_stored(nbytes)
        return Extent(
            file=self.container.path,
            offset=self.container.offset(layout.address),
            length=nbytes,
            shape=self.shape,
            dtype=dtype,
            aliases=self.aliases,
        )

    def _check_stored(self, nbytes: int) -> None:
        size, end = self.layout.size, self.layout.address + nbytes
        if (size is not None and size < nbytes) or end > self.container.content.length:
            raise DamagedFile(
                f"{self.what} of shape {self.shape} takes {nbytes:,} bytes, which are not all in "
                f"the file. {AGAIN}"
            )

    def _strings(self) -> Any:
        kind, count = self.kind, math.prod(self.shape)
        if kind.kind == SEQUENCE and kind.size != DESCRIPTOR:
            raise Unknown(f"strings of variable length in {kind.size} bytes")
        size = count * kind.size
        if count and (self.layout.kind == messages.CHUNKED or self.layout.address == UNDEFINED):
            extent = self._in_chunks(f"|V{kind.size}", size)
            stored = in_chunks(self.container, extent, self.path, self.what)
        else:
            if count:
                self._check_stored(size)
            stored = in_a_row(self.container, self.layout.address, size)
        return Strings(self.container, kind, self.shape, self.aliases, self.what, stored)

    def _dtype(self) -> str:
        """The dtype as an extent has it. Raises Unknown if there is none."""
        kind = self.kind
        if kind.why:
            raise Unknown(kind.why)
        if kind.kind == OPAQUE and kind.size == 2 and self._is_bfloat16():
            return "bfloat16"
        if kind.dtype:
            return kind.dtype
        found: np.dtype[Any] = kind.in_numpy()
        return name_of(found)

    def _is_bfloat16(self) -> bool:
        """Whether Keras wrote it from bfloat16, which HDF5 lacks, as opaque elements of 2 bytes.

        In a ``.weights.h5`` the attribute ``dtype`` says so. A legacy file has no such attribute,
        but Keras has no other dtype of 2 bytes that HDF5 lacks.
        """
        return self.is_weight or (
            has_attribute(self.header, "dtype", self.container)
            and string_list(self.header, "dtype", self.container) == ["bfloat16"]
        )

    def _in_chunks(self, dtype: str, nbytes: int) -> ChunkedExtent:
        """An extent of ``nbytes`` that are in chunks, or were never written."""
        layout, axes = self.layout, len(self.space.shape)
        if layout.kind != messages.CHUNKED:
            self.container.claim_memory(nbytes, self.what)
            return self._grid(dtype, tuple(map(_at_least_1, self.shape)), (), ())
        if len(layout.chunk) != axes + 1 or layout.chunk[-1] != self.item or 0 in layout.chunk:
            raise DamagedFile(
                f"{self.what} of shape {self.space.shape} has chunks of the shape "
                f"{layout.chunk[:-1]} with elements of {layout.chunk[-1]} bytes. {AGAIN}"
            )
        self.container.claim_memory(nbytes, self.what)
        shape = layout.chunk[:-1]
        # All of a chunk is unpacked, however little of it belongs to the dataset.
        self.container.check_memory(math.prod(layout.chunk), self.what)
        codecs, more = _codecs(messages.filters(self.header)), (0,) * len(self.inner)
        found = []
        grid = [-(-n // c) for n, c in zip(self.space.shape, shape, strict=True)]
        every = (1 << len(codecs)) - 1
        for chunk in chunks.chunks(self.container.content, layout, self.space, bool(codecs)):
            if not all(at < count for at, count in zip(chunk.at, grid, strict=True)):
                continue  # the dataset was made smaller
            self.container.claim_list(_CHUNK_MEMORY, "chunks")
            mask = chunk.mask & every
            if layout.is_edge_plain and any(
                (at + 1) * c > n for at, c, n in zip(chunk.at, shape, self.space.shape, strict=True)
            ):
                mask = every
            _check_shuffled(codecs, mask)
            offset = self.container.offset(chunk.address)
            found.append(Chunk(chunk.at + more, offset, chunk.size, mask))
        return self._grid(dtype, shape + self.inner, tuple(found), codecs)

    def _grid(
        self,
        dtype: str,
        chunk: tuple[int, ...],
        found: tuple[Chunk, ...],
        codecs: tuple[Codec, ...],
    ) -> ChunkedExtent:
        fill = messages.fill_value(self.header, self.item)
        if fill != fill[: self.kind.size] * (len(fill) // self.kind.size):
            raise Unknown("elements that are arrays, with different values for those never written")
        path = self.container.path
        return ChunkedExtent(
            path, self.shape, dtype, chunk, found, fill[: self.kind.size], codecs, self.aliases
        )


def _check_shuffled(codecs: tuple[Codec, ...], left_out: int) -> None:
    """Raise Unknown if a chunk is shuffled, and the file does not say how.

    HDF5 leaves the filter out of chunks of strings of variable length, and then says nothing.
    """
    for at, codec in enumerate(codecs):
        is_known = codec.name != "shuffle" or (codec.values and codec.values[0] > 0)
        if not is_known and not left_out >> at & 1:
            raise Unknown("chunks that are shuffled in an unknown way")


def _at_least_1(axis: int) -> int:
    return max(1, axis)


def _codecs(filters: list[messages.Filter]) -> tuple[Codec, ...]:
    """The codecs of the kernel for HDF5's filters. Raises Unknown."""
    found = []
    for each in filters:
        name = _FILTERS.get(each.code)
        if name is None:
            title = _NAMES.get(each.code) or str(each.code) + (each.name and f" ({each.name})")
            raise Unknown(f"chunks that are packed by the HDF5 filter {title}")
        if name == "scale-offset" and len(each.values) < 8:
            raise Unknown("chunks that are packed by scale-offset in an unknown way")
        found.append(Codec(name, each.values if name in _WITH_VALUES else ()))
    if sum(codec.name not in ("shuffle", "fletcher32") for codec in found) > 1:
        raise Unknown("chunks that are packed twice")
    return tuple(found)
