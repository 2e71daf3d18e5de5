"""Writing a zip archive whose stored members have their bytes at multiples of 64.

``zipfile`` is not used because of its checksums: with them, storing 430 MB takes 1.6 times as long
as writing the bytes alone; with those of ISA-L it takes no longer (measured). ISA-L also deflates
weights 10 times as fast as zlib, and into as few bytes. Only what zlib packs 5-fold and more, such
as sparse weights, takes a tenth more.

Source of the layout: PKWARE's APPNOTE, 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16
(its ends) and 4.5.3 (zip64). An extra field in the local header fills the gap before the bytes, as
Android's apksigner and zipalign do it. Readers skip fields that they do not know.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

ALIGNMENT = 64  # bytes
LONGEST_NAME = 0xFFFF  # bytes

_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF  # such a number and larger ones are in a zip64 field
_STORED, _DEFLATED = 0, 8
_LEVEL = 3  # the highest of ISA-L; packs repetitions up to 340-fold
_LOW_LEVEL = 0  # packs them 100-fold
_MOST_TIMES = 1000
_CHUNK = 1 << 20  # bytes packed at a time
_UTF8 = 0x800
_PLAIN_VERSION, _ZIP64_VERSION = 20, 45
_UNIX = 3 << 8
_MODE = 0o100644 << 16  # a file that its owner writes and everybody reads
_DATE = 0x21  # 1980-01-01, the first date of the format. The same arrays make the same file

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_SIZES_64 = struct.Struct("<2H2Q")  # the sizes of a member, in its local header
_ZIP64 = 0x0001
_PADDING = struct.Struct("<3H")  # the number of the field, the bytes that follow, the alignment
_PADDING_ID = 0xD935


class ZipWriter:
    """Writes an archive: add members, then call :meth:`finish`. ``file`` must be at its start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._count = 0
        self._directory = bytearray()

    def store(self, name: str, head: bytes, data: bytes | memoryview) -> None:
        """Add a member of ``head`` and then ``data``, which begins at a multiple of 64 bytes."""
        from isal import isal_zlib

        crc = isal_zlib.crc32(data, isal_zlib.crc32(head))
        size = len(head) + len(data)
        member = _Member(name, _STORED, crc, size, size, is_large=size >= _MOST_32)
        begin = self._at + len(member.header()) + len(head)
        header = member.header(_padding(-begin % ALIGNMENT))
        self._file.write(header)
        self._file.write(head)
        self._file.write(data)
        self._enter(member, len(header))

    def deflate(self, name: str, head: bytes, data: bytes | memoryview) -> None:
        """Add a member, packed, but not more than 1000-fold. A file that is packed better looks as
        if it should fill somebody's memory, and initreg refuses it by default."""
        size = len(head) + len(data)
        is_large = size + size // 1000 + _CHUNK >= _MOST_32  # data that does not pack grows a bit
        begin = self._at + len(_Member(name, _DEFLATED, 0, 0, 0, is_large).header())
        for level in (_LEVEL, _LOW_LEVEL):
            self._file.seek(begin)
            packed, crc = self._pack(head, data, level)
            if size <= packed * _MOST_TIMES:
                break
        # The header comes last, because only now its sizes and its checksum are known.
        self._file.seek(self._at)
        member = _Member(name, _DEFLATED, crc, packed, size, is_large)
        header = self._file.write(member.header())
        self._file.seek(begin + packed)
        self._enter(member, header)

    def _pack(self, head: bytes, data: bytes | memoryview, level: int) -> tuple[int, int]:
        """Write both, packed. Returns the packed bytes and the checksum of the unpacked ones."""
        from isal import isal_zlib

        engine = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
        crc = isal_zlib.crc32(head)
        packed = self._file.write(engine.compress(head))
        for at in range(0, len(data), _CHUNK):
            chunk = data[at : at + _CHUNK]
            crc = isal_zlib.crc32(chunk, crc)
            packed += self._file.write(engine.compress(chunk))
        return packed + self._file.write(engine.flush()), crc

    def finish(self) -> None:
        """Write the directory of the members. The file is an archive after this."""
        start, size, count = self._at, len(self._directory), self._count
        self._file.write(self._directory)
        if start >= _MOST_32 or size >= _MOST_32 or count >= _MOST_16:
            made = _UNIX | _ZIP64_VERSION
            rest = _END_64.size - 12  # the size of this record without its first two fields
            self._file.write(
                _END_64.pack(b"PK\6\6", rest, made, _ZIP64_VERSION, 0, 0, count, count, size, start)
            )
            self._file.write(_LOCATOR.pack(b"PK\6\7", 0, start + size, 1))
        count = count if count < _MOST_16 else 0xFFFF
        size = size if size < _MOST_32 else 0xFFFFFFFF
        start = start if start < _MOST_32 else 0xFFFFFFFF
        self._file.write(_END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0))

    def _enter(self, member: _Member, header: int) -> None:
        """Add a member that was written, with a header of so many bytes, to the directory."""
        start, wide = self._at, []
        self._at += header + member.packed
        self._count += 1
        size, packed = member.size, member.packed
        if member.is_large:
            wide += [size, packed]
            size = packed = 0xFFFFFFFF
        if start >= _MOST_32:
            wide.append(start)
            start = 0xFFFFFFFF
        extra = struct.pack(f"<2H{len(wide)}Q", _ZIP64, 8 * len(wide), *wide) if wide else b""
        version = _ZIP64_VERSION if wide else _PLAIN_VERSION
        name = member.name.encode()
        self._directory += _CENTRAL.pack(
            b"PK\1\2", _UNIX | version, version, member.flags, member.method, 0, _DATE, member.crc,
            packed, size, len(name), len(extra), 0, 0, 0, _MODE, start,
        )  # fmt: skip
        self._directory += name + extra


class _Member(NamedTuple):
    """What the archive says about a member. ``is_large``: its sizes are in a zip64 field."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    is_large: bool

    @property
    def flags(self) -> int:
        """The flag that names the encoding of the name."""
        return 0 if self.name.isascii() else _UTF8

    def header(self, padding: bytes = b"") -> bytes:
        """Its local header. ``padding`` is an extra field that aligns its bytes."""
        size, packed, extra = self.size, self.packed, padding
        if self.is_large:
            extra = _SIZES_64.pack(_ZIP64, 16, size, packed) + padding
            size = packed = 0xFFFFFFFF
        version = _ZIP64_VERSION if self.is_large else _PLAIN_VERSION
        name = self.name.encode()
        fixed = _LOCAL.pack(
            b"PK\3\4", version, self.flags, self.method, 0, _DATE, self.crc, packed, size,
            len(name), len(extra),
        )  # fmt: skip
        return fixed + name + extra


def _padding(length: int) -> bytes:
    """An extra field of ``length`` bytes, or of 64 more if ``length`` is too short for a field."""
    if not length:
        return b""
    if length < _PADDING.size:
        length += ALIGNMENT
    return _PADDING.pack(_PADDING_ID, length - 4, ALIGNMENT).ljust(length, b"\0")
