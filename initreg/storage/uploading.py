"""Saves to a URL, or into what the user has opened: written on the disk as any other, and uploaded
or copied when they are complete.

A format writes its files into a folder of its own, as :mod:`initreg.storage.output` says. In it
there are stand-ins for the files that the store has under such names, so that the format finds free
names for new data files. The files are uploaded in the order in which they would be renamed: the
index last, and the files of the previous save are removed after that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from initreg.errors import InitregError, UnwritableFile
from initreg.option_spelling import Spelt
from initreg.storage.destinations import Destination, OneFile, destination_of
from initreg.storage.locating import is_remote, locate
from initreg.storage.manifests import ENDING
from initreg.storage.output import Output, written
from initreg.storage.paths import opened
from initreg.storage.store_files import files_of, fresh
from initreg.storage.stores import StoreError, WritableStore
from initreg.store_paths import FilePath, StorePath

_LARGEST_INDEX = 16 << 20  # bytes of a file that is copied here, because others may depend on it


@contextlib.contextmanager
def written_to(
    path: Any,
    storage_options: Mapping[str, Any] | None = None,
    *,
    alone: bool = False,
) -> Iterator[Output]:
    """An output for a local path, a URL, or what the user has opened, as
    :func:`initreg.storage.output.written`.

    After the block, ``output.url`` is what opens a save in a store. It is "" for any other.

    Args:
        path: where to save.
        storage_options: for a URL: what fsspec's file system is made with.
        alone: whether this is one file, which does not depend on others in its folder. Then a
            store is not asked for those.

    Raises:
        UnwritableFile: the block raised an OSError, or the files cannot be written or uploaded.
        InitregError: nothing can be written into such an object.
    """
    opened_before = destination_of(path)
    if storage_options and not is_remote(path):
        label = os.fspath(path) if opened_before is None else opened_before.label
        raise InitregError(f"{label}: is not a URL, and has no storage options. Leave them out")
    if opened_before is not None:
        with _copied(opened_before) as output:
            yield output
        return
    if not is_remote(path):
        with written(path) as output:
            yield output
        return
    found = locate(path, storage_options)
    assert found is not None
    if isinstance(found.path, Path):
        with written(found.path) as output:
            yield output
        return
    target = fresh(found.path)
    if not target.name or str(path).endswith("/"):
        raise UnwritableFile(f"{found.shown}: is a folder. Give the name of a file in it")
    refuse_read_only(target)
    with _temporary() as here, _named(f"{here}/", str(target.with_name("_"))[:-1]):
        stand_ins = set() if alone else _mirror(target, here)
        order: list[str] = []
        with written(here / target.name) as output:
            yield output
            order += sorted(output.files, key=output.comes_last)
        _upload(target, here, order, stand_ins)
        output.url = str(target.with_name(output.result.name))


def refuse_read_only(path: StorePath) -> None:
    """Raise UnwritableFile if nothing can be written to the store of a path."""
    if not hasattr(files_of(path).store, "write"):
        raise UnwritableFile(f"{path}: such a store cannot be written to. Save to a file")


@contextlib.contextmanager
def _copied(destination: Destination) -> Iterator[Output]:
    """An output whose one file is copied to what the user has opened, once it is complete."""
    destination.check()
    with _temporary() as here:
        path = here / (destination.name or "file")
        with _named(str(path), destination.label):
            with written(path, OneFile) as output:
                yield output
            destination.write(path)


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A folder on the disk, with links followed, that is removed after the block."""
    with tempfile.TemporaryDirectory(prefix="initreg-") as folder:
        yield Path(os.path.realpath(folder))


@contextlib.contextmanager
def _named(local: str, name: str) -> Iterator[None]:
    """Errors of the block name what the user gave, and not the file on the disk."""
    try:
        yield
    except InitregError as error:
        text = error.args[0] if error.args else ""
        if isinstance(text, Spelt):
            error.args = (text.mapped(lambda piece: piece.replace(local, name)), *error.args[1:])
        elif isinstance(text, str):
            error.args = (text.replace(local, name), *error.args[1:])
        raise


