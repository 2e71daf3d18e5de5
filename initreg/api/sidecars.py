"""Sidecars: the state of a training that a checkpoint does not hold, in a JSON file beside it.

A checkpoint holds variables. A run also needs the epoch, the step, and the states of callbacks and
random generators. They are in a *sidecar*, ``<checkpoint>.resume.json``. The sidecar is written
first and the checkpoint last, so that no checkpoint is ever without its sidecar.

If a checkpoint of the same name is there already, its sidecar is replaced before it is. So for that
moment the new sidecar holds the old one as well, and says which files belong to the new one. If the
files are others, the save was killed, and the old checkpoint is still there, with its old states.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initreg.api.training_states import offers_state, to_json
from initreg.arrays import checksums
from initreg.errors import (
    DamagedFile,
    InitregError,
    SourceNotFound,
)
from initreg.plugin.installed import default_registry
from initreg.plugin.training import checkpoints
from initreg.storage import small_files
from initreg.storage.locating import is_remote, locate
from initreg.storage.output import TEMPORARY
from initreg.storage.paths import is_there, modified_at, status
from initreg.storage.store_files import fresh
from initreg.storage.uploading import removed, written_to
from initreg.store_paths import FilePath, StorePath

ENDING = ".resume.json"
_VERSION = 1
_LARGEST = 64 << 20  # bytes of a sidecar
_CHUNK = 4 << 20
_ORPHANED = 86_400  # seconds; no checkpoint takes longer to be written


def sidecar_of(checkpoint: str | os.PathLike[str] | StorePath) -> FilePath:
    """The path of the sidecar of a checkpoint."""
    path = checkpoint if isinstance(checkpoint, StorePath) else Path(checkpoint)
    return path.with_name(path.name + ENDING)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A checkpoint that is about to be replaced by one of the same name.

    Args:
        sidecar: the content of its sidecar, None if it has none.
        by: files of the new checkpoint by name, each with the path that it has now. Once these are
            there, the new checkpoint is.
    """

    sidecar: Mapping[str, Any] | None
    by: Mapping[str, Path]


def states_of(objects: Mapping[str, Any]) -> dict[str, Any]:
    """``state_dict()`` of each object, by name.

    Raises:
        InitregError: an object has no ``state_dict`` or no ``load_state_dict``.
    """
    for name, each in objects.items():
        if not offers_state(each):
            raise InitregError(
                f"{name!r}, a {type(each).__name__}, cannot be saved: it needs state_dict() and "
                "load_state_dict(state)"
            )
    return {name: each.state_dict() for name, each in objects.items()}


