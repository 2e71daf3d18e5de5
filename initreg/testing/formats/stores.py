"""Are the arrays the same if the files are in a store, as those of a URL are?"""

from __future__ import annotations

import os
from pathlib import Path

from initreg.errors import InitregError
from initreg.storage.store_files import StoreFiles
from initreg.storage.stores import Found, StoreError, StoreStamp
from initreg.store_paths import StorePath
from initreg.testing.formats.base import Base, Sample, check, fail, what

_REMEDY = (
    "Return Extents, and read with source.open(), source.read(), source.part(name) and "
    'initreg.format_tools.files. If a library of yours needs a local file: exempt = {"stores": why}'
)


class StoresTests(Base):
    """The part of the contract that is about files that are not on the disk."""

    def test_stores_are_read(self, made: list[Sample], tmp_path: Path) -> None:
        """A source in a store has the arrays of the local one."""
        self._skip_if_exempt("files")
        self._skip_if_exempt("stores")
        for sample, _ in self._copies(made, tmp_path):
            path = Path(sample.source)
            store = _FolderStore(path.parent)
            try:
                found = self._read_all(StorePath(StoreFiles(store), path.name))
            except InitregError as error:
                fail(f"{what(sample)}: in a store: {error}. {_REMEDY}")
            check(sample, found, "read from a store")


class _FolderStore:
    """A folder, as a store sees it: a plugin that opens a path itself finds nothing there."""

    concurrency = 4

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, key: str) -> str:
        return f"kit://{key}"

    def find(self, key: str) -> Found | None:
        path = self._folder / key
        if path.is_dir():
            return Found(None)
        return Found(StoreStamp(path.stat().st_size, "1")) if path.is_file() else None

    def names(self, key: str) -> list[str]:
        try:
            return os.listdir(self._folder / key)
        except OSError as error:
            raise StoreError("there is no such folder") from error

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        with open(self._folder / key, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def after_fork(self) -> None:
        return
