"""A source as formats see it: what the user passed, with all that is needed to recognise it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar, overload

from initreg.errors import (
    DamagedFile,
    InitregError,
    RefusedFile,
    SourceNotFound,
    UnreadableFile,
    one_line,
)
from initreg.plugin.part_names import check as check_parts
from initreg.plugin.part_names import check_name, refuse_link_out
from initreg.storage.locating import locate
from initreg.storage.paths import Status, listed, names_in, opened, stamp_of, status
from initreg.storage.stamps import AnyStamp
from initreg.storage.stand_ins import stand_in
from initreg.storage.store_files import files_of
from initreg.store_paths import FilePath, StorePath

if TYPE_CHECKING:
    import zipfile

# A URL that has lost one of its two slashes.
_LOST = re.compile(r"(https?|ftp|file|s3|gs|hf|hdfs|az|memory):/(?!/)", re.I)
HEAD_BYTES = 4096  # an HDF5 signature may begin at 0, 512, 1024 or 2048

T = TypeVar("T")


class _Once(Generic[T]):
    """A property that is computed once for each source.

    ``functools.cached_property`` has a lock up to Python 3.11, which a child finds held that is
    forked while another thread reads a file.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, source: None, owner: Any) -> _Once[T]: ...
    @overload
    def __get__(self, source: object, owner: Any) -> T: ...
    def __get__(self, source: Any, owner: Any) -> Any:
        if source is None:
            return self
        value = source.__dict__[self._compute.__name__] = self._compute(source)
        return value


