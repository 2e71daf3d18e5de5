"""Where a training run can continue: the newest complete checkpoint of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initreg.api.opening import open as open_source
from initreg.api.sidecars import ENDING, check_file, read_sidecar, sidecar_of
from initreg.api.states import from_json, give, to_json
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
from initreg.wording import plural, printable

_STEP = re.compile(r".+-(\d+)", re.ASCII)  # the name of a checkpoint without a sidecar


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
            check_file(self.path.with_name(name), digest, verify)
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
            content = read_sidecar(path)
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
