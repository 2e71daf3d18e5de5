"""Where a training run can continue: the newest complete checkpoint, and the state beside it.

A checkpoint holds variables. A run also needs the epoch, the step, and the states of callbacks and
random generators. They are in a *sidecar*, a small JSON file beside the checkpoint. The sidecar is
written first and the checkpoint last, so that no checkpoint is ever without its sidecar.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initreg.api.chain import open as open_source
from initreg.api.states import from_json, give, offers_state, to_json
from initreg.arrays import checksums
from initreg.arrays.saved import Saved
from initreg.errors import (
    DamagedFile,
    InitregError,
    ResumeWarning,
    SourceNotFound,
    UnreadableFile,
    warn,
)
from initreg.plugin.installed import default_registry
from initreg.plugin.training import checkpoints
from initreg.spelling import said
from initreg.storage import small_files
from initreg.storage.output import written
from initreg.wording import plural, printable

ENDING = ".resume.json"
_VERSION = 1
_LARGEST = 64 << 20  # bytes of a sidecar
_STEP = re.compile(r".+-(\d+)", re.ASCII)  # the name of a checkpoint without a sidecar
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run can continue.

    Args:
        path: the checkpoint, as :class:`initreg.SmartInit` opens it.
        epoch: how many epochs are done, None if that is not known. It is Keras's
            ``initial_epoch``.
        step: the global step, None if it is not known.
        states: the result of ``state_dict()`` of each object, by the object's name.
        skipped: newer checkpoints that are not complete, each with the reason.

    >>> point = initreg.resume("run")  # doctest: +SKIP
    >>> point.path, point.epoch, point.step  # doctest: +SKIP
    (PosixPath('run/model-1000'), 4, 1000)
    """

    path: Path
    epoch: int | None = None
    step: int | None = None
    states: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[Path, str], ...] = ()

    def load_states(self, objects: Mapping[str, Any]) -> list[str]:
        """Pass each object its state, with ``load_state_dict``.

        Args:
            objects: the objects, by the names under which their states were saved.

        Returns:
            The names of the objects that have no state here.

        Raises:
            DamagedFile: an object does not accept its state.
        """
        missing = [name for name in objects if name not in self.states]
        for name, each in objects.items():
            if name in self.states:
                give(each, self.states[name], name, str(self.path))
        return missing

    def to_dict(self) -> dict[str, Any]:
        """The point as plain dicts, lists and strings."""
        return {
            "path": str(self.path),
            "epoch": self.epoch,
            "step": self.step,
            "states": to_json(dict(self.states)),
            "skipped": [{"path": str(path), "reason": reason} for path, reason in self.skipped],
        }


# --- writing ------------------------------------------------------------------------------------


