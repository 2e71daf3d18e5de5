"""Keras's ``.keras``: a zip archive with the model's config and an HDF5 file of its weights.

Source of the layout: ``keras/src/saving/saving_lib.py``. Keras stores the weights unpacked, so
that their bytes can be read where they lie in the archive.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import BinaryIO

from initreg import DamagedFile, OpenOptions, RefusedFile, Source
from initreg_formats.h5.claiming import WEIGHTS
from initreg_formats.h5.container import Container
from initreg_formats.zip_member import data_offset

_CHUNK = 1 << 20
_RATIO = 1032  # deflate packs no better
_FAULTS = (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, RuntimeError)


def open_archive(source: Source, options: OpenOptions) -> Container:
    """The weights in the archive. Raises DamagedFile.

    The archive's checksum is one for the whole file of weights, so it is verified here, at once,
    rather than with each array: the arrays are read from the page cache afterwards.
    """
    what = source.label
    file = source.open()
    try:
        member = _member(file, what, options.max_inflation)
        start = data_offset(file, member, f"{what}: its {WEIGHTS}")
        if member.compress_type == zipfile.ZIP_STORED:
            if start + member.file_size > source.size:
                raise DamagedFile(f"{what}: its {WEIGHTS} ends beyond the archive")
            if options.verify:
                _verify(file, start, member, what)
            path, content = source.path, file
        else:
            with file:
                path, start, content = None, 0, _unpack(file, member, what)
        container = Container(
            what, path, start, source.size, content, member.file_size, options.max_inflation
        )
        container.has_checksum = options.verify or member.compress_type != zipfile.ZIP_STORED
        return container
    except BaseException:
        file.close()
        raise


def _member(file: BinaryIO, what: str, max_inflation: float) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except _FAULTS as error:
        raise DamagedFile(
            f"{what}: not a whole zip archive ({error}): the file is truncated or corrupt. "
            "Download or copy it again"
        ) from error
    found = [member for member in members if member.filename == WEIGHTS]
    if len(found) != 1:
        names = ", ".join(member.filename for member in members[:8])
        raise DamagedFile(f"{what}: a zip archive with {len(found)} {WEIGHTS}; it has {names}")
    member = found[0]
    limit = member.compress_size * (1 if member.compress_type == zipfile.ZIP_STORED else _RATIO)
    if member.file_size > limit:
        raise DamagedFile(
            f"{what}: its {WEIGHTS} claims to unpack from {member.compress_size:,} to "
            f"{member.file_size:,} bytes, more than it can"
        )
    packed, unpacked = member.compress_size, member.file_size
    RefusedFile.check_inflation(f"{what}: its {WEIGHTS}", packed, unpacked, max_inflation)
    return member


def _verify(file: BinaryIO, start: int, member: zipfile.ZipInfo, what: str) -> None:
    file.seek(start)
    checksum, left = 0, member.file_size
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            break
        checksum = zlib.crc32(chunk, checksum)
        left -= len(chunk)
    if left or checksum != member.CRC:
        raise DamagedFile(
            f"{what}: its {WEIGHTS} fails its crc32: the archive says {member.CRC:08x}, its bytes "
            f"give {checksum:08x}. The file is corrupt: download or copy it again"
        )


def _unpack(file: BinaryIO, member: zipfile.ZipInfo, what: str) -> io.BytesIO:
    """The member in memory: it has its declared size, which :func:`_member` found justified, and
    its checksum, or DamagedFile is raised."""
    unpacked = io.BytesIO()
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as packed:
            while chunk := packed.read(_CHUNK):
                unpacked.write(chunk)
    except (*_FAULTS, zlib.error) as error:
        raise DamagedFile(
            f"{what}: its {WEIGHTS} cannot be unpacked: {error}. Download or copy the file again"
        ) from error
    if unpacked.tell() != member.file_size:
        raise DamagedFile(
            f"{what}: its {WEIGHTS} unpacks to {unpacked.tell():,} of {member.file_size:,} bytes"
        )
    return unpacked
