"""What a zip member claims about its size is checked before it is read."""

from __future__ import annotations

import zipfile

import pytest

from initreg import DamagedFile, RefusedFile
from initreg_formats.shared.zip_member import check_size


def member(method: int, packed: int) -> zipfile.ZipInfo:
    """A member as an archive's directory lists it."""
    found = zipfile.ZipInfo("a.npy")
    found.compress_type, found.compress_size = method, packed
    return found


def test_what_fits_is_accepted() -> None:
    """A stored member may have its own size, a deflated one 1,032 times as many bytes."""
    check_size(member(zipfile.ZIP_STORED, 10), 10, "m.npz: member 'a.npy'", 1000)
    check_size(member(zipfile.ZIP_DEFLATED, 1000), 1_032_000, "m.npz: member 'a.npy'", 1000)


@pytest.mark.parametrize(
    ("method", "packed", "unpacked", "says"),
    [
        (zipfile.ZIP_STORED, 10, 11, "should have 11 bytes, but the archive holds 10 for it"),
        (
            zipfile.ZIP_DEFLATED,
            1000,
            1_032_001,
            "claims to hold 1,032,001 bytes in 1,000, more than deflate can pack",
        ),
    ],
)
def test_what_cannot_be_is_damaged(method: int, packed: int, unpacked: int, says: str) -> None:
    """One byte more is an error that names the member, what was found and what was expected."""
    with pytest.raises(DamagedFile, match=f"^m.npz: member 'a.npy' {says}"):
        check_size(member(method, packed), unpacked, "m.npz: member 'a.npy'", 1000)


def test_what_is_packed_too_well_is_refused() -> None:
    """A size that deflate can reach, but that the user does not allow, is refused."""
    large = member(zipfile.ZIP_DEFLATED, 1 << 20)
    with pytest.raises(RefusedFile, match="pass max_inflation=128"):
        check_size(large, 128 << 20, "m.npz", 100)
    check_size(large, 128 << 20, "m.npz", 128)
