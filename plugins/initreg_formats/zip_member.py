"""Where the bytes of a member lie in a zip archive, for the formats that read them in place.

Source: PKWARE's APPNOTE, 4.3.7 (local file header) and 4.4.4 (general purpose flag).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from initreg import DamagedFile

if TYPE_CHECKING:
    import zipfile

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # of an archive with members, and of one without
_LOCAL_HEADER = 30  # bytes, then the name and the extra field
_ENCRYPTED, _UTF8 = 0x1, 0x800
_STORED, _DEFLATED = 0, 8


def data_offset(file: BinaryIO, member: zipfile.ZipInfo, what: str) -> int:
    """Where the member's own bytes begin: its own header's lengths decide, not the directory's.

    Raises DamagedFile, naming ``what``, if there is no such header, or one of another name, or if
    the member is encrypted or packed otherwise than stored or deflated.
    """
    if member.flag_bits & _ENCRYPTED:
        raise DamagedFile(f"{what} is encrypted")
    if member.compress_type not in (_STORED, _DEFLATED):
        raise DamagedFile(
            f"{what} is packed by method {member.compress_type}; numpy and Keras write, and "
            "initreg reads, stored and deflated members"
        )
    file.seek(member.header_offset)
    head = file.read(_LOCAL_HEADER)
    if len(head) < _LOCAL_HEADER or not head.startswith(MAGIC[0]):
        raise DamagedFile(f"{what} has no local header where the archive's directory says")
    names = int.from_bytes(head[26:28], "little")
    extra = int.from_bytes(head[28:30], "little")
    utf8 = int.from_bytes(head[6:8], "little") & _UTF8
    name = file.read(names).decode("utf-8" if utf8 else "cp437", errors="replace")
    if name != member.orig_filename:
        raise DamagedFile(
            f"{what} is called {name!r} where its bytes are: the file is corrupt. Download or copy "
            "it again"
        )
    return member.header_offset + _LOCAL_HEADER + names + extra
