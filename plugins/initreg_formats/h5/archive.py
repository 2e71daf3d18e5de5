"""Keras's ``.keras``: a zip archive with the model's config and an HDF5 file of its weights.

Source of the layout: ``keras/src/saving/saving_lib.py``. Keras stores the weights unpacked, so
that their bytes can be read where they lie in the archive.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from initreg import DamagedFile, InitregError, OpenOptions, Source
from initreg_formats.h5.claiming import WEIGHTS
from initreg_formats.h5.container import Container
from initreg_formats.h5.vocabularies import read_vocabularies
from initreg_formats.shared.zip_member import (
    check_size,
    data_offset,
    members_of,
    zip_errors,
)
from initreg_formats.shared.zip_unpacking import all_bytes

_CHUNK = 1 << 20
_CONFIG = "config.json"
_LONGEST_CONFIG = 16 << 20  # bytes
# Parsed, it takes many times as much. So it may have so many bytes, and so many times the archive.
_SHORT_CONFIG = 1 << 20
_TIMES = 20


def open_archive(source: Source, options: OpenOptions) -> Container:
    """The weights in the archive. Raises DamagedFile, RefusedFile.

    The archive has one checksum for the whole file of weights. So it is verified here, at once,
    rather than with each array. The arrays are read from the page cache afterwards.
    """
    what = source.label
    weights = f"{what}: its {WEIGHTS}"
    file = source.open()
    try:
        members = members_of(source, file)
        member = _member(members, what)
        start = data_offset(file, member, weights)
        check_size(member, member.file_size, weights, options.max_inflation)
        is_here = True
        if member.compress_type == zipfile.ZIP_STORED:
            if start + member.file_size > source.size:
                raise DamagedFile(
                    f"{weights} ends beyond the archive. The file is truncated or corrupt. "
                    "Download or copy it again"
                )
            is_here = source.is_local or not options.verify
            if options.verify and is_here:
                _verify(file, start, member, weights)
            assert source.path is not None
            path, content, is_temporary = source.path, file, False
        if member.compress_type != zipfile.ZIP_STORED or not is_here:
            # What is in a store is fetched once: for its checksum, and for the arrays.
            start, content = 0, _unpack(file, member, weights)
            path, is_temporary = Path(f"/dev/fd/{content.fileno()}"), True
        config = _config(source, file, members)
        if is_temporary:
            file.close()
        container = Container(
            what,
            path,
            start,
            source.size,
            content,
            member.file_size,
            options,
            is_temporary,
            source,
        )
        container.config = config
        container.vocabularies = read_vocabularies(source, options)
        container.has_checksum = options.verify or member.compress_type != zipfile.ZIP_STORED
        return container
    except BaseException:
        file.close()
        raise


def _config(source: Source, file: BinaryIO, members: Sequence[zipfile.ZipInfo]) -> bytes:
    """The config of the model, for the names of its layers. Nothing if it cannot be read."""
    for member in members:
        if member.filename == _CONFIG:
            if member.file_size > min(_LONGEST_CONFIG, _SHORT_CONFIG + _TIMES * source.size):
                return b""
            what = f"{source.label}: its {_CONFIG}"
            with contextlib.suppress(InitregError), zip_errors(what):
                return all_bytes(file, data_offset(file, member, what), member, what)
    return b""


def _member(members: Sequence[zipfile.ZipInfo], what: str) -> zipfile.ZipInfo:
    """The member that holds the weights. Raises DamagedFile."""
    found = [member for member in members if member.filename == WEIGHTS]
    if len(found) != 1:
        names = ", ".join(member.filename for member in members[:8]) or "no files"
        if found:
            problem = (
                f"the archive has {len(found)} files called {WEIGHTS}, and only one is possible"
            )
        else:
            problem = f"the archive has no {WEIGHTS}"
        raise DamagedFile(f"{what}: {problem}. It has {names}")
    return found[0]


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
            f"{what} fails its crc32: the archive says {member.CRC:08x}, its bytes give "
            f"{checksum:08x}. The file is corrupt. Download or copy it again"
        )


def _unpack(file: BinaryIO, member: zipfile.ZipInfo, what: str) -> BinaryIO:
    """The member, unpacked into memory, as a file. :func:`check_size` found its size justified.

    Raises DamagedFile if it has another size than the archive says, or another checksum.
    """
    unpacked = _memory_file()
    try:
        with zip_errors(f"{what} cannot be unpacked"):
            with zipfile.ZipFile(file) as archive, archive.open(member) as packed:
                while chunk := packed.read(_CHUNK):
                    unpacked.write(chunk)
        if unpacked.tell() != member.file_size:
            raise DamagedFile(
                f"{what} unpacks to {unpacked.tell():,} bytes, where the archive says "
                f"{member.file_size:,}. Download or copy the file again"
            )
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def _memory_file() -> BinaryIO:
    """An empty file that has no name and takes memory, or, where the system has no such files, a
    temporary one."""
    if hasattr(os, "memfd_create"):
        return cast("BinaryIO", open(os.memfd_create("initreg"), "w+b", buffering=0))
    return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))
