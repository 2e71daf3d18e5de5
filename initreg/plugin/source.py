"""A source as formats see it: what the user passed, with all that is needed to recognise it."""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import os
import stat
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any, BinaryIO

from initreg.errors import InitregError, RefusedFile, SourceNotFound, UnreadableFile

HEAD_BYTES = 4096  # an HDF5 signature may begin at 0, 512, 1024 or 2048

# Files that people try to open, but no format reads: first bytes, what it is, "torch" or "pickle".
_FOREIGN = (
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19",
        "a PyTorch file from before version 1.6",
        "torch",
    ),
    (b"\x80", "a Python pickle", "pickle"),
    (b"PK\x03\x04", "a zip archive", ""),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"\x1f\x8b", "gzip-compressed: unpack it first", ""),
    (b"\xfd7zXZ", "xz-compressed: unpack it first", ""),
    (b"BZh", "bzip2-compressed: unpack it first", ""),
    (b"(\xb5/\xfd", "zstd-compressed: unpack it first", ""),
)
# What a failed download leaves under the name of a file.
_STAND_INS = (
    (b"<!doctype html", "an HTML page: the download gave a web page, not the file"),
    (b"<html", "an HTML page: the download gave a web page, not the file"),
    (b"version https://git-lfs", "a git-lfs pointer: run 'git lfs pull' to get the file"),
)
_BY_SUFFIX = {
    ".onnx": "an ONNX model: a graph, whose weights have lost the names of their variables",
    ".pb": "a frozen graph: its weights are constants, not variables",
}
_CONVERT = (
    ". If you trust it, convert it where it was made: "
    "safetensors.torch.save_file(%s, 'weights.safetensors')"
)


