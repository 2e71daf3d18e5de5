"""Files whose digest is computed while they are written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from initreg.storage.hashed_files import BUFFER, HashedFile, digests_of
from initreg.storage.manifests import FileDigest, digest_of_file


def test_from_front_to_back(tmp_path: Path) -> None:
    """The digest is that of the bytes in the file, however large the pieces were."""
    path = tmp_path / "m.bin"
    large = np.arange(BUFFER, dtype="<f4").view("u1").data
    pieces = [b"head", large, b"", bytearray(b"middle"), large[: BUFFER + 1], b"end"]
    with HashedFile(path) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
    assert path.read_bytes() == b"".join(pieces)
    assert file.digest(path) == FileDigest(
        sum(map(len, pieces)), hashlib.sha256(b"".join(pieces)).hexdigest()
    )


def test_a_small_buffer_may_be_used_again(tmp_path: Path) -> None:
    """What is small is copied before it is hashed."""
    path = tmp_path / "m.bin"
    buffer = bytearray(100)
    with HashedFile(path) as file:
        for number in range(100):
            buffer[:] = bytes([number]) * 100
            file.write(buffer)
    assert file.digest(path) == digest_of_file(path)


def test_not_from_front_to_back(tmp_path: Path) -> None:
    """A file of which a part is written twice, or a part is skipped, has to be read again."""
    for number, places in enumerate(((0, 4, 0), (0, 100), (10,))):
        path = tmp_path / f"{number}.bin"
        with HashedFile(path) as file:
            for place in places:
                file.seek(place)
                file.write(b"data")
        assert file.digest(path) is None
        assert digests_of({"m": path}, {path: file}) == {"m": digest_of_file(path)}


def test_a_file_that_is_open_or_was_changed(tmp_path: Path) -> None:
    """There is no digest before the file is closed, nor after another length was given to it."""
    path = tmp_path / "m.bin"
    with HashedFile(path) as file:
        file.write(b"data")
        assert file.digest(path) is None
    assert file.digest(path) == digest_of_file(path)
    with path.open("ab") as other:
        other.write(b"more")
    assert file.digest(path) is None