def sidecar_text(
    checkpoint: str,
    *,
    epoch: int | None,
    step: int | None,
    states: Mapping[str, Any],
    files: Mapping[str, Path] | None = None,
    replaces: Replaced | None = None,
) -> str:
    """The content of a sidecar.

    Args:
        checkpoint: the file name of the checkpoint.
        epoch: how many epochs are done.
        step: the global step.
        states: the states, by name.
        files: the files of the checkpoint by name, each with the path that it has now. Their sizes
            and checksums are recorded, because some formats have no checksums.
        replaces: the checkpoint of the same name that is there until this one is written.

    Raises:
        InitregError: JSON cannot hold a state.
    """
    content: dict[str, Any] = {
        "initreg": _VERSION,
        "checkpoint": checkpoint,
        "saved_at": time.time(),
        "epoch": epoch,
        "step": step,
        "files": {name: _digest(path) for name, path in (files or {}).items()},
        "states": to_json(dict(states), "states"),
    }
    if replaces is not None:
        new = {name: _digest(path) for name, path in replaces.by.items()}
        content["replaces"] = {"sidecar": replaces.sidecar, "unless": new}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def save_states(
    checkpoint: str | os.PathLike[str],
    *,
    epoch: int | None = None,
    step: int | None = None,
    objects: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> FilePath:
    """Write the sidecar of a checkpoint. Call this *before* the checkpoint is written.

    A sidecar without a checkpoint is ignored. A checkpoint without its sidecar would be taken for
    one that never had a sidecar.

    Args:
        checkpoint: the path or the URL of the checkpoint that is about to be written.
        epoch: how many epochs are done.
        step: the global step.
        objects: objects with ``state_dict()`` and ``load_state_dict()``, by name.
        storage_options: for a URL: what fsspec's file system is made with.

    Returns:
        The path of the sidecar.

    Raises:
        InitregError: an object has no such methods, or JSON cannot hold its state.
        UnwritableFile: the sidecar cannot be written.

    >>> initreg.save_states("run/model-100.npz", epoch=3, step=100)  # doctest: +SKIP
    >>> initreg.save("run/model-100.npz", arrays)  # doctest: +SKIP
    """
    found = locate(checkpoint, storage_options) if is_remote(checkpoint) else None
    path = sidecar_of(checkpoint if found is None else found.path)
    name = path.name.removesuffix(ENDING)
    text = sidecar_text(name, epoch=epoch, step=step, states=states_of(objects or {}))
    with written_to(path, alone=True) as output:
        output.file().write_text(text, "utf-8")
    return path


def remove_orphans(folder: str | os.PathLike[str] | StorePath, keep: Iterable[str] = ()) -> None:
    """Remove the sidecars whose checkpoints no longer exist, and in a store also the hidden files
    of uploads that were killed. On the disk, the next save removes those.

    One that is younger than a day may be of a checkpoint that another loop is still writing.

    Args:
        folder: the folder.
        keep: names of checkpoints whose sidecars are kept, though they do not exist.
    """
    at = fresh(folder) if isinstance(folder, StorePath) else Path(folder)
    names = set(small_files.listed(at))
    known = checkpoints(default_registry(), names)
    for name in names:
        checkpoint = name.removesuffix(ENDING)
        is_sidecar = name.endswith(ENDING) and checkpoint not in {*keep, *names, *known}
        if is_sidecar or (isinstance(at, StorePath) and TEMPORARY.match(name)):
            remove_if_old(at / name)


def remove_if_old(path: FilePath) -> None:
    """Remove a file that was written more than a day ago."""
    written_at = modified_at(path)
    if written_at and time.time() - written_at > _ORPHANED:
        removed(path)


def _digest(path: FilePath) -> dict[str, Any]:
    return {"size": _size(path), "crc32c": f"{_crc32c(path):08x}"}


def _size(path: FilePath) -> int:
    """How many bytes a file has. Raises OSError."""
    if isinstance(path, Path):
        return path.stat().st_size
    found = status(path)
    if found is None:
        raise SourceNotFound(f"{path}: no such file")
    return found.stamp.size


def _crc32c(path: FilePath) -> int:
    total = 0
    with small_files.opened(path) as file:
        while chunk := file.read(_CHUNK):
            total = checksums.checksum("crc32c", chunk, total)
    return total


def digest_text(path: FilePath) -> str:
    """What tells the content of a file from that of another one, as text."""
    return "{size} {crc32c}".format_map(_digest(path))


def checksum_of(text: str) -> int:
    """The crc32c of a text."""
    return checksums.checksum("crc32c", text.encode())


def check_file(path: FilePath, digest: Mapping[str, Any], verify: bool) -> None:
    try:
        size = _size(path)
        found = f"{_crc32c(path):08x}" if verify and size == digest["size"] else digest["crc32c"]
    except InitregError:
        raise
    except OSError as error:
        raise SourceNotFound(f"{path}: {error.strerror}") from error
    if size != digest["size"]:
        raise DamagedFile(f"{path}: has {size:,} bytes, but {digest['size']:,} were saved")
    if found != digest["crc32c"]:
        raise DamagedFile(
            f"{path}: fails its crc32c: {digest['crc32c']} was saved, but its bytes give {found}"
        )


def read_sidecar(path: FilePath) -> Mapping[str, Any] | None:
    """The content of the sidecar of the checkpoint that is there. Its values have the right types.

    Returns:
        None if the checkpoint has no sidecar: a save that was to replace it was killed.

    Raises:
        DamagedFile: it is not a sidecar, or was written by another version.
    """
    try:
        content = json.loads(small_files.content(path, _LARGEST, "a sidecar", is_json=True))
        valid = _is_sidecar(content, path)
        replaced = content.get("replaces")
        if replaced is not None and valid:
            valid = all(_is_digest(*item) for item in replaced["unless"].items())
            if not all(_is_there(path.with_name(n), d) for n, d in replaced["unless"].items()):
                content = replaced["sidecar"]
                valid = valid and (content is None or _is_sidecar(content, path))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFile(
            f"{path}: this is not a sidecar: {type(error).__name__}: {error}"
        ) from error
    if not valid:
        raise DamagedFile(f"{path}: this is not a sidecar: it has values of wrong types")
    return content  # type: ignore[no-any-return]


def _is_sidecar(content: Any, path: FilePath) -> bool:
    """Whether the values have the right types. Raises various exceptions if keys are missing."""
    if content["initreg"] != _VERSION:
        raise DamagedFile(f"{path}: this was written by another version of initreg")
    return (
        isinstance(content["saved_at"], float)
        and all(type(content[key]) in (int, type(None)) for key in ("epoch", "step"))
        and isinstance(content["states"], dict)
        and all(_is_digest(*item) for item in content["files"].items())
    )


def _is_there(path: FilePath, digest: Mapping[str, Any]) -> bool:
    try:
        check_file(path, digest, True)
    except InitregError:
        return False
    return True


def replaced(checkpoint: FilePath) -> Mapping[str, Any] | None:
    """The content of the sidecar of a checkpoint that is about to be replaced.

    Returns:
        None if it has no sidecar. An empty dict, which is not a sidecar, if its sidecar is damaged.
    """
    path = sidecar_of(checkpoint)
    if not is_there(path):
        return None
    try:
        found = read_sidecar(path)
    except InitregError:
        return {}
    return None if found is None else {k: v for k, v in found.items() if k != "replaces"}


def forget_replaced(checkpoint: FilePath) -> None:
    """Write the sidecar of a checkpoint anew, without that of the one that it has replaced.

    Raises:
        InitregError: it cannot be read or written.
    """
    path = sidecar_of(checkpoint)
    content = replaced(checkpoint)
    if content:
        with written_to(path, alone=True) as output:
            output.file().write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _is_digest(name: str, digest: Any) -> bool:
    """Whether this describes a file in the same folder.

    Raises:
        ValueError: the name leads to another folder.
    """
    small_files.plain_name(name)
    return type(digest["size"]) is int and isinstance(digest["crc32c"], str)
