"""initreg.storage.stamps: what tells one file from another of the same path."""

import os
import shutil

import pytest

from initreg.storage.stamps import Stamp


def replaced(path):
    """Another file of the same size and time, as ``rsync -t`` makes it."""
    other = path.with_name("other")
    other.write_bytes(b"B" * 10)
    os.utime(other, ns=(1, 1))
    os.replace(other, path)


def overwritten(path):
    """The same file with other content, and its time set back."""
    path.write_bytes(b"B" * 10)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [replaced, overwritten])
def test_the_same_size_and_time_do_not_make_it_the_same_file(tmp_path, change):
    """A stamp differs although nobody can see that from size and time."""
    path = tmp_path / "m"
    path.write_bytes(b"A" * 10)
    os.utime(path, ns=(1, 1))
    before = Stamp.of(path)
    change(path)
    after = Stamp.of(path)
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns) == (10, 1)
    assert after != before


def test_a_descriptor_and_its_path_have_one_stamp(tmp_path):
    """Reading changes nothing, and a copy with the same time is another file."""
    path = tmp_path / "m"
    path.write_bytes(b"A" * 10)
    with open(path, "rb") as file:
        assert file.read()
        assert Stamp.of(file.fileno()) == Stamp.of(path)
    shutil.copy2(path, tmp_path / "copy")
    assert Stamp.of(tmp_path / "copy") != Stamp.of(path)
