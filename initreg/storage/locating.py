"""Where a source is that the user passed: on the disk, in a store, or in an object."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from initreg.errors import InitregError, MissingLibrary, SourceNotFound, UnreadableFile, one_line
from initreg.option_spelling import option
from initreg.storage.store_files import StoreFiles
from initreg.storage.stores import without_secrets
from initreg.store_paths import FilePath, StorePath

# "s3://bucket/x", and fsspec's chains: "simplecache::https://host/x", "zip://m.npz::s3://b/a.zip".
_URL = r"(?i)[a-z][a-z0-9+.-]*(://|::.*://)"
_REMOTE = "pip install 'initreg[remote]'"
_LOCAL = ("", "file", "local")
_WEB = ("http", "https")


class Location(NamedTuple):
    """A path, and what to call it in a message."""

    path: FilePath
    shown: str


def is_url(text: str) -> bool:
    """Whether a text is a URL, and not the path of a local file."""
    return "://" in text and re.match(_URL, text) is not None


def is_remote(obj: Any) -> bool:
    """Whether it may be in a store: a URL, a ``UPath``, or a path in a store."""
    if isinstance(obj, str):
        return is_url(obj)
    return isinstance(obj, StorePath) or _is_fsspec_path(obj)


def takes_options(obj: Any) -> bool:
    """Whether it is a URL, for whose file system there may be options."""
    return isinstance(obj, str) and is_url(obj) and not obj.lower().startswith("file://")


def locate(obj: Any, storage_options: Mapping[str, Any] | None = None) -> Location | None:
    """Where a source is. None for an object that is not in a file: a mapping, a model.

    Args:
        obj: what the user passed.
        storage_options: what fsspec's file system is made with, such as credentials.

    Raises:
        SourceNotFound: the path is empty, or is bytes.
        MissingLibrary: the library for such a URL is not installed.
        InitregError: the object cannot be read as a file.
    """
    found = _located(obj, storage_options)
    if storage_options and (found is None or isinstance(found.path, Path)):
        what = "not one" if found is None else found.shown
        raise InitregError(
            option("storage_options", python="storage_options")
            + f": these are for URLs, and the source is {what}"
        )
    return found


def _located(obj: Any, storage_options: Mapping[str, Any] | None) -> Location | None:
    if isinstance(obj, StorePath):
        return Location(obj, str(obj))
    if isinstance(obj, str):
        if is_url(obj):
            return _of_url(obj, storage_options)
        return _of_path(obj)
    if isinstance(obj, (Mapping, type)):
        return None
    if _is_fsspec_path(obj):
        return _of_fsspec_path(obj)
    if isinstance(obj, os.PathLike):
        return _of_path(os.fspath(obj))
    if _is_traversable(obj):
        return _of_traversable(obj)
    if callable(getattr(obj, "read", None)) and callable(getattr(obj, "seek", None)):
        return _of_file(obj)
    return None


def _of_path(text: str | bytes) -> Location:
    if not isinstance(text, str):
        raise SourceNotFound(f"{text!r}: a path is a str or a pathlib.Path, not bytes")
    if not text:
        raise SourceNotFound("'': the path is empty")
    shown = Path(os.path.expanduser(text))
    try:  # arrays may be read after the program has changed its working folder
        return Location(shown.absolute(), one_line(str(shown)))
    except FileNotFoundError:  # the working folder was deleted
        return Location(shown, one_line(str(shown)))


def _of_url(url: str, storage_options: Mapping[str, Any] | None) -> Location:
    scheme = url.partition(":")[0].lower()
    if scheme == "file" and "::" not in url:
        path = url[len("file://") :]
        if not path.startswith("/"):
            raise SourceNotFound(f"{url}: a file URL has an absolute path: file:///folder/m.npz")
        return Location(Path(path), one_line(url))
    url = scheme + url[len(scheme) :]
    try:
        import fsspec.core
    except ImportError as error:
        raise MissingLibrary(f"{_shown(url)}: reading URLs", "fsspec", _REMOTE) from error
    options = dict(storage_options or {})
    try:
        fs, key = fsspec.core.url_to_fs(url, **options)
        return _in_file_system(fs, key, url)
    except InitregError:
        raise
    except ImportError as error:
        raise _missing(url, error) from error
    except ValueError as error:
        raise SourceNotFound(f"{_shown(url)}: {without_secrets(str(error))}") from error
    except Exception as error:
        raise UnreadableFile(
            f"{_shown(url)}: cannot be opened: {without_secrets(str(error))}"
        ) from error


def _missing(url: str, error: ImportError) -> MissingLibrary:
    """The error for a library that fsspec's file system needs. fsspec says which it is."""
    words = re.search(
        r"[Ii]nstall (?:the )?[\"'`]?([\w\[\]-]+)|pip install ([\w\[\]-]+)", str(error)
    )
    found = next(filter(None, words.groups()), "") if words else ""
    if not found or found in ("aiohttp", "requests"):
        return MissingLibrary(f"{_shown(url)}: reading such URLs", found or "fsspec", _REMOTE)
    return MissingLibrary(f"{_shown(url)}: reading such URLs", found, f"pip install {found}")


