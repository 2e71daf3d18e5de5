"""A source as formats see it: what the user passed, with all that is needed to recognise it."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import stat
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, overload

from initreg.errors import (
    DamagedFile,
    InitregError,
    RefusedFile,
    SourceNotFound,
    UnreadableFile,
    one_line,
)
from initreg.plugin.part_names import check as check_parts
from initreg.plugin.part_names import check_name, part_sets, refuse_link_out, told
from initreg.storage.stamps import Stamp
from initreg.storage.stand_ins import stand_in

HEAD_BYTES = 4096  # an HDF5 signature may begin at 0, 512, 1024 or 2048

# Files that people try to open, but no format reads: first bytes, what it is, "torch" or "pickle".
_FOREIGN = (
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19",
        "a PyTorch file from before version 1.6",
        "torch",
    ),
    (b"\x80", "a Python pickle", "pickle"),
    (b"GGUF", "a GGUF file. To read it: pip install initreg-gguf", ""),
    (b"PK\x03\x04", "a zip archive", ""),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"\x1f\x8b", "gzip-compressed: unpack it first", ""),
    (b"\xfd7zXZ", "xz-compressed: unpack it first", ""),
    (b"BZh", "bzip2-compressed: unpack it first", ""),
    (b"(\xb5/\xfd", "zstd-compressed: unpack it first", ""),
)
_ORBAX = {"_CHECKPOINT_METADATA", "manifest.ocdbt"}
_TFJS = ". To read it: pip install initreg-tfjs"
_BY_SUFFIX = {
    ".onnx": "an ONNX model. To read its weights: pip install initreg-onnx",
    ".msgpack": "msgpack, as Flax saves weights. To read them: pip install initreg-jax",
    ".pb": "a frozen graph, if it is not damaged. To read it: pip install initreg-frozen-graph",
}
_BY_NAME = {
    ".msgpack.index.json": "an index of Flax's msgpack. To read it: pip install initreg-jax",
    "weights_manifest.json": "the manifest of a TensorFlow.js model" + _TFJS,
}
_CONVERT = (
    ". To read it without running it: pip install initreg-torch. Or, if you trust it, convert it "
    "where it was made: safetensors.torch.save_file(%s, 'weights.safetensors')"
)

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


# Parts are converted together, so that none of them is taken for the whole model.
_CONVERT_PARTS = (
    ". To read it without running it: pip install initreg-torch. Or, if you trust it, convert all "
    "parts together where they were made: "
    "safetensors.torch.save_file({k: v for p in sorted(glob.glob('*-of-*.bin')) "
    "for k, v in torch.load(p, weights_only=True).items()}, 'weights.safetensors')"
)
_TORCH_INDEX = (".bin.index.json", ".pt.index.json", ".pth.index.json")
# A path has lost one of the two slashes.
_URL = re.compile(r"(https?|ftp|file|s3|gs|hf|hdfs|az):/", re.I)
_TFJS_SHARD = re.compile(r"group\d+-shard\d+of\d+(\.bin)?")
_TAIL = 1 << 20  # bytes. The key comes after the topology of the model, and before all weights
_MOST_LOOKED_AT = 100  # files of a folder


class Source:
    """A path, or any other object, that a format may claim.

    All looks at it are looks at one file: if the file is replaced or written to after the first of
    them, opening it again is an error.

    Args:
        obj: what the user passed.
        of: the source that this is a further file of, if there is one. initreg then watches this
            file, too: an extent in it is read only if the file is still the one that was looked at.

    Attributes:
        obj: what the user passed.
        path: the absolute path, with ``~`` expanded, or None if the source is not a path.
        suffix: the lower-case suffix of the path with its dot, or ``""``.

    Raises:
        SourceNotFound: the path is empty, or is bytes.
    """

    def __init__(self, obj: Any, of: Source | None = None) -> None:
        self.obj = obj
        self.path: Path | None = None
        # The source and its further files, by their paths.
        self._family: dict[Path, Source] = of._family if of is not None else {}
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
            self._family.setdefault(self.path, self)
        self.suffix = self.path.suffix.lower() if self.path is not None else ""

    def __repr__(self) -> str:
        return f"Source({self.label})"

    @property
    def label(self) -> str:
        """What to call the source in a message: its path, or what kind of object it is."""
        if self.path is not None:
            return one_line(str(self._shown))
        if isinstance(self.obj, Mapping):
            return f"{type(self.obj).__name__} of {len(self.obj)}"
        size = f" of {len(self.obj)}" if isinstance(self.obj, Sized) else ""
        return f"{type(self.obj).__name__}{size}"

    @_Once
    def _stat(self) -> os.stat_result | None:
        if self.path is None:
            return None
        first = self._family[self.path]
        if first is not self:
            return first._stat
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

    @_Once
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

    @_Once
    def names(self) -> tuple[str, ...]:
        """The names in the folder, sorted. It is empty if the source is not a folder."""
        if not self.is_dir:
            return ()
        assert self.path is not None
        try:
            return tuple(sorted(os.listdir(self.path)))
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be listed: {error.strerror}") from error

    @_Once
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
            DamagedFile: it is not the file any more that was looked at first.
            InitregError: the source is not a path.
        """
        if self.path is None:
            raise InitregError(f"{self.label} is not a file")
        first = self._stat
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise UnreadableFile(f"{self.label}: cannot be read: {error.strerror}") from error
        if first is not None and Stamp.of(file.fileno()) != Stamp.from_status(first):
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
        if _URL.match(str(self._shown)):
            return SourceNotFound(
                f"{self.label}: initreg opens no URLs, only files. Download it, and give its path"
            )
        folder = self.path.parent
        try:
            names = os.listdir(folder)
        except (OSError, ValueError):
            return SourceNotFound(f"{self.label}: no such file, and no such folder {str(folder)!r}")
        near = difflib.get_close_matches(self.path.name, names[:10_000], n=3, cutoff=0.6)
        near += sorted(n for n in names if n.startswith(self.path.name) and n not in near)[:3]
        hint = f". Similar names: {', '.join(map(one_line, near))}" if near else ""
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
        check_name(name, self.label)
        folder = self.path if self.is_dir else self.path.parent
        path = folder.absolute() / name  # absolute, so that a leading ~ means nothing
        refuse_link_out(path, self.label, None if self.is_dir else self.path)
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

    def stamps(self) -> dict[Path, Stamp]:
        """The stamps of this file and the further ones, from when each was looked at first."""
        found = {}
        for path, each in self._family.items():
            if "_stat" in each.__dict__ and each.is_file:
                assert each._stat is not None
                found[path] = Stamp.from_status(each._stat)
        return found

    def stand_in(self) -> str:
        """What a download left instead of the file, such as a web page or a git-lfs pointer, and
        what to do. It is "" for any other file."""
        return stand_in(self.head, self.size)

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
            return _folder(self)
        if not self.head:
            return "the file is empty"
        if self.stand_in():
            return self.stand_in()
        if self.path.name.endswith(_TORCH_INDEX):
            return "an index of PyTorch files, which are pickles and can run code" + _CONVERT_PARTS
        torch = self.suffix in (".pt", ".pth", ".jit") or self._is_torch_zip()
        for magic, what, kind in _FOREIGN:
            if self.head.startswith(magic):
                if torch or kind == "torch":
                    if whole := told(self.path):
                        return (
                            f"a PyTorch file, which is a pickle and can run code, and {whole}"
                            + _CONVERT_PARTS
                        )
                    load = "torch.load(path, weights_only=True)"
                    if b"/data/0" in self.head[:256] or self.suffix == ".jit":
                        load = "torch.jit.load(path).state_dict()"
                    return f"a PyTorch file, which is a pickle and can run code{_CONVERT % load}"
                if kind == "pickle":
                    return "a Python pickle, which can run code and is not opened"
                return what
        if self.head[4:8] == b"TFL3":
            return "a TensorFlow Lite model. To read its tensors: pip install initreg-tflite"
        for ending, what in _BY_NAME.items():
            if self.path.name.endswith(ending):
                return what
        if _TFJS_SHARD.fullmatch(self.path.name):
            return "a shard of a TensorFlow.js model" + _TFJS
        if self.suffix == ".json" and b'"weightsManifest"' in self.head + self.read(-_TAIL, _TAIL):
            return "a TensorFlow.js model" + _TFJS
        return _BY_SUFFIX.get(self.suffix, "")

    def _is_torch_zip(self) -> bool:
        # torch.save writes archive/data.pkl first, torch.jit.save archive/data/0.
        return self.head.startswith(b"PK\x03\x04") and (
            b"/data.pkl" in self.head[:256] or b"/data/0" in self.head[:256]
        )


def _folder(folder: Source) -> str:
    """What a folder seems to be that no format claims."""
    if not folder.names:
        return "an empty folder"
    assert folder.path is not None
    for name in folder.names[:_MOST_LOOKED_AT]:
        with contextlib.suppress(InitregError):
            file = Source(folder.path / name)
            if file.is_file and (what := file.stand_in()):
                return f"a folder in which {one_line(name)} is {what}"
    shown = ", ".join(map(one_line, folder.names[:5])) + (", ..." if len(folder.names) > 5 else "")
    if _ORBAX.intersection(folder.names):
        return "a checkpoint of Orbax. To read it: pip install 'initreg-jax[orbax]'"
    torch = [each for each in part_sets(folder.names) if each.ending in (".bin", ".pt", ".pth")]
    if torch:
        return (
            f"a folder with the PyTorch files {torch[0]}, which are pickles and can run code"
            + _CONVERT_PARTS
        )
    return f"a folder with {shown}. Pass a file in it"