class Source:
    """A path, or any other object, that a format may claim.

    All looks at it are looks at one file: if the file is replaced or written to after the first of
    them, opening it again is an error.

    Args:
        obj: what the user passed: a path, a URL, an open binary file, or any other object.
        of: the source that this is a further file of, if there is one. initreg then watches this
            file, too: an extent in it is read only if the file is still the one that was looked at.
        storage_options: for a URL: what fsspec's file system is made with, such as credentials.

    Attributes:
        obj: what the user passed.
        path: where the source is, or None if it is not a file or folder. On the disk it is an
            absolute :class:`pathlib.Path`, with ``~`` expanded. In a store, and for an open file,
            it is a :class:`StorePath`.
        suffix: the lower-case suffix of the path with its dot, or ``""``.

    Raises:
        SourceNotFound: the path is empty, or is bytes.
        MissingLibrary: the library for such a URL is not installed.
        InitregError: an open file was opened as text, or cannot seek.
    """

    def __init__(
        self,
        obj: Any,
        of: Source | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.obj = obj
        self.path: FilePath | None = None
        # The source and its further files, by their paths.
        self._family: dict[FilePath, Source] = of._family if of is not None else {}
        found = locate(obj, storage_options)
        if found is not None:
            self.path, self._shown = found
            self._family.setdefault(self.path, self)
        self.suffix = self.path.suffix.lower() if self.path is not None else ""

    def __repr__(self) -> str:
        return f"Source({self.label})"

    @property
    def label(self) -> str:
        """What to call the source in a message: its path, or what kind of object it is."""
        if self.path is not None:
            return self._shown
        if isinstance(self.obj, Mapping):
            return f"{type(self.obj).__name__} of {len(self.obj)}"
        size = f" of {len(self.obj)}" if isinstance(self.obj, Sized) else ""
        return f"{type(self.obj).__name__}{size}"

    @_Once
    def _status(self) -> Status | None:
        if self.path is None:
            return None
        first = self._family[self.path]
        if first is not self:
            return first._status
        try:
            return status(self.path)
        except UnreadableFile:
            raise
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error

    @property
    def exists(self) -> bool:
        """Whether the path is that of a file or folder. The prefix of a checkpoint is not."""
        return self._status is not None

    @property
    def is_dir(self) -> bool:
        return self._status is not None and self._status.is_dir

    @property
    def is_file(self) -> bool:
        return self._status is not None and self._status.is_file

    @property
    def is_local(self) -> bool:
        """Whether it is a file or folder on the disk, which other libraries can open, too."""
        return isinstance(self.path, Path)

    @property
    def size(self) -> int:
        """The size of the file in bytes. It is 0 for anything else."""
        return self._status.stamp.size if self._status is not None and self.is_file else 0

    @_Once
    def head(self) -> bytes:
        """The first bytes of the file, at most ``HEAD_BYTES``. They are read once, for all formats.

        They are empty for a folder, for a path that does not exist, and for any other object.

        Raises:
            UnreadableFile: the system cannot read the file.
            RefusedFile: it is a pipe or a device.
        """
        if self._status is None or self.is_dir:
            return b""
        if not self.is_file:
            raise RefusedFile(f"{self.label}: neither a file nor a folder, so it is not opened")
        return self.read(0, HEAD_BYTES)

    @_Once
    def names(self) -> tuple[str, ...]:
        """The names in the folder, sorted. It is empty if the source is not a folder.

        Raises:
            UnreadableFile: the folder cannot be listed.
        """
        if not self.is_dir:
            return ()
        assert self.path is not None
        try:
            found = names_in(self.path)
        except UnreadableFile:
            raise
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be listed: {error.strerror}") from error
        if found is None:
            raise UnreadableFile(
                f"{self.label}: cannot be listed, because its store does not say what is in it. "
                "Give a file by its path"
            )
        return tuple(sorted(found))

    @_Once
    def members(self) -> tuple[str, ...] | None:
        """The names in the zip archive, read once for all formats.

        None if the source is not a complete zip archive.
        """
        infos = self.member_infos
        return None if infos is None else tuple(info.filename for info in infos)

    @_Once
    def member_infos(self) -> tuple[zipfile.ZipInfo, ...] | None:
        """The members as ``zipfile`` describes them. None as for :attr:`members`."""
        import zipfile

        if not self.head.startswith(b"PK"):
            return None
        try:
            with self.open() as file, zipfile.ZipFile(file) as archive:
                return tuple(archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, RuntimeError):
            return None

    def open(self) -> BinaryIO:
        """Open the file for reading bytes.

        Raises:
            UnreadableFile: the system cannot open it.
            DamagedFile: it is not the file any more that was looked at first.
            InitregError: the source is not a path.
        """
        if self.path is None:
            raise InitregError(f"{self.label} is not a file")
        first = self._status
        try:
            file = opened(self.path)
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error
        if first is not None and stamp_of(file) != first.stamp:
            file.close()
            raise DamagedFile(
                f"{self.label}: was replaced or written to after it was looked at first. Open it "
                "again"
            )
        return file

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``. A negative offset counts from the end.

        Raises:
            UnreadableFile: the system cannot read them.
        """
        with self.open() as file:
            try:
                start = offset if offset >= 0 else max(0, self.size + offset)
                file.seek(start)
                # Never more than the file has, because read() allocates the memory first.
                return file.read(max(0, min(length, self.size - start)))
            except OSError as error:
                raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error

    def not_found(self) -> SourceNotFound:
        """The error for a path that does not exist, with similar names from its folder."""
        assert self.path is not None
        if isinstance(self.obj, Path) and _LOST.match(str(self.obj)):
            return SourceNotFound(
                f"{self.label}: looks like a URL that has become a pathlib.Path, which removes one "
                "of its slashes. Give the URL as a str, or as a UPath of universal_pathlib"
            )
        folder = self.path.parent
        if isinstance(folder, StorePath):
            names = listed(folder)
        elif (names := listed(folder)) == [] and not os.path.isdir(folder):
            return SourceNotFound(f"{self.label}: no such file, and no such folder {str(folder)!r}")
        from initreg.text.near import near

        found = near(self.path.name, names)
        found += sorted(n for n in names if n.startswith(self.path.name) and n not in found)[:3]
        hint = f". Similar names: {', '.join(map(one_line, found))}" if found else ""
        return SourceNotFound(f"{self.label}: no such file or checkpoint{hint}")

    def part(self, name: str) -> Source:
        """A further file of the source: one in the same folder, or one in it if it is a folder.

        Use it for every file that your format finds by itself, such as the parts that an index
        names. All formats then treat links, missing parts and failed downloads alike.

        Args:
            name: the name of the file.

        Raises:
            RefusedFile: the name leads to another folder, or the file is a link out of the folder.
            DamagedFile: the file is missing, is a folder, or is what a failed download left.
        """
        if self.path is None:
            raise InitregError(f"{self.label} is not a file, and has no parts")
        check_name(name, self.label, "" if self.is_dir else self.path.name)
        folder = self.path if self.is_dir else self.path.parent
        path = folder.absolute() / name  # absolute, so that a leading ~ means nothing
        if isinstance(path, Path):
            main = self.path if isinstance(self.path, Path) and not self.is_dir else None
            refuse_link_out(path, self.label, main)
        part = Source(path, of=self)
        if not part.exists:
            raise DamagedFile(
                f"{self.label}: part {name} is missing. It should lie in {folder}. Download it too"
            )
        if not part.is_file:
            raise DamagedFile(f"{self.label}: its part {name} is not a file. Download it again")
        if what := part.stand_in():
            raise DamagedFile(f"{self.label}: its part {name} is {what}")
        return part

    def set_of_parts(self) -> tuple[Source, ...]:
        """All files of the set that this file is one part of by its name, in order.

        ``m-00001-of-00003.safetensors`` is one part of three. It is empty for a file that is not
        named so, and for the only part of a set of one.

        Raises:
            DamagedFile: parts are missing. The error names them.
            RefusedFile: a part is a link out of the folder.
        """
        if self.path is None or not self.is_file:
            return ()
        found = check_parts(self.path, self.label)
        if found is None:
            return ()
        here = self.path.name
        return tuple(self if each == here else self.part(each) for each in found.names.values())

    @property
    def further(self) -> tuple[Source, ...]:
        """The further files of the source that were looked at so far."""
        return tuple(each for each in self._family.values() if each is not self)

    def stamps(self) -> dict[FilePath, AnyStamp]:
        """The stamps of this file and the further ones, from when each was looked at first."""
        found = {}
        for path, each in self._family.items():
            if "_status" in each.__dict__ and each.is_file:
                assert each._status is not None
                found[path] = each._status.stamp
        return found

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Say which parts of the file are going to be read, so that a store sends them at once.

        For a local file it does nothing.

        Args:
            ranges: the offset and the length of each part, in bytes.
        """
        if isinstance(self.path, StorePath):
            files_of(self.path).prefetch(self.path.key, ranges)

    def stand_in(self) -> str:
        """What a download left instead of the file, such as a web page or a git-lfs pointer, and
        what to do. It is "" for any other file."""
        return stand_in(self.head, self.size)

    def looks_like(self) -> str:
        """What a source seems to be that no format claims, and what to do with it.

        It is "" if that is unknown.
        """
        from initreg.plugin.foreign import looks_like

        return looks_like(self)
