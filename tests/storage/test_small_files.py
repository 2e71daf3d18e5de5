"""initreg.storage.small_files: small files beside a source, read whole if that is safe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from initreg import DamagedFile, UnreadableFile
from initreg.storage import small_files


def test_content(tmp_path: Path) -> None:
    """All bytes of a file are read, also through a link, unless it is too large."""
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    (tmp_path / "b").symlink_to(path)
    assert (
        small_files.content(path, 5, "it")
        == small_files.content(tmp_path / "b", 9, "it")
        == b"12345"
    )
    with pytest.raises(
        DamagedFile, match="a: the file is too large: a manifest has at most 4 bytes"
    ):
        small_files.content(path, 4, "a manifest")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe is not waited for, a device is not read, and a missing file is an error."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DamagedFile, match=f"^{path}: this is not a regular file$"):
            small_files.content(path, 100, "it")
        with pytest.raises(OSError, match="is not a regular file"):
            small_files.opened(path)
    for path, why in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(UnreadableFile) as raised:
            small_files.content(path, 100, "it")
        assert str(raised.value) == f"{path}: cannot be read: {why}"


def test_opened(tmp_path: Path) -> None:
    """A file is opened for reading from its beginning."""
    (tmp_path / "a").write_bytes(b"12345")
    with small_files.opened(tmp_path / "a") as file:
        assert (file.read(2), file.read()) == (b"12", b"345")
