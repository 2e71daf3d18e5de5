"""Reading ``.npz``: each plain array as an extent, so that initreg reads and unpacks it.

Source of the layout: ``numpy.savez``, and PKWARE's APPNOTE for the archive.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from typing import Any, BinaryIO

from initreg import DamagedFile, DuplicateName, Extent, OpenOptions, Source
from initreg_formats.shared.npy_header import Header, header_size, parse_header
from initreg_formats.shared.numpy_reading import (
    ReadByNumpy,
    read_pickled,
    refused_pickle,
    structured_dtype,
)
from initreg_formats.shared.paths import file_of
from initreg_formats.shared.zip_member import (
    check_size,
    data_offset,
    members_of,
    zip_errors,
)

_FIRST_READ = 512  # bytes; enough for the usual .npy header


def open_archive(source: Source, options: OpenOptions) -> dict[str, Any]:
    """Every array of the archive by name. Only the headers are read.

    Raises DamagedFile, DuplicateName, and RefusedFile for what is packed better than is allowed.
    """
    file_of(source, "npz")
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty. Download or copy it again")
    arrays: dict[str, Any] = {}
    with source.open() as file:
        for member in members_of(file, source.label):
            if member.filename.endswith("/"):
                continue  # a folder, which holds no bytes
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise DuplicateName(f"{source.label}: two members are called {name!r}")
            arrays[name] = _array(source, file, member, options)
    return arrays


def _array(source: Source, file: BinaryIO, member: zipfile.ZipInfo, options: OpenOptions) -> Any:
    what = f"{source.label}: member {member.filename!r}"
    offset = data_offset(file, member, what)
    header = parse_header(_npy_head(file, offset, member, what), what)
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
    """The member's first unpacked bytes, which hold all of its .npy header."""

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
    size = header_size(head, what)
    return head if size <= len(head) else unpacked(size)


def _by_numpy(
    source: Source, member: zipfile.ZipInfo, header: Header, what: str, options: OpenOptions
) -> ReadByNumpy:
    """Pickled objects and structured dtypes. numpy reads them, and only when they are asked for."""
    import numpy as np

    def read() -> Any:
        if header.is_pickle and not options.allow_pickle:
            raise refused_pickle(what)
        with zip_errors(f"{what} cannot be read"):
            with source.open() as file, zipfile.ZipFile(file) as archive:
                with archive.open(member) as unpacked:
                    if header.is_pickle:
                        return read_pickled(unpacked, what)
                    return np.lib.format.read_array(unpacked, allow_pickle=False)

    if header.is_pickle:
        return ReadByNumpy(header.shape, np.dtype(object), read, has_checksum=True)
    dtype = structured_dtype(header.descr, what)
    nbytes = header.size + math.prod(header.shape) * dtype.itemsize
    check_size(member, nbytes, what, options.max_inflation)
    return ReadByNumpy(header.shape, dtype, read, has_checksum=True)
