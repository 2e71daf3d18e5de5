"""Files whose digest is computed while they are written."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initreg.storage.manifests import FileDigest, digest_of_file

if TYPE_CHECKING:
    from concurrent.futures import Future

BUFFER = 1 << 18  # bytes; larger pieces are written, and hashed, without a copy
_AHEAD = 16 << 20  # bytes that are written and not yet hashed, or one piece that is larger


class HashedFile(io.BufferedWriter):
    """A file to write to, whose SHA-256 a thread computes meanwhile.

    What was written must not be changed before the file is closed. If the file is not written from
    its front to its back, there is no digest, and it has to be read again.

    Args:
        path: the file. It becomes empty.
    """

    def __init__(self, path: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        super().__init__(io.FileIO(path, "wb"), BUFFER)
        self._sum = hashlib.sha256()
        self._at = 0  # the end of what is hashed, or will be
        self._is_in_order = True
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._pool = ThreadPoolExecutor(1, "initreg-digest")

    def write(self, data: Any) -> int:
        if self._is_in_order and self.tell() == self._at:
            size = memoryview(data).nbytes
            piece = data if size > BUFFER else bytes(data)
            self._waiting.append((size, self._pool.submit(self._sum.update, piece)))
            self._at += size
            del piece
        else:
            self._is_in_order = False
        count = super().write(data)
        while sum(size for size, _ in self._waiting) > _AHEAD:
            self._waiting.popleft()[1].result()
        return count

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._pool.shutdown()

    def digest(self, path: Path) -> FileDigest | None:
        """The digest of the closed file, which is at ``path`` now. None if it is not known."""
        if not (self.closed and self._is_in_order and os.stat(path).st_size == self._at):
            return None
        return FileDigest(self._at, self._sum.hexdigest())


def digests_of(
    files: Mapping[str, Path], hashed: Mapping[Path, HashedFile]
) -> dict[str, FileDigest]:
    """The digest of each file by its name. A file is read if its digest is not known.

    Raises:
        OSError: a file cannot be read.
    """
    found = {}
    for name, path in files.items():
        known = hashed[path].digest(path) if path in hashed else None
        found[name] = digest_of_file(path) if known is None else known
    return found
