"""Where the bytes of each array are: extents, or objects that read what no extent can say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from initreg import DamagedFile, Extent, OpenOptions, RefusedFile, Source
from initreg.dtypes import to_numpy
from initreg.format_tools.files import read_at
from initreg.format_tools.values import Computed, OpaqueDtype, Unreadable

from initreg_torch.allowed import SIZES
from initreg_torch.archive import Member, unpacked
from initreg_torch.naming import Leaf
from initreg_torch.values import NotRead, NumpyArray, NumpyDtype, Tensor

Array = np.ndarray[Any, Any]


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays. It keeps the file open for those that are computed.

    Args:
        parameters: the names of the arrays that belong to the model and not to its training.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file = file
        self.parameters: tuple[str, ...] = ()

    def close(self) -> None:
        self.file.close()


class Maker:
    """Makes arrays of leaves.

    Args:
        source: the file.
        file: the same, open.
        place: where the member of a storage is.
        order: ``"<"`` or ``">"``.
        options: what the user asked for.
    """

    def __init__(
        self,
        source: Source,
        file: BinaryIO,
        place: Callable[[str], Member],
        order: str,
        options: OpenOptions,
    ) -> None:
        self._source, self._file, self._place = source, file, place
        self._order, self._options = order, options
        self._places: dict[str, Member] = {}
        self._size = source.size
        self._total = 0

    def make(self, name: str, leaf: Leaf) -> Any:
        """The array of a leaf. Raises DamagedFile or RefusedFile."""
        what = f"{self._source.label}: array {name!r}"
        if isinstance(leaf, Tensor):
            return self._of_tensor(leaf, what)
        if isinstance(leaf, NumpyArray):
            return self._of_numpy(leaf, what)
        if isinstance(leaf, NotRead):
            return Unreadable(
                leaf.shape, OpaqueDtype(leaf.dtype), f"{what} cannot be read: {leaf.why}"
            )
        return _number(leaf, what)

    def _of_tensor(self, tensor: Tensor, what: str) -> Any:
        member = self._places.get(tensor.storage.key)
        if member is None:
            member = self._places[tensor.storage.key] = self._place(tensor.storage.key)
        item = SIZES[tensor.dtype]
        begin = tensor.storage.begin + tensor.offset * item
        nbytes = math.prod(tensor.shape) * item
        # From its first element to its last one, in the storage.
        last = sum((s - 1) * d for s, d in zip(tensor.shape, tensor.stride, strict=True))
        span = (last + 1) * item if nbytes else 0
        if begin + span > member.size or tensor.storage.nbytes > member.size:
            raise DamagedFile(
                f"{what} ends at byte {begin + span:,} of storage {tensor.storage.key!r}, which "
                f"has {member.size:,}. The file is damaged. Download or copy it again"
            )
        if member.offset + member.length > self._size:
            raise DamagedFile(
                f"{what} ends at byte {member.offset + member.length:,}, but the file has "
                f"{self._size:,}. It is truncated. Download or copy it again"
            )
        RefusedFile.check_inflation(what, span, nbytes, self._options.max_inflation)
        self._total += nbytes  # tensors may share a storage
        RefusedFile.check_inflation(
            f"{self._source.label}: all of its arrays together",
            self._size,
            self._total,
            self._options.max_inflation,
        )
        dtype = tensor.dtype
        if self._order == ">" and item > 1:
            if dtype == "bfloat16":
                return Unreadable(
                    tensor.shape,
                    dtype,
                    f"{what} cannot be read: it is bfloat16 in a big-endian file. Load it with "
                    "torch, and save it on another machine",
                )
            dtype = ">" + np.dtype(dtype).str[1:]
        order = None if tensor.conjugate or tensor.negative else _order_of(tensor)
        is_all = begin == 0 and nbytes == member.size
        assert self._source.path is not None
        if order is not None and not member.is_packed:
            return Extent(
                self._source.path,
                member.offset + begin,
                nbytes,
                tensor.shape,
                dtype,
                order=order,
                checksum=("crc32", member.crc) if is_all and member.crc is not None else None,
            )
        if order is not None and is_all:
            return Extent(
                self._source.path,
                member.offset,
                member.length,
                tensor.shape,
                dtype,
                order=order,
                codec="deflate",
                checksum=("crc32", member.crc) if member.crc is not None else None,
            )

        def read() -> Array:
            found = self._read(member, begin, span, what)
            values: Array = np.lib.stride_tricks.as_strided(
                found.view(to_numpy(dtype)) if dtype[0] != ">" else found.view(dtype),
                tensor.shape,
                [each * item for each in tensor.stride],
                writeable=False,
            )
            if tensor.conjugate:
                values = values.conj()
            return (
                -values if tensor.negative else np.ascontiguousarray(values).reshape(values.shape)
            )

        return Computed(tensor.shape, tensor.dtype, read)

    def _read(self, member: Member, begin: int, span: int, what: str) -> Array:
        """Bytes of a storage. pread, because several threads may read at once."""
        if member.is_packed:
            found = unpacked(
                read_at(self._file, member.length, member.offset),
                member,
                what,
                self._options,
            )[begin : begin + span]
        else:
            found = read_at(self._file, span, member.offset + begin)
        if len(found) < span:
            raise DamagedFile(
                f"{what}: the file ended while it was read. Did another program write to it?"
            )
        return np.frombuffer(found, np.uint8)

    def _of_numpy(self, array: NumpyArray, what: str) -> Any:
        dtype = array.dtype
        if isinstance(dtype, NumpyDtype) and dtype.is_plain:
            text = dtype.text.lstrip("<>|=")
            order = dtype.order if text[:1] in "fiuc" and text[1:] not in ("1",) else "|"
            try:
                kind = np.dtype((order if order in "<>" else "") + text)
            except (TypeError, ValueError):
                kind = np.dtype(object)
            shape = array.shape
            if kind.kind in "biufc" and isinstance(array.data, bytes):
                if not all(type(each) is int and each >= 0 for each in shape) or (
                    math.prod(shape) * kind.itemsize != len(array.data)
                ):
                    raise DamagedFile(f"{what} has {len(array.data):,} bytes for shape {shape}")
                values = np.frombuffer(array.data, kind).reshape(
                    shape, order="F" if array.is_fortran else "C"
                )
                return values.astype(kind.newbyteorder("="))
        return Unreadable(
            (),
            "object",
            f"{what} cannot be read: it is a numpy array of objects, texts or records. Drop it",
        )


def _number(leaf: bool | int | float, what: str) -> Any:
    if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf.bit_length() > 63:
        return Unreadable((), "object", f"{what} cannot be read: it is an integer beyond 64 bits")
    return np.array(leaf)


def _order_of(tensor: Tensor) -> str | None:
    """``"C"`` or ``"F"`` if the elements lie in such an order without gaps, else None."""
    axes = [each for each in zip(tensor.shape, tensor.stride, strict=True) if each[0] != 1]
    if any(length == 0 for length, _ in axes):
        return "C"
    for order, run in (("C", reversed(axes)), ("F", axes)):
        distance = 1
        for length, stride in run:
            if stride != distance:
                break
            distance *= length
        else:
            return order
    return None
