"""Arrays and variables without their values: names, shapes, dtypes, and where the bytes are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from initreg import dtypes

if TYPE_CHECKING:
    import numpy as np


class ArrayLike(Protocol):
    """What a format may return for an array instead of an extent: an array of numpy, h5py, ..."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __array__(self) -> np.ndarray[Any, Any]: ...


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the bytes of one array are.

    Args:
        file: the file that they are in.
        offset: the position of the first byte in the file.
        length: how many bytes are stored there, packed if there is a codec.
        shape: the shape of the array.
        dtype: a name as in :mod:`initreg.dtypes`, or numpy's type string if the bytes are
            big-endian: ``">f4"``.
        order: ``"C"`` or ``"F"``, as in numpy.
        skip: how many bytes come before those of the array, after unpacking. A zip member begins
            with the header of an ``.npy`` file, for instance.
        codec: None if the bytes are not packed, ``"deflate"`` for a raw deflate stream (RFC 1951),
            as in a zip member.
        checksum: ``("crc32", value)`` as in a zip member, or ``("crc32c", value)``, unmasked. It
            is of all unpacked bytes, including the skipped ones.
        aliases: other names of the array.

    >>> Extent(Path("m.bin"), 128, 24, (2, 3), "float32")  # doctest: +SKIP
    """

    file: Path
    offset: int
    length: int
    shape: tuple[int, ...]
    dtype: str
    order: str = "C"
    skip: int = 0
    codec: str | None = None
    checksum: tuple[str, int] | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlicedExtent:
    """An array that is stored in slices, each in an extent of its own: a partitioned variable.

    Args:
        shape: the shape of the whole array.
        dtype: as for :class:`Extent`, and the same in all slices.
        slices: for each slice, the index of its first element on every axis, and its extent.
            Together they cover the array without overlapping.
        aliases: other names of the array.
    """

    shape: tuple[int, ...]
    dtype: str
    slices: tuple[tuple[tuple[int, ...], Extent], ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array of a source, without its values.

    Args:
        name: the primary name, normalised.
        shape: the shape of the array.
        dtype: a name as in :mod:`initreg.dtypes`.
        aliases: other names of the array.
        origin: the name in the source, which differs from ``name`` if a rule renamed the array.
        changes: what rules do to the values, in words.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    aliases: tuple[str, ...] = ()
    origin: str = ""
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", self.name)

    @property
    def nbytes(self) -> int | None:
        """The size of the array in memory, in bytes. None if it is unknown before reading, as it
        is for strings."""
        size = dtypes.itemsize(self.dtype)
        if size is None:
            return None
        for axis in self.shape:
            size *= axis
        return size


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """A variable of a target, without its value.

    Args:
        name: the primary name, which no other variable of the target has.
        shape: None if the variable takes any shape. An axis is None if it takes any length.
        dtype: a name as in :mod:`initreg.dtypes`.
        aliases: other names that an array for the variable may have.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    aliases: tuple[str, ...] = ()
