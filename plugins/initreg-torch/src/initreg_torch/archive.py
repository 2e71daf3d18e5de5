"""A file of ``torch.save``: a zip archive of a pickle and one member for each storage.

Source: ``caffe2/serialize/inline_container.h`` and ``torch/serialization.py``. TorchScript's
archives have the same parts.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import BinaryIO, NamedTuple

from initreg import DamagedFile, OpenOptions, RefusedFile, Source

from initreg_torch.claiming import root_of

# torch packs nothing. What others packed may have so many bytes, and beside that so many times
# those of the file: each byte of a pickle may become an object of 100 bytes.
_PLAIN = 4 << 20
_TIMES = 20
_LOCAL_HEADER = 30  # bytes, then the name and the extra field (PKWARE's APPNOTE, 4.3.7)


class Member(NamedTuple):
    """Where the bytes of a member are.

    Args:
        offset: the position of its first byte in the file.
        length: how many bytes are stored there.
        size: how many they are unpacked.
        is_packed: whether they are a deflate stream.
        crc: the CRC-32 of the unpacked bytes, None if the archive was saved without.
    """

    offset: int
    length: int
    size: int
    is_packed: bool
    crc: int | None


class Archive:
    """The members of one archive.

    Raises:
        DamagedFile: it is not a complete zip archive, or not one of torch.
    """

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self.label, self._file = source.label, file
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (
            zipfile.BadZipFile,
            ValueError,
            NotImplementedError,
            OSError,
            RuntimeError,
        ) as error:
            raise DamagedFile(
                f"{self.label}: not a complete zip archive ({error}). The file is truncated or "
                "damaged. Download or copy it again"
            ) from error
        root = root_of(tuple(info.filename for info in infos))
        if root is None:
            raise DamagedFile(f"{self.label}: a zip archive without data.pkl, so not one of torch")
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.removeprefix(root)
            if info.filename.startswith(root) and name in self._infos:
                raise DamagedFile(f"{self.label}: two members are called {info.filename!r}")
            self._infos[name if info.filename.startswith(root) else f"/{info.filename}"] = info
        # torch.serialization.set_crc32_options(False) leaves out all of them.
        self._has_sums = any(info.CRC for info in infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def member(self, name: str) -> Member:
        """Where a member is. Raises DamagedFile."""
        info = self._infos.get(name)
        what = f"{self.label}: member {name!r}"
        if info is None:
            raise DamagedFile(f"{what} is missing. Download or copy the file again")
        if info.flag_bits & 1 or info.compress_type not in (0, 8):
            raise DamagedFile(
                f"{what} is encrypted, or packed by method {info.compress_type}. Unpack and pack "
                "the archive again: zip -0"
            )
        # The directory of a damaged archive may put a member before the beginning of the file.
        self._file.seek(max(0, info.header_offset))
        head = self._file.read(_LOCAL_HEADER) if info.header_offset >= 0 else b""
        if len(head) < _LOCAL_HEADER or not head.startswith(b"PK\x03\x04"):
            raise DamagedFile(
                f"{what} is not where the archive's directory says. Download or copy the file again"
            )
        skipped = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        is_packed = info.compress_type == zipfile.ZIP_DEFLATED
        if not is_packed and info.compress_size != info.file_size:
            raise DamagedFile(f"{what} has two sizes. Download or copy the file again")
        return Member(
            info.header_offset + _LOCAL_HEADER + skipped,
            info.compress_size,
            info.file_size,
            is_packed,
            info.CRC if self._has_sums else None,
        )

    def read(self, name: str, options: OpenOptions) -> bytes:
        """The bytes of a member, checked. Raises DamagedFile or RefusedFile."""
        member = self.member(name)
        what = f"{self.label}: member {name!r}"
        size = self._file.seek(0, io.SEEK_END)
        if member.offset + member.length > size:
            raise DamagedFile(f"{what} ends beyond the file. Download or copy it again")
        if member.is_packed and member.size > _PLAIN + _TIMES * size:
            raise RefusedFile(
                f"{what} unpacks to {member.size:,} bytes, in a file of {size:,}. Interpreting "
                "it takes many times as much memory. If you trust the file, unpack the archive, "
                "and pack it again: zip -0"
            )
        self._file.seek(member.offset)
        return unpacked(self._file.read(member.length), member, what, options)


def unpacked(found: bytes, member: Member, what: str, options: OpenOptions) -> bytes:
    """The bytes of a member from those that are stored. Raises DamagedFile or RefusedFile."""
    if member.is_packed:
        RefusedFile.check_inflation(what, member.length, member.size, options.max_inflation)
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            found = stream.decompress(found, member.size + 1)
        except zlib.error as error:
            raise DamagedFile(f"{what} cannot be unpacked: {error}. Download it again") from error
    if len(found) != member.size:
        raise DamagedFile(
            f"{what} has {len(found):,} bytes, but should have {member.size:,}. Download or copy "
            "the file again"
        )
    if options.verify and member.crc is not None and zlib.crc32(found) != member.crc:
        raise DamagedFile(f"{what} does not match its checksum. Download or copy the file again")
    return found