def _mirror(target: StorePath, folder: Path) -> set[str]:
    """Make stand-ins for the files of the store whose names begin as that of the target does.

    Returns:
        The names of the stand-ins.
    """
    names = files_of(target).names(target.parent.key) or ()
    stem = target.name.partition(".")[0]
    found = set()
    wanted = [name for name in names if name.startswith(stem) or ".index" in name]
    files_of(target).find_all([target.with_name(name).key for name in wanted])
    for name in wanted:
        there = target.with_name(name)
        # Raises if the store does not say. What it has may be replaced only by a name that is free.
        status = files_of(target).find(there.key)
        if status is not None and status.stamp is not None:
            size = status.stamp.size
            is_read = size <= _LARGEST_INDEX and (".index" in name or name.endswith(".json"))
            content = files_of(target).read(there.key, 0, size) if is_read else b""
            (folder / name).write_bytes(content)
            found.add(name)
    return found


def _upload(target: StorePath, folder: Path, order: list[str], stand_ins: set[str]) -> None:
    """Upload the files of a save, and remove what it replaces."""
    store = cast("WritableStore", files_of(target).store)
    gone = {name for name in stand_ins if not (folder / name).exists()}
    outdated = {name for name in stand_ins.intersection({*gone, *order}) if name.endswith(ENDING)}
    done: list[str] = []
    try:
        for name in sorted(outdated):  # which do not describe the new files
            _tried(target, name, store.remove)
        for name in order:
            _tried(target, name, lambda key, name=name: store.write(key, folder / name))
            done.append(name)
            _check_size(target.with_name(name), (folder / name).stat().st_size)
    except BaseException:
        # What no index refers to yet. The previous save is complete as long as its index is there.
        for name in set(done) - stand_ins:
            with contextlib.suppress(Exception):
                store.remove(target.with_name(name).key)
        raise
    for name in sorted(gone - outdated):
        with contextlib.suppress(Exception):  # the new save is complete
            store.remove(target.with_name(name).key)


def _check_size(path: StorePath, size: int) -> None:
    """Raise UnwritableFile if a file that was uploaded is not in the store. Only after that come
    the index, which needs it, and the removal of the previous save."""
    path = fresh(path)
    if not path.is_file() or files_of(path).stamp(path.key).size != size:
        raise UnwritableFile(
            f"{path}: was uploaded, but the store has no file of {size:,} bytes there. Save it "
            "again"
        )


def removed(path: FilePath) -> bool:
    """Remove a file, on the disk or in a store. Returns whether it is gone."""
    try:
        if isinstance(path, StorePath):
            store = cast("WritableStore", files_of(path).store)
            files_of(path).tried(path.key, "cannot be removed", lambda: store.remove(path.key))
        else:
            path.unlink(missing_ok=True)
    except (OSError, InitregError):
        return False
    return True


@contextlib.contextmanager
def on_disk(path: FilePath) -> Iterator[Path]:
    """A file as one on the disk, while the block runs: a copy, if it is in a store.

    Raises:
        UnreadableFile, DamagedFile: it cannot be read. Errors of the block name the URL.
    """
    if isinstance(path, Path):
        yield path
        return
    with _temporary() as here, _named(f"{here}/", str(path.with_name("_"))[:-1]):
        yield downloaded(path, here)


def downloaded(path: FilePath, folder: Path) -> Path:
    """A copy of a file, in a folder on the disk.

    Raises:
        OSError, UnreadableFile, DamagedFile: it cannot be read.
    """
    local = folder / path.name
    with opened(path) as file, open(local, "wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return local


def _tried(target: StorePath, name: str, call: Any) -> None:
    path = target.with_name(name)
    try:
        files_of(target).tried(
            path.key, "cannot be written", lambda: call(path.key), own=(StoreError,)
        )
    except StoreError as error:
        raise UnwritableFile(f"{path}: cannot be written: {error}") from error
    except InitregError as error:
        raise UnwritableFile(str(error)) from error
