"""What a store is: a place for files that is not the disk, such as a bucket or a zip archive.

Whatever can do these few things can be a store. :mod:`initreg.storage.fsspec_store` is one over
fsspec. :mod:`initreg.storage.store_files` reads from a store: it keeps what it has read, and tries
again what failed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

from initreg.records import record

# In a text: what is between "://" and "@", and what follows "?" in a URL.
_USER = r"(://)[^/\s'\"]*@"
_QUERY = r"(?i)(://[^?\s'\"]*)\?[^\s'\"]*?(?=::[a-z]|[\s'\"]|$)"


@record()
class StoreStamp:
    """What identifies an object of a store and its content.

    Args:
        size: in bytes.
        version: the ETag, the generation or the time of modification, as the store has it. ``""``
            if it has none of them.
    """

    size: int
    version: str


@record()
class Found:
    """What a store says about a key.

    Args:
        stamp: of a file. None for a folder.
        head: the first bytes of the file, if the answer came with them.
        tail: the last bytes of the file, if the answer came with them.
        modified_at: when it was written, in seconds since the epoch. 0 if the store does not say.
    """

    stamp: StoreStamp | None
    head: bytes = b""
    tail: bytes = b""
    modified_at: float = 0.0


class StoreError(Exception):
    """A store cannot do what it was asked for, and it is of no use to ask again.

    The message completes ``"s3://bucket/key: cannot be read: "``.
    """


class Replaced(StoreError):
    """An object is not the one any more that was looked at first."""


class NoRanges(StoreError):
    """A store sends nothing but whole files."""


class Transient(Exception):
    """A store did not answer well. It may do so when it is asked again."""


class Store(Protocol):
    """A place for files.

    Keys are paths with ``/`` between the names. Each method may raise :class:`StoreError`. Every
    other exception means that the same call may succeed later. All methods can be called from
    several threads.
    """

    concurrency: int
    """How many reads at once are of use."""

    def url(self, key: str) -> str:
        """What to call a key in a message. It shows no password and no signature."""
        ...

    def find(self, key: str) -> Found | None:
        """What is at a key. None if nothing is there."""
        ...

    def names(self, key: str) -> list[str]:
        """The names in a folder. Raises StoreError if the store cannot list."""
        ...

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes of a file, which lie in it by its stamp.

        Raises Replaced if the file has another stamp now.
        """
        ...

    def after_fork(self) -> None:
        """Called in a child process, which has no threads and connections of its own yet."""
        ...


class DirectStore(Store, Protocol):
    """A store that can read into memory, which spares a copy."""

    def read_into(self, key: str, stamp: StoreStamp, offset: int, into: memoryview) -> None:
        """As ``read``, of ``len(into)`` bytes. After an error, ``into`` may hold anything."""
        ...


class WritableStore(Store, Protocol):
    """A store that can be written to."""

    def write(self, key: str, file: Path) -> None:
        """Upload a local file. Nobody sees a part of it, and what was there stays until then."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file. It is not an error if it is not there."""
        ...


def without_secrets(text: str) -> str:
    """A text, in whose URLs there are no passwords and no signatures.

    >>> without_secrets("no answer from https://user:pass@host/m.npz?sig=2024:x, sorry")
    'no answer from https://host/m.npz sorry'
    """
    if "://" not in text:
        return text
    return re.sub(_QUERY, r"\1", re.sub(_USER, r"\1", text))


def in_this_process(fs: Any) -> Any:
    """The same file system of fsspec, made again after a fork: its threads are the parent's."""
    return type(fs)(*fs.storage_args, **fs.storage_options)