def _in_file_system(fs: Any, key: str, url: str) -> Location:
    from initreg.storage.fsspec_store import FsspecStore
    from initreg.storage.http_store import HttpStore

    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    if set(_WEB).intersection(protocols):
        store = HttpStore(fs, key)
        return Location(StorePath(StoreFiles(store), store.key), one_line(store.url(store.key)))
    if set(_LOCAL).intersection(protocols):
        return Location(Path(key), one_line(key))
    # The leading "/" of "memory:///m.npz" is no name.
    clean = _shown(url)
    prefix = clean[: -len(key)] if key and clean.endswith(key) else f"{protocols[0]}://"
    files = StoreFiles(FsspecStore(fs, prefix))
    return Location(StorePath(files, key), one_line(files.store.url(key)))


def _shown(url: str) -> str:
    """A URL without passwords and signatures, for a message."""
    return one_line(without_secrets(url))


# --- objects --------------------------------------------------------------------------------------


def _is_fsspec_path(obj: Any) -> bool:
    """Whether it is a ``UPath`` of universal_pathlib, or what ``fsspec.open`` returns."""
    return all(hasattr(obj, name) for name in ("fs", "path")) and (
        hasattr(obj, "storage_options") or type(obj).__name__ == "OpenFile"
    )


def _of_fsspec_path(obj: Any) -> Location:
    if getattr(obj, "compression", None) is not None:
        raise InitregError(
            f"{obj!r}: a file that is unpacked while it is read cannot be read in parts. Unpack it "
            "first"
        )
    protocol = getattr(obj, "protocol", None)
    if protocol in _LOCAL:
        return _of_path(str(obj.path))
    path = str(obj.path)
    url = obj.fs.unstrip_protocol(path)
    return _in_file_system(obj.fs, path, url)


def _is_traversable(obj: Any) -> bool:
    """Whether it is a ``zipfile.Path``, or a resource of a package that is not on the disk."""
    names = ("iterdir", "is_dir", "is_file", "joinpath", "open", "name")
    return all(hasattr(obj, name) for name in names)


def _of_traversable(obj: Any) -> Location:
    from initreg.storage.object_stores import TraversableStore

    zipfile = sys.modules.get("zipfile")
    if zipfile is not None and isinstance(obj, zipfile.Path):
        root = zipfile.Path(obj.root)
        key = obj.at
        store = TraversableStore(root, f"{obj.root.filename or '<zip>'}/")
    elif obj.is_dir():
        key, store = "", TraversableStore(obj, f"{obj.name}/")
    else:
        key = obj.name
        store = TraversableStore(obj, "", key)
    path = StorePath(StoreFiles(store), key)
    return Location(path, one_line(str(path)))


def _of_file(obj: Any) -> Location:
    from initreg.storage.object_stores import FileStore

    what = f"an open {type(obj).__name__}"
    if getattr(obj, "closed", False):
        raise InitregError(f"{what}: the file is closed")
    mode = getattr(obj, "mode", None)
    if isinstance(obj, io.TextIOBase) or (isinstance(mode, str) and "b" not in mode):
        raise InitregError(f"{what}: the file was opened as text. Open it with mode 'rb'")
    try:
        can_seek = obj.seekable()
    except (AttributeError, OSError):
        can_seek = True
    if not can_seek:
        raise InitregError(
            f"{what}: it cannot seek, so that arrays cannot be read from it. Read it into a BytesIO"
        )
    name = getattr(obj, "name", None)
    store = FileStore(obj, os.path.basename(name) if isinstance(name, str) and name else "file")
    path = StorePath(StoreFiles(store), store.key)
    return Location(path, one_line(str(path)))
