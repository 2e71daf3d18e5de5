"""Members of a zip archive, for the formats that read the bytes of a member in place.

Source: PKWARE's APPNOTE, 4.3.7 (local file header) and 4.4.4 (general purpose flag).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from initreg import DamagedFile, InitregError, RefusedFile, Source

if TYPE_CHECKING:
    import zipfile

# The first bytes of an archive with members, and of an empty one.
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_LOCAL_HEADER = 30  # bytes, then the name and the extra field
_EXTRA = 64  # bytes; enough for the usual extra field
_ENCRYPTED, _UTF8 = 0x1, 0x800
_METHODS = {0: "stored", 8: "deflated", 12: "packed by bzip2", 14: "packed by LZMA"}
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14  # APPNOTE, 4.4.5


class OtherName(DamagedFile):
    """A member has one name in the archive's directory, and another one where its bytes are. So it
    is not known which bytes belong to which name."""


@contextlib.contextmanager
def zip_errors(fault: str) -> Iterator[None]:
    """Turn whatever zipfile raises for a damaged archive into a DamagedFile that says ``fault``."""
    import zipfile
    import zlib

    try:
        yield
    except InitregError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        NotImplementedError,
        OSError,
        EOFError,
        RuntimeError,
    ) as error:
        raise DamagedFile(
            f"{fault} ({error}). The file is truncated or corrupt. Download or copy it again"
        ) from error


def members_of(source: Source, file: BinaryIO) -> Sequence[zipfile.ZipInfo]:
    """The members that an archive's directory lists, which claiming has read already.

    Args:
        source: the archive.
        file: the same, open.

    Raises:
        DamagedFile: it is not a complete archive.
    """
    if source.member_infos is not None:
        return source.member_infos
    import zipfile

    fault = f"{source.label}: not a complete zip archive"
    with zip_errors(fault), zipfile.ZipFile(file) as archive:
        return archive.infolist()


def check_packing(
    member: zipfile.ZipInfo, what: str, methods: Collection[int] = (STORED, DEFLATED)
) -> None:
    """Check that a member is packed in one of these ways, and not encrypted.

    Raises DamagedFile, whose message begins with ``what``.
    """
    if member.flag_bits & _ENCRYPTED:
        raise DamagedFile(f"{what} is encrypted. Save it without a password")
    if member.compress_type not in methods:
        known = " or ".join(_METHODS[method] for method in sorted(methods))
        raise DamagedFile(
            f"{what} is packed by method {member.compress_type}, which initreg does not read. Save "
            f"it {known}"
        )


def data_offset(
    file: BinaryIO,
    member: zipfile.ZipInfo,
    what: str,
    methods: Collection[int] = (STORED, DEFLATED),
) -> int:
    """Where the member's own bytes begin, in bytes from the start of the archive.

    The lengths in the member's local header decide, not those in the archive's directory.

    Args:
        file: the archive.
        member: the member, as the archive's directory lists it.
        what: what messages call the member.
        methods: the ways of packing that can be read.

    Raises:
        DamagedFile: there is no local header, it has another name (an OtherName), or the member is
            encrypted or packed in another way. The message begins with ``what``.
    """
    check_packing(member, what, methods)
    file.seek(member.header_offset)
    head = file.read(_LOCAL_HEADER)
    if len(head) < _LOCAL_HEADER or not head.startswith(MAGIC[0]):
        raise DamagedFile(
            f"{what} has no local header where the archive's directory says. Download or copy the "
            "file again"
        )
    names = int.from_bytes(head[26:28], "little")
    extra = int.from_bytes(head[28:30], "little")
    utf8 = int.from_bytes(head[6:8], "little") & _UTF8
    name = file.read(names).decode("utf-8" if utf8 else "cp437", errors="replace")
    if name != member.orig_filename:
        raise OtherName(
            f"{what} is called {name!r} where its bytes are. The file is corrupt. Download or copy "
            "it again"
        )
    return member.header_offset + _LOCAL_HEADER + names + extra


def local_headers(members: Iterable[zipfile.ZipInfo], after: int) -> Iterator[tuple[int, int]]:
    """Where the local headers of members are, and the first bytes after them.

    Args:
        members: the members, as the archive's directory lists them.
        after: how many bytes after the header are of use.

    Yields:
        An offset and a length, for ``Source.prefetch``.
    """
    for member in members:
        size = _LOCAL_HEADER + len(member.orig_filename.encode()) + _EXTRA
        yield member.header_offset, size + min(after, member.compress_size)


def check_size(member: zipfile.ZipInfo, unpacked: int, what: str, max_inflation: float) -> None:
    """Check the size that a member claims, before it is read. For what initreg reads itself (an
    ``Extent``) that is done already.

    Args:
        member: the member, as the archive's directory lists it.
        unpacked: the bytes that it should have once it is unpacked.
        what: what messages call the member.
        max_inflation: how many times its packed size it may take, as in ``OpenOptions``.

    Raises:
        DamagedFile: the member cannot have that many bytes.
        RefusedFile: it is packed better than is allowed.
    """
    packed = member.compress_size
    if member.compress_type != STORED:
        if member.compress_type == DEFLATED:
            DamagedFile.check_deflate(what, packed, unpacked)
        RefusedFile.check_inflation(what, packed, unpacked, max_inflation)
    elif unpacked > packed:
        raise DamagedFile(
            f"{what} should have {unpacked:,} bytes, but the archive holds {packed:,} for it. "
            "Download or copy the file again"
        )
