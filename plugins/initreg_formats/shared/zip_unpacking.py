"""The first bytes of a zip member, unpacked, however it is packed. No more than asked for come out.

``zipfile`` itself unpacks bzip2 and LZMA without a bound: 4 kB of bzip2 may give gigabytes.

Sources: PKWARE's APPNOTE, 4.4.5 (methods) and 5.8.8 (LZMA).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from initreg import DamagedFile
from initreg_formats.shared.zip_member import BZIP2, DEFLATED, LZMA, STORED

if TYPE_CHECKING:
    import zipfile

# What an Extent calls the ways of packing.
CODECS = {STORED: None, DEFLATED: "deflate", BZIP2: "bzip2", LZMA: "lzma"}
# Bytes that are read at first for each byte that is wanted: a stream begins with tables.
PACKED = 4
_CHUNK = 1 << 16  # packed bytes that are read at a time
_LZMA_HEADER = 9  # bytes
_SMALLEST_DICTIONARY = 1 << 12  # bytes


def first_bytes(
    file: BinaryIO, offset: int, member: zipfile.ZipInfo, count: int, what: str
) -> bytes:
    """The first ``count`` bytes of a member, or all of it if it has fewer.

    Args:
        file: the archive.
        offset: where the packed bytes begin.
        member: the member, packed in one of the ways of ``CODECS``.
        count: how many bytes to unpack.
        what: what messages call the member.

    Raises:
        DamagedFile: it cannot be unpacked.
    """
    file.seek(offset)
    left = member.compress_size
    if member.compress_type == STORED:
        return file.read(min(count, left))
    found = bytearray()
    try:
        if member.compress_type == LZMA:
            engine = _lzma(file.read(min(_LZMA_HEADER, left)), count)
            left -= _LZMA_HEADER
        else:
            engine = _engine(member.compress_type)
        packed: bytes = b""
        is_full = False
        size = PACKED * count
        while len(found) < count and not engine.eof:
            if not packed and not is_full:
                packed = file.read(max(0, min(_CHUNK, left, size)))
                size = _CHUNK
                left -= len(packed)
                if not packed:
                    break
            wanted = count - len(found)
            out = engine.decompress(packed, wanted)
            packed = getattr(engine, "unconsumed_tail", b"")
            is_full = len(out) == wanted
            found += out
    except Exception as error:  # each library has errors of its own
        raise DamagedFile(
            f"{what} cannot be unpacked: {error}. Download or copy the file again"
        ) from error
    return bytes(found)


def all_bytes(file: BinaryIO, offset: int, member: zipfile.ZipInfo, what: str) -> bytes:
    """All of a member, unpacked, and verified by its checksum. Its size must have been checked.

    Raises DamagedFile.
    """
    found = first_bytes(file, offset, member, member.file_size + 1, what)
    if len(found) != member.file_size:
        raise DamagedFile(
            f"{what} does not unpack to the {member.file_size:,} bytes that the archive says. "
            "Download or copy the file again"
        )
    checksum = zlib.crc32(found)
    if checksum != member.CRC:
        raise DamagedFile(
            f"{what} fails its crc32: the archive says {member.CRC:08x}, its bytes give "
            f"{checksum:08x}. The file is corrupt. Download or copy it again"
        )
    return found


def _engine(method: int) -> Any:
    if method == DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS)
    import bz2

    return bz2.BZ2Decompressor()


def _lzma(header: bytes, count: int) -> Any:
    import lzma

    if len(header) < _LZMA_HEADER or header[2:4] != b"\5\0" or header[4] >= 9 * 5 * 5:
        raise ValueError("its header is not one of LZMA")
    rest, lc = divmod(header[4], 9)
    pb, lp = divmod(rest, 5)
    # No stream refers back beyond what has come out of it.
    size = max(_SMALLEST_DICTIONARY, min(int.from_bytes(header[5:9], "little"), count))
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
