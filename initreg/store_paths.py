"""The path of a file in a store, with the part of pathlib's interface that formats use."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import NoReturn, Protocol

from initreg.errors import LocalOnly


class Files(Protocol):
    """What a path asks of its store, as :class:`initreg.storage.store_files.StoreFiles` answers."""

    def url(self, key: str) -> str: ...
    def is_there(self, key: str) -> bool: ...
    def is_folder(self, key: str) -> bool: ...


class StorePath:
    """A file or folder in a store, as a :class:`pathlib.Path` is one on disk.

    Code that would open it as a local file gets a :class:`LocalOnly`.

    Args:
        files: the store.
        key: the path in the store, with ``/`` between the names.
    """

    __slots__ = ("files", "key")

    def __init__(self, files: Files, key: str) -> None:
        self.files = files
        self.key = key

    @property
    def name(self) -> str:
        """The last part of the path. An open file has the name that it says."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> StorePath:
        return StorePath(self.files, self.key.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> StorePath:
        return self.parent / name

    def __truediv__(self, name: str | Path) -> StorePath:
        if not self.key:
            return StorePath(self.files, str(name))
        return StorePath(self.files, f"{self.key.rstrip('/')}/{name}")

    def absolute(self) -> StorePath:
        return self

    def exists(self) -> bool:
        return self.files.is_there(self.key)

    def is_dir(self) -> bool:
        return self.exists() and self.files.is_folder(self.key)

    def is_file(self) -> bool:
        return self.exists() and not self.files.is_folder(self.key)

    def is_symlink(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and self.files is other.files and self.key == other.key

    def __hash__(self) -> int:
        return hash((id(self.files), self.key))

    def __str__(self) -> str:
        return self.files.url(self.key)

    def __repr__(self) -> str:
        return f"StorePath({str(self)!r})"

    def __fspath__(self) -> NoReturn:
        raise LocalOnly(
            f"{self}: only a local file can be read so. Download it, or give the URL as "
            "'simplecache::URL', if its store is one of fsspec's"
        )


FilePath = Path | StorePath  # where the bytes of a file are
