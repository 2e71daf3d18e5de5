"""Reading ``.npz``: each plain array as an extent, so that initreg reads and unpacks it.

Source of the layout: ``numpy.savez``, and PKWARE's APPNOTE for the archive.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any, BinaryIO

from initreg import DamagedFile, DuplicateName, Extent, InitregError, OpenOptions, Source, dtypes
from initreg.format_tools.values import UNKNOWN, Unreadable
from initreg.option_spelling import option, said
from initreg_formats.shared.flattening import flatten
from initreg_formats.shared.npy_header import MAGIC, Header, header_size, parse_header
from initreg_formats.shared.numpy_reading import (
    arrays_in,
    read_pickled,
    refused_pickle,
    structured_dtype,
)
from initreg_formats.shared.paths import file_of
from initreg_formats.shared.zip_member import (
    OtherName,
    check_packing,
    check_size,
    data_offset,
    local_headers,
    members_of,
)
from initreg_formats.shared.zip_unpacking import CODECS, PACKED, all_bytes, first_bytes

_FIRST_READ = 256  # bytes; enough for the usual .npy header
_SUFFIX = ".npy"


class Archive(dict[str, Any]):
    """The arrays of an archive by name, and the names of its other members."""

    not_arrays: tuple[str, ...] = ()


def is_called_array(name: str) -> bool:
    """Whether a member is named as an array. What macOS adds to an archive, such as
    ``__MACOSX/._w.npy``, is not."""
    parts = name.split("/")
    return name.endswith(_SUFFIX) and parts[0] != "__MACOSX" and not parts[-1].startswith("._")


def open_archive(source: Source, options: OpenOptions) -> Archive:
    """Every array of the archive by name. Only the headers are read, and pickles if allowed.

    An array that cannot be read is listed, unless no other can be read.

    Raises:
        DamagedFile: the archive is damaged, or has no arrays.
        DuplicateName: two arrays have the same name.
        RefusedFile: an allowed pickle is packed better than is allowed.
    """
    file_of(source, "npz")
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty. Download or copy it again")
    found, others = Archive(), []
    with source.open() as file:
        members = members_of(source, file)
        source.prefetch(local_headers(members, PACKED * _FIRST_READ))
        for member in members:
            if member.filename.endswith("/"):
                continue  # a folder, which holds no bytes
            arrays = _Member(source, file, member, options).arrays()
            if arrays is None:
                others.append(member.filename)
            for name, array in (arrays or {}).items():
                if name in found:
                    raise DuplicateName(f"{source.label}: two members are called {name!r}")
                found[name] = array
    if others and not found:
        raise DamagedFile(
            f"{source.label}: no member of the archive is an array, which numpy.savez calls "
            f"NAME.npy. It has {', '.join(others[:5])}{', ...' if others[5:] else ''}"
        )
    bad = {name: each for name, each in found.items() if isinstance(each, Unreadable)}
    if len(bad) < len(found):
        import glob  # few archives have an array that cannot be read

        for name, each in bad.items():
            left = option("drop", glob.escape(name))
            each.message += ". To restore or convert the others, pass " + left
    else:
        damaged = [each for each in bad.values() if each.kind is DamagedFile]
        if damaged:
            raise damaged[0].error()
    found.not_arrays = tuple(others)
    return found


class _Member:
    """One member of an archive."""

    def __init__(
        self, source: Source, file: BinaryIO, member: zipfile.ZipInfo, options: OpenOptions
    ) -> None:
        self._source = source
        self._file = file
        self._member = member
        self._options = options
        self._name = member.filename.removesuffix(_SUFFIX)
        self._what = f"{source.label}: member {member.filename!r}"
        self._shape: tuple[int, ...] = ()  # as far as they are known
        self._dtype: Any = UNKNOWN

    def arrays(self) -> dict[str, Any] | None:
        """The array of the member, or those of an allowed pickle. None if it is not an array."""
        is_called = is_called_array(self._member.filename)
        try:
            check_packing(self._member, self._what, CODECS)
        except DamagedFile as error:
            return {self._name: self._unreadable(error)} if is_called else None
        try:
            offset = data_offset(self._file, self._member, self._what, CODECS)
        except OtherName:
            raise  # the names of the others cannot be trusted either
        except DamagedFile as error:
            return {self._name: self._unreadable(error)}
        try:
            head = self._head(offset, _FIRST_READ)
        except DamagedFile as error:
            return {self._name: self._unreadable(error)} if is_called else None
        if not is_called and not head.startswith(MAGIC):
            return None
        try:
            return self._arrays(offset, head)
        except DuplicateName:
            raise
        except InitregError as error:
            return {self._name: self._unreadable(error)}

    def _unreadable(self, error: InitregError) -> Unreadable:
        return Unreadable(self._shape, self._dtype, said(error), kind=type(error))

    def _head(self, offset: int, count: int) -> bytes:
        return first_bytes(self._file, offset, self._member, count, self._what)

    def _arrays(self, offset: int, head: bytes) -> dict[str, Any]:
        size = header_size(head, self._what)
        header = parse_header(
            head if size <= len(head) else self._head(offset, size),
            self._what,
        )
        if not header.is_pickle:
            return {self._name: self._extent(offset, header)}
        self._shape, self._dtype = header.shape, "object"
        if not self._options.allow_pickle:
            raise refused_pickle(self._what)
        return self._pickled(offset, header)

    def _extent(self, offset: int, header: Header) -> Extent:
        member, self._shape = self._member, header.shape
        count, dtype = math.prod(header.shape), header.descr
        if isinstance(dtype, list):
            dtype = dtypes.name_of(structured_dtype(dtype, self._what, count))
        try:
            nbytes = count * dtypes.stored_itemsize(dtype)
        except TypeError as error:
            raise DamagedFile(f"{self._what} has a dtype that cannot be read: {error}") from error
        self._dtype = dtype
        if header.size + nbytes != member.file_size:
            raise DamagedFile(
                f"{self._what} of shape {header.shape} and dtype {dtype} takes {nbytes:,} bytes, "
                f"but the archive has {member.file_size - header.size:,} for it. Download or copy "
                "the file again"
            )
        check_size(member, member.file_size, self._what, math.inf)
        if offset + member.compress_size > self._source.size:
            raise DamagedFile(
                f"{self._what} should end at byte {offset + member.compress_size:,}, but the file "
                f"has {self._source.size:,} bytes. Download or copy it again"
            )
        assert self._source.path is not None
        return Extent(
            file=self._source.path,
            offset=offset,
            length=member.compress_size,
            shape=header.shape,
            dtype=dtype,
            order=header.order,
            skip=header.size,
            codec=CODECS[member.compress_type],
            checksum=("crc32", member.CRC),
        )

    def _pickled(self, offset: int, header: Header) -> dict[str, Any]:
        """The arrays in an object array, ``weights/0`` and so on. **This runs its code.**"""
        check_size(self._member, self._member.file_size, self._what, self._options.max_inflation)
        data = all_bytes(self._file, offset, self._member, self._what)
        found = read_pickled(io.BytesIO(data), header, self._what)
        arrays = arrays_in(found, self._name, self._what)
        if arrays is not None:
            return arrays
        arrays = flatten({self._name: found}, self._what, lenient=True)
        # As with numpy, an array of other objects can be read. No variable takes it.
        is_other = found.shape and isinstance(arrays[self._name], Unreadable)
        return {self._name: found} if is_other else arrays
