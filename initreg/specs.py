"""Arrays and variables without their values: names, shapes, dtypes, and where bytes lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from initreg import dtypes

if TYPE_CHECKING:
    import numpy as np


class ArrayLike(Protocol):
    """What a format may return for one array, besides an extent: numpy, h5py, zarr, ..."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __array__(self) -> np.ndarray[Any, Any]: ...


@dataclass(frozen=True, slots=True)
class Extent:
    """Where one array's bytes lie: ``length`` bytes at ``offset`` of ``file``.

    Unpacked by ``codec`` they are ``skip`` bytes that are not the array's (a header inside a
    member), then the array's own, in ``order`` "C" or "F". ``dtype`` is a name as in
    :mod:`initreg.dtypes`, or numpy's type string where the bytes are big-endian (``">f4"``).

    ``codec``: None if the bytes are as they are, ``"deflate"`` for a raw deflate stream as in a
    zip member. ``checksum``: ``("crc32", value)`` as in a zip member or ``("crc32c", value)``,
    unmasked, of all unpacked bytes, those skipped included.
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
    """One array whose slices lie in extents of their own: a partitioned variable.

    ``slices``: for each, the index of its first element on every axis, and its extent. Together
    they cover the array without overlapping.
    """

    shape: tuple[int, ...]
    dtype: str
    slices: tuple[tuple[tuple[int, ...], Extent], ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a source, without its values. ``dtype`` as in :mod:`initreg.dtypes`.

    ``aliases`` are other names that it answers to. Once rules were applied, ``origin`` is what the
    source itself calls it, and ``changes`` says what is done to its values.
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
        """Bytes of the array in memory; None where that is unknown before reading (strings)."""
        size = dtypes.itemsize(self.dtype)
        if size is None:
            return None
        for axis in self.shape:
            size *= axis
        return size


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """One variable of a target, without its value.

    ``name`` is unique in its target. ``shape`` is None if the variable takes any shape, and an
    axis of it is None if that axis takes any length. ``dtype`` is a name as in
    :mod:`initreg.dtypes`. ``aliases`` are other names that an array may come under.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    aliases: tuple[str, ...] = ()
