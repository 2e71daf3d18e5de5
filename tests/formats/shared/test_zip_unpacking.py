"""The beginning of a zip member is unpacked, and no more of it."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import pytest

from initreg import DamagedFile
from initreg_formats.shared.zip_member import data_offset
from initreg_formats.shared.zip_unpacking import CODECS, all_bytes, first_bytes

CONTENT = bytes(range(256)) * 40
methods = pytest.mark.parametrize("method", CODECS)


def archive(content: bytes, method: int) -> tuple[io.BytesIO, zipfile.ZipInfo, int]:
    """An archive of one member, the member, and where its bytes begin."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("a", content)
    with zipfile.ZipFile(file) as made:
        member = made.infolist()[0]
    return file, member, data_offset(file, member, "x", CODECS)


@methods
def test_the_first_bytes(method: int) -> None:
    """As many as are asked for, or all that there are."""
    file, member, offset = archive(CONTENT, method)
    for count in (0, 1, 511, 5000, len(CONTENT), len(CONTENT) + 1):
        assert first_bytes(file, offset, member, count, "x") == CONTENT[:count]
    assert all_bytes(file, offset, member, "x") == CONTENT


@methods
def test_a_large_member_takes_no_memory(method: int) -> None:
    """The first bytes of 30 MB of zeros are unpacked alone."""
    file, member, offset = archive(bytes(30_000_000), method)
    tracemalloc.start()
    try:
        assert first_bytes(file, offset, member, 512, "x") == bytes(512)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000  # bzip2's own tables
    finally:
        tracemalloc.stop()


@methods
def test_all_of_a_member_is_verified(method: int) -> None:
    """Another size or checksum than the archive says is an error that names the member."""
    file, member, offset = archive(CONTENT, method)
    member.CRC ^= 1
    with pytest.raises(DamagedFile, match=r"^x fails its crc32"):
        all_bytes(file, offset, member, "x")
    for size in (len(CONTENT) - 1, len(CONTENT) + 1):
        member.file_size = size
        with pytest.raises(DamagedFile, match=f"^x does not unpack to the {size:,} bytes"):
            all_bytes(file, offset, member, "x")


@pytest.mark.parametrize("method", [method for method in CODECS if method])
def test_what_was_not_packed_is_an_error(method: int) -> None:
    """Bytes that are no stream."""
    file, member, offset = archive(CONTENT, method)
    file.seek(offset)
    file.write(b"\xff" * member.compress_size)
    with pytest.raises(DamagedFile, match=r"^x cannot be unpacked: .* again$"):
        all_bytes(file, offset, member, "x")