def sidecar_of(checkpoint: str | os.PathLike[str]) -> Path:
    """The path of the sidecar of a checkpoint."""
    path = Path(checkpoint)
    return path.with_name(path.name + ENDING)


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
) -> str:
    """The content of a sidecar.

    Args:
        checkpoint: the file name of the checkpoint.
        epoch: how many epochs are done.
        step: the global step.
        states: the states, by name.
        files: the files of the checkpoint by name, each with the path that it has now. Their sizes
            and checksums are recorded, because some formats have no checksums.

    Raises:
        InitregError: JSON cannot hold a state.
    """
    content = {
        "initreg": _VERSION,
        "checkpoint": checkpoint,
        "saved_at": time.time(),
        "epoch": epoch,
        "step": step,
        "files": {name: _digest(path) for name, path in (files or {}).items()},
        "states": to_json(dict(states), "states"),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def save_states(
    checkpoint: str | os.PathLike[str],
    *,
    epoch: int | None = None,
    step: int | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Path:
    """Write the sidecar of a checkpoint. Call this *before* the checkpoint is written.

    A sidecar without a checkpoint is ignored. A checkpoint without its sidecar would be taken for
    one that never had a sidecar.

    Args:
        checkpoint: the path of the checkpoint that is about to be written.
        epoch: how many epochs are done.
        step: the global step.
        objects: objects with ``state_dict()`` and ``load_state_dict()``, by name.

    Returns:
        The path of the sidecar.

    Raises:
        InitregError: an object has no such methods, or JSON cannot hold its state.
        UnwritableFile: the sidecar cannot be written.

    >>> initreg.save_states("run/model-100.npz", epoch=3, step=100)  # doctest: +SKIP
    >>> initreg.save("run/model-100.npz", arrays)  # doctest: +SKIP
    """
    path = sidecar_of(checkpoint)
    name = path.name.removesuffix(ENDING)
    text = sidecar_text(name, epoch=epoch, step=step, states=states_of(objects or {}))
    with written(path) as output:
        output.file().write_text(text, "utf-8")
    return path


def remove_orphans(folder: str | os.PathLike[str], keep: Iterable[str] = ()) -> None:
    """Remove the sidecars whose checkpoints no longer exist.

    Args:
        folder: the folder.
        keep: names of checkpoints whose sidecars are kept, though they do not exist.
    """
    names = set(os.listdir(folder))
    known = checkpoints(default_registry(), names)
    for name in names:
        checkpoint = name.removesuffix(ENDING)
        if name.endswith(ENDING) and checkpoint not in {*keep, *names, *known}:
            with contextlib.suppress(OSError):
                Path(folder, name).unlink()


def _digest(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "crc32c": f"{_crc32c(path):08x}"}


def _crc32c(path: Path) -> int:
    total = 0
    with small_files.opened(path) as file:
        while chunk := file.read(_CHUNK):
            total = checksums.checksum("crc32c", chunk, total)
    return total


# --- reading ------------------------------------------------------------------------------------


def resume(directory: str | os.PathLike[str], *, verify: bool = False) -> ResumePoint | None:
    """Find the newest complete checkpoint in a folder.

    A checkpoint is complete if its sidecar and its index can be read, and each of its files has
    the size that was saved. Newer checkpoints that are not complete are skipped, with a
    ResumeWarning. A checkpoint without a sidecar needs a name as training gives it:
    ``model-1000.index``.

    Args:
        directory: the folder.
        verify: read all bytes and check their checksums, too.

    Returns:
        A :class:`ResumePoint`, or None if there is no complete checkpoint.

    Raises:
        SourceNotFound: the folder does not exist.
        UnreadableFile: the folder cannot be listed.

    >>> point = initreg.resume("run")  # doctest: +SKIP
    >>> if point is not None:  # doctest: +SKIP
    ...     SmartInit(point.path).init(model)
    ...     model.fit(..., initial_epoch=point.epoch)
    """
    found, skipped = find(directory, verify=verify)
    if skipped:
        warn(passed_over(directory, found, skipped), ResumeWarning)
    return found


def passed_over(
    directory: str | os.PathLike[str],
    found: ResumePoint | None,
    skipped: Sequence[tuple[Path, str]],
) -> str:
    """The text of a warning about checkpoints that are not complete."""
    where = f"continuing from {found.path}" if found else "there is nothing to continue from"
    lines = "".join(f"\n  {reason}" for _, reason in skipped)
    count = plural(len(skipped), "incomplete checkpoint")
    return f"{os.fspath(directory)}: {count} skipped, {where}:{lines}"


def find(
    directory: str | os.PathLike[str], *, verify: bool = False
) -> tuple[ResumePoint | None, tuple[tuple[Path, str], ...]]:
    """The point that :func:`resume` returns, and the checkpoints that were skipped. No warning."""
    skipped: list[tuple[Path, str]] = []
    for candidate in sorted(_candidates(Path(directory)), key=lambda c: c.age, reverse=True):
        try:
            found = candidate.point(verify)
        except InitregError as error:
            skipped.append((candidate.path, printable(said(error))))
        else:
            return replace(found, skipped=tuple(skipped)), tuple(skipped)
    return None, tuple(skipped)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checkpoint that may be complete.

    Args:
        path: the checkpoint.
        saved_at: when it was saved, in seconds since the epoch.
        step: the global step, if it is known.
        sidecar: the content of the sidecar, the error of reading it, or None without a sidecar.
    """

    path: Path
    saved_at: float
    step: int | None
    sidecar: Mapping[str, Any] | InitregError | None

    @property
    def age(self) -> tuple[float, int]:
        return self.saved_at, self.step or 0

    def point(self, verify: bool) -> ResumePoint:
        """The point. Raises InitregError if the checkpoint is not complete."""
        if isinstance(self.sidecar, InitregError):
            raise self.sidecar
        files = self.sidecar["files"] if self.sidecar else {}
        for name, digest in files.items():
            _check_file(self.path.with_name(name), digest, verify)
        with open_source(self.path) as arrays:
            if verify and not files:
                for _ in Saved(arrays).stream():
                    pass
        if self.sidecar is None:
            return ResumePoint(self.path, None, self.step)
        sidecar = sidecar_of(self.path)
        states = from_json(self.sidecar["states"], str(sidecar))
        if not isinstance(states, dict) or not all(isinstance(name, str) for name in states):
            raise DamagedFile(f"{sidecar}: its states are not a dict by name")
        return ResumePoint(self.path, self.sidecar["epoch"], self.step, states)


def _check_file(path: Path, digest: Mapping[str, Any], verify: bool) -> None:
    try:
        size = path.stat().st_size
        found = f"{_crc32c(path):08x}" if verify and size == digest["size"] else digest["crc32c"]
    except OSError as error:
        raise SourceNotFound(f"{path}: {error.strerror}") from error
    if size != digest["size"]:
        raise DamagedFile(f"{path}: has {size:,} bytes, but {digest['size']:,} were saved")
    if found != digest["crc32c"]:
        raise DamagedFile(
            f"{path}: fails its crc32c: {digest['crc32c']} was saved, but its bytes give {found}"
        )


def _candidates(folder: Path) -> Iterator[_Candidate]:
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        raise SourceNotFound(f"{folder}: there is no such folder to resume from") from None
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error
    # Hidden files belong to a save that is running, or was killed.
    names = {name for name in names if not name.startswith(".")}
    known = checkpoints(default_registry(), names)
    sidecars = {n.removesuffix(ENDING): folder / n for n in names if n.endswith(ENDING)}
    for name, path in sidecars.items():
        if name not in names and name not in known:
            continue  # the checkpoint is not written yet, or was deleted
        try:
            content = _read_sidecar(path)
            yield _Candidate(folder / name, content["saved_at"], content["step"], content)
        except InitregError as error:
            yield _Candidate(folder / name, _mtime(path), None, error)
    for name, last in known.items():  # the file that is written last says when it was saved
        if name not in sidecars and (match := _STEP.fullmatch(name)):
            yield _Candidate(folder / name, _mtime(folder / last), int(match[1]), None)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0


def _read_sidecar(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(small_files.content(path, _LARGEST, "a sidecar"))
        if content["initreg"] != _VERSION:
            raise DamagedFile(f"{path}: this was written by another version of initreg")
        valid = (
            isinstance(content["saved_at"], float)
            and all(type(content[key]) in (int, type(None)) for key in ("epoch", "step"))
            and isinstance(content["states"], dict)
            and all(_is_digest(*item) for item in content["files"].items())
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFile(
            f"{path}: this is not a sidecar: {type(error).__name__}: {error}"
        ) from error
    if not valid:
        raise DamagedFile(f"{path}: this is not a sidecar: it has values of wrong types")
    return content  # type: ignore[no-any-return]


def _is_digest(name: str, digest: Any) -> bool:
    """Whether this describes a file in the same folder.

    Raises:
        ValueError: the name leads to another folder.
    """
    small_files.plain_name(name)
    return type(digest["size"]) is int and isinstance(digest["crc32c"], str)
