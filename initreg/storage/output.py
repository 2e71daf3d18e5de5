"""The files of one save: written under hidden names, flushed to disk, then renamed.

A save is atomic: after a kill at any moment there is the complete new file or the previous one.
Several files are renamed in the order in which they were asked for, so that an index that refers
to the others can come last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import operator
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from initreg.errors import InitregError, UnwritableFile, one_line
from initreg.storage import journals
from initreg.storage.flushing import Flusher
from initreg.storage.hashed_files import BUFFER, HashedFile, digests_of
from initreg.storage.locking import locked
from initreg.storage.manifests import FileDigest, is_manifest

TEMPORARY = re.compile(r"\.initreg-[0-9a-f]{8}-")
_LONGEST_NAME = 255  # bytes. Source: NAME_MAX of Linux and macOS
_STALE = 3600  # seconds after which the files of a killed process are removed

_ours: set[Path] = set()  # the files that this process is writing


class Output:
    """Where a format writes the files of one save.

    Args:
        path: what the user gave. The attribute ``path`` is absolute, with links followed.

    >>> out = output.file()  # doctest: +SKIP
    >>> with open(out, "wb") as file: ...  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = os.path.expanduser(os.fspath(path))
        if not given:
            raise UnwritableFile("'': the path is empty")
        # A link stays a link, and the file that it points to is replaced.
        try:
            self.path = Path(os.path.realpath(given))
        except ValueError as error:  # a NUL
            raise UnwritableFile(f"{given}: no file can have this name: {error}") from error
        if os.path.islink(self.path):  # what is left of links that lead back to themselves
            raise UnwritableFile(f"{given}: too many levels of symbolic links. Remove the loop")
        self.label = one_line(given)
        self.result = Path(given)
        self.url = ""  # what opens a save in a store
        self.needs_digests = False  # whether the save gets a manifest
        self._hashed: dict[Path, HashedFile] = {}
        self._files: dict[str, tuple[Path, int]] = {}  # by name: the hidden path, a descriptor
        self._flusher = Flusher()
        self._obsolete: list[str] = []
        self._outdated: list[str] = []
        self._last: list[str] = []
        self._lock = contextlib.ExitStack()
        self._is_locked = False

    @property
    def folder(self) -> Path:
        """The folder that the files get their names in."""
        return self.path.parent

    def file(self, name: str | None = None, like: Iterable[str] = ()) -> Path:
        """Make an empty file to write to, which is renamed when the output is committed.

        It has the permissions of the file that it replaces.

        Args:
            name: the name that it gets, in the same folder. The default is ``path.name``.
            like: names of files in the folder whose permissions it gets if it replaces none: only
                those that all of these files have.

        Returns:
            The hidden path to write to. It ends as ``name`` does.

        Raises:
            UnwritableFile: the file cannot be made.
        """
        name = self.path.name if name is None else name
        if name in ("", ".", "..") or os.sep in name or name in self._files:
            raise InitregError(
                f"{self.label}: {name!r} is not a valid file name, or is written twice"
            )
        if (self.folder / name).is_dir():
            raise UnwritableFile(
                f"{self.folder / name}: the path is a folder, which a file cannot replace"
            )
        self._check_regular(name)
        beside = self._beside(name)
        mode = self._mode(name, like)
        self._files[name] = beside, -1  # so that it is removed, whenever Ctrl-C comes
        _ours.add(beside)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(beside, flags, 0o666 if mode is None else mode)
            self._files[name] = beside, descriptor
            if mode is not None:
                os.fchmod(descriptor, mode)
        except OSError as error:
            raise self.unwritable(error) from error
        _lock(descriptor)
        self._flusher.watch(descriptor)
        return beside

    def opened(self, path: Path) -> BinaryIO:
        """Open a file that :meth:`file` made, to write to it, best from its front to its back.

        The digest for a manifest is then computed on the way. What was written must not be changed
        before the file is closed.
        """
        if not self.needs_digests:
            return open(path, "wb", BUFFER)  # its user closes it
        self._hashed[path] = HashedFile(path)
        return self._hashed[path]

    def digests(self) -> dict[str, FileDigest]:
        """The digest of each file, by its name, after all are written. Raises OSError."""
        return digests_of(self.files, self._hashed)

    def _check_regular(self, name: str) -> None:
        """Raise UnwritableFile for a pipe or a device, whose place a rename would take."""
        try:
            found = os.stat(self.folder / name)
        except OSError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise UnwritableFile(
                f"{self.folder / name}: is a pipe, a socket or a device, which a file would "
                "replace. Save into a file"
            )

    def _mode(self, name: str, like: Iterable[str]) -> int | None:
        """The permissions of a new file: those of the file that it replaces, or what all the files
        have in common that it is to be like, or the other files of this save. None if there are no
        such files."""
        for names in ([name], [*like, self.path.name]):
            modes = []
            for each in names:
                with contextlib.suppress(OSError):
                    found = os.stat(self.folder / each).st_mode
                    modes += [found & 0o777] if stat.S_ISREG(found) else []
            if modes:
                return functools.reduce(operator.and_, modes)
        modes = [os.fstat(each).st_mode & 0o777 for _, each in self._files.values() if each >= 0]
        return functools.reduce(operator.and_, modes) if modes else None

    def _beside(self, name: str) -> Path:
        """A hidden path that ends as ``name`` does. Of a long name it has only the end."""
        hidden = f".initreg-{secrets.token_hex(4)}-"
        excess = len(os.fsencode(hidden + name)) - _LONGEST_NAME
        while excess > 0:
            name = name[excess // 4 + 1 :]  # a character has at most 4 bytes
            excess = len(os.fsencode(hidden + name)) - _LONGEST_NAME
        return self.folder / (hidden + name)

    def take(self, path: Path, name: str, like: Iterable[str] = ()) -> None:
        """Give a file that exists already, in this folder or below it, the name ``name``.

        Its permissions become those that :meth:`file` gives.

        Raises:
            UnwritableFile: it cannot be opened.
        """
        if name in self._files:
            raise InitregError(f"{self.label}: {name!r} is written twice")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            mode = self._mode(name, like)
            if mode is not None:
                os.fchmod(descriptor, mode)
        except OSError as error:
            raise self.unwritable(error) from error
        self._files[name] = path, descriptor

    def obsolete(self, name: str) -> None:
        """Remove a file of the previous save from this folder, after the new files are renamed."""
        self._obsolete.append(name)

    def outdate(self, name: str) -> None:
        """Remove a manifest from this folder before the new files are renamed, since it does not
        describe them. A file that is not a manifest of initreg stays."""
        self._outdated.append(name)

    def file_after(self, name: str) -> Path:
        """Like :meth:`file`, for a file that is renamed after all others, which do not need it."""
        self._last.append(name)
        return self.file(name)

    @property
    def obsolete_names(self) -> tuple[str, ...]:
        """The names that were given to :meth:`obsolete`."""
        return tuple(self._obsolete)

    def comes_last(self, name: str) -> bool:
        """Whether a file was made by :meth:`file_after`."""
        return name in self._last

    @property
    def files(self) -> dict[str, Path]:
        """The files that were asked for so far: the hidden path of each, by its name."""
        return {name: beside for name, (beside, _) in self._files.items()}

    def is_free(self, name: str) -> bool:
        """Whether the folder has no file of this name.

        Other saves that ask wait until this one ends, so that a free name stays free.

        Raises:
            UnwritableFile: another save holds the lock of the folder for too long.
        """
        self._lock_folder()
        return self._is_free(name)

    def _lock_folder(self) -> None:
        """Lock the folder until the output is closed."""
        if not self._is_locked:
            self._lock.enter_context(locked(self.folder))
            self._is_locked = True
            journals.recover(self.folder)

    def _is_free(self, name: str) -> bool:
        return not os.path.lexists(self.folder / name)

    def need(self, nbytes: int) -> None:
        """Check the free space before anything is written.

        Raises:
            UnwritableFile: the disk has less than ``nbytes`` bytes left.
        """
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return
        free = found.f_bavail * found.f_frsize
        if 0 < free < nbytes:
            raise UnwritableFile(
                f"{self.label}: needs {nbytes:,} bytes, but only {free:,} are free on the disk. "
                "Nothing was changed"
            )

    def unwritable(self, error: OSError) -> UnwritableFile:
        """The error to raise for an error of the system while the files are written."""
        why = f"cannot be written: {error.strerror or error}"
        if error.errno == errno.ENOENT and not self.folder.is_dir():
            why = f"folder {str(self.folder)!r} does not exist. Create it first"
        return UnwritableFile(f"{self.label}: {why}. Nothing was changed")

    def flush(self) -> None:
        """Flush all files to the disk, as :meth:`commit` does first.

        Raises:
            OSError: a file cannot be flushed.
        """
        self._flusher.finish()
        for _, descriptor in self._files.values():
            os.fsync(descriptor)

    def commit(self) -> None:
        """Flush all files to the disk, then rename them.

        Raises:
            UnwritableFile: it failed, and the previous files are unchanged.
        """
        try:
            self.flush()
        except OSError as error:
            raise self.unwritable(error) from error
        self._lock_folder()
        found = [(name, file) for name, file in self.files.items() if name not in self._last]
        new = [(name, file) for name, file in found[:-1] if self._is_free(name)]
        index = found[-1][1].name if found else ""
        try:
            with journals.journal(self.folder, index, new, self._to_remove()):
                self._name_files()
        except OSError as error:
            if isinstance(error, InitregError):
                raise
            raise self.unwritable(error) from error

    def _to_remove(self) -> list[str]:
        return [name for name in self._obsolete if name not in self._files]

    def _name_files(self) -> None:
        existed = [name for name in self._files if not self._is_free(name)]
        aside: dict[str, Path] = {}
        try:
            for name in self._outdated:
                if is_manifest(self.folder / name):
                    hidden = self._beside(name)
                    os.replace(self.folder / name, hidden)
                    aside[name] = hidden
            for name in sorted(self._files, key=self._last.__contains__):
                beside, _ = self._files[name]
                os.replace(beside, self.folder / name)
            _sync_folder(self.folder)
        except BaseException as error:  # Ctrl-C, too
            if not self._is_named():
                named = [n for n, (beside, _) in self._files.items() if not os.path.lexists(beside)]
                for name in set(named).difference(existed):  # data files without an index
                    _unlink(self.folder / name)
                for name, hidden in aside.items():
                    if not named:
                        with contextlib.suppress(OSError):
                            os.replace(hidden, self.folder / name)
            self._remove_old(aside)
            if isinstance(error, OSError):
                raise self.unwritable(error) from error
            raise
        self._remove_old(aside)

    def _is_named(self) -> bool:
        """Whether the index, or the only file, has its name: the new save is complete then."""
        main = [beside for name, (beside, _) in self._files.items() if name not in self._last]
        return not main or not os.path.lexists(main[-1])

    def _remove_old(self, aside: Mapping[str, Path]) -> None:
        for hidden in aside.values():
            _unlink(hidden)
        if self._is_named():
            for name in self._to_remove():
                _unlink(self.folder / name)

    def close(self) -> None:
        """Remove the files that were not renamed, and those that killed processes left behind."""
        with contextlib.suppress(OSError):
            self._flusher.finish()
        while self._files:
            name, (beside, descriptor) = next(iter(self._files.items()))
            _unlink(beside)
            _ours.discard(beside)
            del self._files[name]
            if descriptor >= 0:
                os.close(descriptor)
        self._lock.close()
        self._is_locked = False
        _remove_stale(self.folder)


@contextlib.contextmanager
def written(path: str | os.PathLike[str], kind: type[Output] | None = None) -> Iterator[Output]:
    """An output that is committed when the block ends, and discarded if the block raises.

    Args:
        path: where to save.
        kind: the class of the output.

    Raises:
        UnwritableFile: the block raised an OSError, or the commit failed.
    """
    output = (kind or Output)(path)
    try:
        try:
            yield output
        except InitregError:
            raise
        except OSError as error:
            raise output.unwritable(error) from error
        output.commit()
    finally:
        try:
            output.close()
        except BaseException:  # Ctrl-C while the files were removed
            output.close()
            raise


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Show other processes that a file is in use. Not with flock, which HDF5 uses itself."""
    with contextlib.suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_stale(folder: Path) -> None:
    """Remove the files of killed processes: hidden ones that are old and that nobody holds."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if TEMPORARY.match(name) and folder / name not in _ours:
                with contextlib.suppress(OSError):
                    _remove_if_stale(folder / name)


def _remove_if_stale(path: Path) -> None:
    if time.time() - path.stat().st_mtime < _STALE:
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)
