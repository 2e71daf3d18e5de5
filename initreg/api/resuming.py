"""Where a training run can continue: the newest complete checkpoint of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initreg.api.opening import open as open_source
from initreg.api.sidecars import ENDING, check_file, read_sidecar, sidecar_of
from initreg.api.training_states import from_json, give, to_json
from initreg.arrays.saved import Saved
from initreg.errors import (
    DamagedFile,
    InitregError,
    ResumeWarning,
    SourceNotFound,
    UnreadableFile,
    warn,
)
from initreg.option_spelling import said
from initreg.plugin.installed import default_registry
from initreg.plugin.part_names import refuse_link_out
from initreg.plugin.training import checkpoints_and_states
from initreg.plugin.training_hookspecs import StateFile
from initreg.storage import small_files
from initreg.storage.locating import is_remote, locate
from initreg.storage.paths import is_there, modified_at, names_in, which_are_there
from initreg.storage.store_files import StoreFiles, files_of
from initreg.storage.stores import without_secrets
from initreg.store_paths import FilePath, StorePath
from initreg.text.wording import plural, printable

_STEP = re.compile(r".+-(\d+)", re.ASCII)  # the name of a checkpoint without a sidecar
_OVERRULED = "was saved later, but"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run can continue.

    Args:
        path: the checkpoint, as :class:`initreg.SmartInit` opens it. In a store it is a
            :class:`initreg.StorePath`.
        epoch: how many epochs are done, None if that is not known. It is Keras's
            ``initial_epoch``.
        step: the global step, None if it is not known.
        states: the result of ``state_dict()`` of each object, by the object's name.
        skipped: newer checkpoints that are not taken, each with the reason. They are not complete,
            or a state file names an older one.

    >>> point = initreg.resume("run")  # doctest: +SKIP
    >>> point.path, point.epoch, point.step  # doctest: +SKIP
    (PosixPath('run/model-1000'), 4, 1000)
    """

    path: FilePath
    epoch: int | None = None
    step: int | None = None
    states: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[FilePath, str], ...] = ()

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


