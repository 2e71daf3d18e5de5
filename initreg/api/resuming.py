"""Where a training run can go on: the newest checkpoint that is whole, and what it does not hold.

A checkpoint holds variables. What else a run needs, the epoch, the step and states of callbacks and
generators, lies beside it in a *sidecar*, a small JSON file. The sidecar becomes visible first,
its checkpoint last, so that a checkpoint never stands without what belongs to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initreg.api.chain import open as open_source
from initreg.api.states import from_json, give, offers_state, to_json
from initreg.arrays import checksums
from initreg.arrays.saved import Saved
from initreg.errors import DamagedFile, InitregError, ResumeWarning, SourceNotFound, UnreadableFile
from initreg.plugin.installed import default_registry
from initreg.plugin.training import checkpoints
from initreg.storage import small_files
from initreg.storage.output import written
from initreg.text import plural

ENDING = ".resume.json"
_VERSION = 1
_LARGEST = 64 << 20  # bytes of a sidecar
_STEP = re.compile(r".+-(\d+)", re.ASCII)  # what savers that write no sidecars call a checkpoint
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run can go on.

    ``path``: the checkpoint, as SmartInit opens it. ``epoch``: how many epochs are done, which is
    Keras's ``initial_epoch``; ``step``: the global step; each None if nothing says it. ``states``:
    what ``state_dict()`` of each object gave, by the object's name. ``skipped``: newer checkpoints
    that are not whole, each with the reason.
    """

    path: Path
    epoch: int | None = None
    step: int | None = None
    states: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[Path, str], ...] = ()

    def load_states(self, objects: Mapping[str, Any]) -> list[str]:
        """Give each object its state; returns the names of those that have none here. Raises
        DamagedFile for a state that its object does not take."""
        missing = [name for name in objects if name not in self.states]
        for name, each in objects.items():
            if name in self.states:
                give(each, self.states[name], name, str(self.path))
        return missing

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "epoch": self.epoch,
            "step": self.step,
            "states": to_json(dict(self.states)),
            "skipped": [{"path": str(path), "reason": reason} for path, reason in self.skipped],
        }


# --- writing ------------------------------------------------------------------------------------


def sidecar_of(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the sidecar of a checkpoint lies."""
    path = Path(checkpoint)
    return path.with_name(path.name + ENDING)


def states_of(objects: Mapping[str, Any]) -> dict[str, Any]:
    """``state_dict()`` of each object, by name. Raises InitregError for one that has none."""
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
    """The content of a sidecar. ``files``: those of the checkpoint by name, and where they lie now:
    their sizes and checksums are kept, for formats that have none of their own."""
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
    """Write the sidecar of a checkpoint that is about to be written; returns its path.

    ``objects``: by name, what has ``state_dict()`` and ``load_state_dict()``. Write it *before* the
    checkpoint: without one a sidecar means nothing, while a checkpoint without its sidecar would be
    taken for one that never had any.

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
    """Remove sidecars whose checkpoints are gone, but those of the names in ``keep``."""
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
    """The newest checkpoint in ``directory`` that is whole; None if there is none.

    Whole: its sidecar and its index parse, and each of its files has its length; with ``verify``,
    the checksums of all bytes are right. What is newer and not whole is passed over with a
    ResumeWarning. Checkpoints without sidecars count if they are called as training names them,
    ``model-1000.index``. Raises SourceNotFound if there is no such directory.

    >>> point = initreg.resume("run")  # doctest: +SKIP
    >>> if point is not None:  # doctest: +SKIP
    ...     SmartInit(point.path).init(model)
    ...     model.fit(..., initial_epoch=point.epoch)
    """
    found, skipped = find(directory, verify=verify)
    if skipped:
        warnings.warn(passed_over(directory, found, skipped), ResumeWarning, stacklevel=2)
    return found


def passed_over(
    directory: str | os.PathLike[str],
    found: ResumePoint | None,
    skipped: Sequence[tuple[Path, str]],
) -> str:
    """What is said of checkpoints that are not whole."""
    where = f"going on from {found.path}" if found else "there is nothing to go on from"
    lines = "".join(f"\n  {reason}" for _, reason in skipped)
    count = plural(len(skipped), "checkpoint")
    return f"{os.fspath(directory)}: {count} passed over, {where}:{lines}"


def find(
    directory: str | os.PathLike[str], *, verify: bool = False
) -> tuple[ResumePoint | None, tuple[tuple[Path, str], ...]]:
    """As :func:`resume`, without a warning: the point, and what was passed over on the way."""
    skipped: list[tuple[Path, str]] = []
    for candidate in sorted(_candidates(Path(directory)), key=lambda c: c.age, reverse=True):
        try:
            found = candidate.point(verify)
        except InitregError as error:
            skipped.append((candidate.path, str(error)))
        else:
            return replace(found, skipped=tuple(skipped)), tuple(skipped)
    return None, tuple(skipped)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checkpoint that may be whole. ``sidecar``: its content, None if it has none, or the error
    of reading it."""

    path: Path
    saved_at: float
    step: int | None
    sidecar: Mapping[str, Any] | InitregError | None

    @property
    def age(self) -> tuple[float, int]:
        return self.saved_at, self.step or 0

    def point(self, verify: bool) -> ResumePoint:
        """Raises InitregError if it is not whole."""
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
            raise DamagedFile(f"{sidecar}: its states are no dict by name")
        return ResumePoint(self.path, self.sidecar["epoch"], self.step, states)


def _check_file(path: Path, digest: Mapping[str, Any], verify: bool) -> None:
    try:
        size = path.stat().st_size
        found = f"{_crc32c(path):08x}" if verify and size == digest["size"] else digest["crc32c"]
    except OSError as error:
        raise SourceNotFound(f"{path}: {error.strerror}") from error
    if size != digest["size"]:
        raise DamagedFile(f"{path}: has {size:,} bytes of the {digest['size']:,} that were saved")
    if found != digest["crc32c"]:
        raise DamagedFile(
            f"{path}: fails its crc32c: {digest['crc32c']} was saved, its bytes give {found}"
        )


def _candidates(folder: Path) -> Iterator[_Candidate]:
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        raise SourceNotFound(f"{folder}: there is no such folder to resume from") from None
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error
    # Hidden files are those of a save that is going on, or was killed.
    names = {name for name in names if not name.startswith(".")}
    known = checkpoints(default_registry(), names)
    sidecars = {n.removesuffix(ENDING): folder / n for n in names if n.endswith(ENDING)}
    for name, path in sidecars.items():
        if name not in names and name not in known:
            continue  # the checkpoint does not exist yet, or no longer
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
            raise DamagedFile(f"{path}: was written by another version of initreg")
        valid = (
            isinstance(content["saved_at"], float)
            and all(type(content[key]) in (int, type(None)) for key in ("epoch", "step"))
            and isinstance(content["states"], dict)
            and all(_is_digest(*item) for item in content["files"].items())
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{path}: is no sidecar: {type(error).__name__}: {error}") from error
    if not valid:
        raise DamagedFile(f"{path}: is no sidecar: it has values of wrong types")
    return content  # type: ignore[no-any-return]


def _is_digest(name: str, digest: Any) -> bool:
    """Of a file in the same folder. Raises ValueError for a name that leads elsewhere."""
    small_files.plain_name(name)
    return type(digest["size"]) is int and isinstance(digest["crc32c"], str)