class Source:
    """A path, or any other object, that a format may claim.

    Args:
        obj: what the user passed.

    Attributes:
        obj: what the user passed.
        path: the absolute path, with ``~`` expanded, or None if the source is not a path.
        suffix: the lower-case suffix of the path with its dot, or ``""``.

    Raises:
        SourceNotFound: the path is empty, or is bytes.
    """

    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self.path: Path | None = None
        if isinstance(obj, (str, os.PathLike)):
            text = os.fspath(obj)
            if not isinstance(text, str):
                raise SourceNotFound(f"{obj!r}: a path is a str or a pathlib.Path, not bytes")
            if not text:
                raise SourceNotFound("'': the path is empty")
            self._shown = Path(os.path.expanduser(text))
            # Arrays may be read after the program has changed its working folder.
            with contextlib.suppress(FileNotFoundError):  # the working folder was deleted
                self.path = self._shown.absolute()
            self.path = self.path or self._shown
        self.suffix = self.path.suffix.lower() if self.path is not None else ""

    def __repr__(self) -> str:
        return f"Source({self.label})"

    @property
    def label(self) -> str:
        """What to call the source in a message: its path, or what kind of object it is."""
        if self.path is not None:
            return str(self._shown)
        if isinstance(self.obj, Mapping):
            return f"{type(self.obj).__name__} of {len(self.obj)}"
        size = f" of {len(self.obj)}" if isinstance(self.obj, Sized) else ""
        return f"{type(self.obj).__name__}{size}"

    @functools.cached_property
    def _stat(self) -> os.stat_result | None:
        if self.path is None:
            return None
        try:
            return self.path.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
            return None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
                return None
            raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error

    @property
    def exists(self) -> bool:
        """Whether the path is that of a file or folder. The prefix of a checkpoint is not."""
        return self._stat is not None

    @property
    def is_dir(self) -> bool:
        return self._stat is not None and stat.S_ISDIR(self._stat.st_mode)

    @property
    def is_file(self) -> bool:
        return self._stat is not None and stat.S_ISREG(self._stat.st_mode)

    @property
    def size(self) -> int:
        """The size of the file in bytes. It is 0 for anything else."""
        return self._stat.st_size if self._stat is not None and self.is_file else 0

    @functools.cached_property
    def head(self) -> bytes:
        """The first bytes of the file, at most ``HEAD_BYTES``. They are read once, for all formats.

        They are empty for a folder, for a path that does not exist, and for any other object.

        Raises:
            UnreadableFile: the system cannot read the file.
            RefusedFile: it is a pipe or a device.
        """
        if self._stat is None or self.is_dir:
            return b""
        if not self.is_file:
            raise RefusedFile(f"{self.label}: neither a file nor a folder, so it is not opened")
        return self.read(0, HEAD_BYTES)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names in the folder, sorted. It is empty if the source is not a folder."""
        if not self.is_dir:
            return ()
        assert self.path is not None
        try:
            return tuple(sorted(os.listdir(self.path)))
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be listed: {error.strerror}") from error

    @functools.cached_property
    def members(self) -> tuple[str, ...] | None:
        """The names in the zip archive, read once for all formats.

        None if the source is not a complete zip archive.
        """
        import zipfile

        if not self.head.startswith(b"PK"):
            return None
        try:
            with self.open() as file, zipfile.ZipFile(file) as archive:
                return tuple(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, RuntimeError):
            return None

    def open(self) -> BinaryIO:
        """Open the file for reading bytes.

        Raises:
            UnreadableFile: the system cannot open it.
            InitregError: the source is not a path.
        """
        if self.path is None:
            raise InitregError(f"{self.label} is not a file")
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error

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
        folder = self.path.parent
        try:
            names = os.listdir(folder)
        except (OSError, ValueError):
            return SourceNotFound(f"{self.label}: no such file, and no such folder {str(folder)!r}")
        near = difflib.get_close_matches(self.path.name, names[:10_000], n=3, cutoff=0.6)
        near += sorted(n for n in names if n.startswith(self.path.name) and n not in near)[:3]
        hint = f". Similar names: {', '.join(near)}" if near else ""
        return SourceNotFound(f"{self.label}: no such file or checkpoint{hint}")

    def stand_in(self) -> str:
        """What a download left instead of the file: a web page, a git-lfs pointer, or "" for
        neither."""
        start = self.head.lstrip()[:64].lower()
        return next((what for magic, what in _STAND_INS if start.startswith(magic)), "")

    def looks_like(self) -> str:
        """What a source seems to be that no format claims, and what to do with it.

        It is "" if that is unknown.
        """
        if self.path is None:
            kind = type(self.obj).__name__
            if isinstance(self.obj, (list, tuple)):
                return f"a {kind} is a chain. Pass it to SmartInit or initreg.load"
            return f"initreg opens paths, mappings and lists of them. This is of type {kind}"
        if self.is_dir:
            shown = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
            return f"a folder with {shown}. Pass a file in it" if self.names else "an empty folder"
        if not self.head:
            return "the file is empty"
        if self.stand_in():
            return self.stand_in()
        torch = self.suffix in (".pt", ".pth", ".jit") or self._is_torch_zip()
        for magic, what, kind in _FOREIGN:
            if self.head.startswith(magic):
                if torch or kind == "torch":
                    load = "torch.load(path, weights_only=True)"
                    if b"/data/0" in self.head[:256] or self.suffix == ".jit":
                        load = "torch.jit.load(path).state_dict()"
                    return f"a PyTorch file, which is a pickle and can run code{_CONVERT % load}"
                if kind == "pickle":
                    return "a Python pickle, which can run code and is not opened"
                return what
        if self.head[4:8] == b"TFL3":
            return "a TensorFlow Lite model: convert it where it was made"
        return _BY_SUFFIX.get(self.suffix, "")

    def _is_torch_zip(self) -> bool:
        # torch.save writes archive/data.pkl first, torch.jit.save archive/data/0.
        return self.head.startswith(b"PK\x03\x04") and (
            b"/data.pkl" in self.head[:256] or b"/data/0" in self.head[:256]
        )