def resume(
    directory: str | os.PathLike[str] | StorePath,
    *,
    verify: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> ResumePoint | None:
    """Find the newest complete checkpoint in a folder.

    A checkpoint is complete if its sidecar and its index can be read, and each of its files has
    the size that was saved. Newer checkpoints that are not complete are skipped, with a
    ResumeWarning. A checkpoint without a sidecar needs a name as training gives it, such as
    ``model-1000.index``, or has to be in a state file: the file ``checkpoint`` of TensorFlow.

    A state file says which checkpoint was the latest when it was written. That one is taken before
    all that were saved earlier, and after those that were saved later. If one of the earlier ones
    was saved after it nevertheless, there is a ResumeWarning.

    Args:
        directory: the folder, or its URL.
        verify: read all bytes and check their checksums, too.
        storage_options: for a URL: what fsspec's file system is made with.

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
    found, skipped = find(directory, verify=verify, storage_options=storage_options)
    if skipped:
        warn(passed_over(directory, found, skipped), ResumeWarning)
    return found


def passed_over(
    directory: str | os.PathLike[str] | StorePath,
    found: ResumePoint | None,
    skipped: Sequence[tuple[FilePath, str]],
) -> str:
    """The text of a warning about newer checkpoints that are not taken."""
    where = f"continuing from {found.path}" if found else "there is nothing to continue from"
    lines = "".join(f"\n  {reason}" for _, reason in skipped)
    kind = "newer" if any(_OVERRULED in reason for _, reason in skipped) else "incomplete"
    count = plural(len(skipped), f"{kind} checkpoint")
    where_from = without_secrets(str(directory))
    return f"{where_from}: {count} skipped, {where}:{lines}"


def find(
    directory: str | os.PathLike[str] | StorePath,
    *,
    verify: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[ResumePoint | None, tuple[tuple[FilePath, str], ...]]:
    """The point that :func:`resume` returns, and the checkpoints that were skipped. No warning."""
    skipped: list[tuple[FilePath, str]] = []
    for candidate in _in_order(run_folder(directory, storage_options)):
        try:
            found = candidate.point(verify)
        except InitregError as error:
            skipped.append((candidate.path, printable(said(error))))
        else:
            skipped += [(path, printable(reason)) for path, reason in candidate.before]
            return replace(found, skipped=tuple(skipped)), tuple(skipped)
    return None, tuple(skipped)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checkpoint that may be complete.

    Args:
        path: the checkpoint.
        saved_at: when it was saved, in seconds since the epoch.
        step: the global step, if it is known.
        sidecar: the content of the sidecar, None without a sidecar, or the error that this
            checkpoint is.
        written_at: when its last file was written, as the file system says.
        place: the place in the list of a state file. -1 if it is not there.
        before: checkpoints that were saved later, each with the reason why they come after it.
    """

    path: FilePath
    saved_at: float
    step: int | None
    sidecar: Mapping[str, Any] | InitregError | None
    written_at: float
    place: int = -1
    before: tuple[tuple[FilePath, str], ...] = ()

    @property
    def age(self) -> tuple[float, int, int]:
        return self.saved_at, self.place, self.step or 0

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


def run_folder(
    directory: str | os.PathLike[str] | StorePath, storage_options: Mapping[str, Any] | None = None
) -> FilePath:
    """Where the checkpoints of a run are: a folder on the disk, or in a store."""
    if is_remote(directory) or storage_options:
        found = locate(directory, storage_options)
        if found is not None and isinstance(found.path, StorePath):
            # With a look of its own at what is there now.
            files = StoreFiles(files_of(found.path).store)
            return StorePath(files, found.path.key.rstrip("/"))
        if found is not None:
            return found.path
    return Path(directory)


def names_of(folder: FilePath) -> set[str]:
    """The names in a folder. Raises SourceNotFound, UnreadableFile."""
    if isinstance(folder, StorePath):
        found = names_in(folder)
        if found is None:
            if not folder.exists():
                raise SourceNotFound(f"{folder}: there is no such folder to resume from")
            raise UnreadableFile(f"{folder}: its store cannot list what is in it")
        return set(found)
    try:
        return set(small_files.listed(folder))
    except FileNotFoundError:
        raise SourceNotFound(f"{folder}: there is no such folder to resume from") from None
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error


def _in_order(folder: FilePath) -> list[_Candidate]:
    """The checkpoints of a folder, in the order in which they are tried."""
    names = names_of(folder)
    # Hidden files belong to a save that is running, or was killed.
    names = {name for name in names if not name.startswith(".")}
    known, states = checkpoints_and_states(default_registry(), names, folder)
    which_are_there(folder, [*known.values(), *(name for name in names if name.endswith(ENDING))])
    found = {name: _candidate(folder, name, last) for name, last in known.items()}
    found |= {
        name: _candidate(folder, name, name)
        for name in names
        if f"{name}{ENDING}" in names and name not in known
    }
    listed = {name for state in states for name in state.checkpoints}
    found = {
        name: each
        for name, each in found.items()
        if each.sidecar is not None or name in listed or _STEP.fullmatch(name)
    }
    ordered = sorted(found.values(), key=lambda each: each.age, reverse=True)
    for state in states:
        ordered = _as_stated(ordered, state, folder)
    return ordered


def _candidate(folder: FilePath, name: str, last: str) -> _Candidate:
    """The checkpoint of a name. ``last`` is the file that is written last."""
    path, written_at = folder / name, modified_at(folder / last)
    sidecar = sidecar_of(path)
    if is_there(sidecar):
        try:
            refuse_link_out(sidecar, str(path), path)
            content = read_sidecar(sidecar)
        except InitregError as error:
            return _Candidate(path, modified_at(sidecar), None, error, written_at)
        if content is not None:
            return _Candidate(path, content["saved_at"], content["step"], content, written_at)
    step = _STEP.fullmatch(path.name)
    return _Candidate(path, written_at, int(step[1]) if step else None, None, written_at)


def _as_stated(
    candidates: Sequence[_Candidate], state: StateFile, folder: FilePath
) -> list[_Candidate]:
    """The candidates, the newest first, in the order in which a state file puts them.

    A state file knows of all that was saved before it was written. Its list also gives the order of
    checkpoints without sidecars, whose own times change when a folder is copied.
    """
    path = folder / state.name
    at = modified_at(path)
    places = {folder / name: place for place, name in enumerate(state.checkpoints)}
    found = {each.path: each for each in candidates}
    for name, last in state.checkpoints.items():
        each = found.get(folder / name) or _candidate(folder, name, last)
        is_listed = each.sidecar is None
        found[each.path] = replace(
            each,
            place=places[each.path],
            saved_at=min(each.saved_at, at) if is_listed else each.saved_at,
            written_at=min(each.written_at, at) if is_listed else each.written_at,
        )
    latest = found.pop(folder / state.latest, None)
    if state.problem:
        error = SourceNotFound(state.problem)
        latest = _Candidate(path, at, None, error, at)
    ordered = sorted(found.values(), key=lambda each: each.age, reverse=True)
    if latest is None:
        return ordered
    by_time = next((n for n, each in enumerate(ordered) if each.age < latest.age), len(ordered))
    known = (n for n, each in enumerate(ordered) if _is_known(each, latest, at))
    position = min(by_time, next(known, len(ordered)))
    reason = f"{_OVERRULED} {path} names {state.latest!r}"
    before = [
        (each.path, f"{each.path}: {reason}")
        for each in ordered[position:by_time]
        if each.place < 0 or each.sidecar is not None
    ]
    return [*ordered[:position], replace(latest, before=tuple(before)), *ordered[position:]]


def _is_known(candidate: _Candidate, latest: _Candidate, at: float) -> bool:
    """Whether a checkpoint was there when the state file was written, ``at`` this time.

    In a folder that was copied, an old one may look newer. A lower step tells, unless a run was
    started anew, and killed after its first save.
    """
    if max(candidate.saved_at, candidate.written_at) <= at:
        return True
    steps = candidate.step, latest.step
    return candidate.sidecar is None and None not in steps and steps[0] < steps[1]  # type: ignore[operator]
