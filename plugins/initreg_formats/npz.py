"""numpy's ``.npz``: a zip archive of ``.npy`` members, stored or deflated.

An array is called by its member's name without ``.npy``. Source of the layout:
``numpy.savez``, and PKWARE's APPNOTE for the archive.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from initreg import (
    Claim,
    Confidence,
    DamagedFile,
    DuplicateName,
    Extent,
    OpenOptions,
    RefusedFile,
    Source,
    hookimpl,
)
from initreg_formats import npy
from initreg_formats.zip_member import MAGIC, data_offset

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_endings = (".npz",)

_RATIO = 1032  # deflate packs no better
_FIRST_READ = 512  # covers the local header and the usual .npy header


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if not source.head.startswith(MAGIC):
        if source.suffix == ".npz" and source.is_file:
            return Claim(Confidence.NAME, "is named .npz, but is no zip archive")
        return None
    names = source.members
    if names is None:
        if source.suffix == ".npz" or b".npy" in source.head[:_FIRST_READ]:
            return Claim(Confidence.CONTENT, "begins like an .npz, but the archive has no end")
        return None
    if names and all(name.endswith(".npy") for name in names):
        return Claim(Confidence.EXACT, "zip archive whose members are all .npy")
    if source.suffix == ".npz":
        return Claim(Confidence.CONTENT, "zip archive named .npz")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty")
    arrays: dict[str, Any] = {}
    with source.open() as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise DamagedFile(
                f"{source.label}: not a whole zip archive ({error}): the file is truncated or "
                "corrupt. Download or copy it again"
            ) from error
        for member in members:
            if member.filename.endswith("/"):
                continue  # a folder, which holds no bytes
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise DuplicateName(f"{source.label}: two members are called {name!r}")
            arrays[name] = _array(source, file, member, options)
    return arrays


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats import npz_writing

    npz_writing.save(arrays, output, options)


def _array(source: Source, file: BinaryIO, member: zipfile.ZipInfo, options: OpenOptions) -> Any:
    what = f"{source.label}: member {member.filename!r}"
    offset = data_offset(file, member, what)
    header = npy.parse_header(_npy_head(file, offset, member, what), what)
    if header.is_pickle or isinstance(header.descr, list):
        return _by_numpy(source, member, header, what, options)
    assert source.path is not None
    return Extent(
        file=source.path,
        offset=offset,
        length=member.compress_size,
        shape=header.shape,
        dtype=header.descr,
        order=header.order,
        skip=header.size,
        codec="deflate" if member.compress_type == zipfile.ZIP_DEFLATED else None,
        checksum=("crc32", member.CRC),
    )


def _npy_head(file: BinaryIO, offset: int, member: zipfile.ZipInfo, what: str) -> bytes:
    """The member's first unpacked bytes: its whole .npy header."""

    def unpacked(count: int) -> bytes:
        file.seek(offset)
        if member.compress_type == zipfile.ZIP_STORED:
            return file.read(min(count, member.compress_size))
        try:
            packed = file.read(min(count + 1024, member.compress_size))
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, count)
        except zlib.error as error:
            raise DamagedFile(f"{what} cannot be unpacked: {error}") from error

    head = unpacked(_FIRST_READ)
    size = npy.header_size(head, what)
    return head if size <= len(head) else unpacked(size)


def _by_numpy(
    source: Source, member: zipfile.ZipInfo, header: npy.Header, what: str, options: OpenOptions
) -> npy.Structured:
    """Pickled objects, and structured dtypes, are left to numpy, and read only when asked for."""
    import numpy as np

    def read() -> Any:
        if header.is_pickle and not options.allow_pickle:
            raise npy.refuse_pickle(what)
        try:
            with source.open() as file, zipfile.ZipFile(file) as archive:
                with archive.open(member) as unpacked:
                    if header.is_pickle:
                        return npy.read_pickled(unpacked, what)
                    return np.lib.format.read_array(unpacked, allow_pickle=False)
        except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise DamagedFile(f"{what} cannot be read: {error}") from error

    if header.is_pickle:
        return npy.Structured(header, np.dtype(object), read, has_checksum=True)
    dtype = npy.structured_dtype(header.descr, what)
    nbytes = header.size + math.prod(header.shape) * dtype.itemsize
    most = member.compress_size
    if member.compress_type == zipfile.ZIP_DEFLATED:
        most *= _RATIO
        packed, allowed = member.compress_size, options.max_inflation
        RefusedFile.check_inflation(what, packed, nbytes, allowed)
    if nbytes > most:
        raise DamagedFile(f"{what}: cannot hold the {nbytes:,} bytes that its header says")
    return npy.Structured(header, dtype, read, has_checksum=True)
