"""Which checkpoint a path means: its prefix, one of its files, its state file or its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from initreg import Confidence, DamagedFile, InitregError, RefusedFile, Source, SourceNotFound
from initreg_formats.tf_checkpoint import leveldb, state

INDEX = ".index"
_DATA = re.compile(r"(.+)\.data-\d{5,}-of-\d{5,}")
_V1_PART = re.compile(r"(.+)-(\d{5}|\?{5})(-of-\d{5})")
_V1_NAME = re.compile(r".*ckpt(-\d+)?")
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_VARIABLES = Path("variables", "variables")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What a path means.

    Attributes:
        how: how the checkpoint was found, for a claim's reason.
        prefix: the prefix of a V2 checkpoint.
        table: the index of a V2 checkpoint, or one file of a V1 checkpoint.
        problem: why nothing can be opened.
        confidence: how surely it is a checkpoint, if there is a problem.
        error: the class of the error that opening it is, if there is a problem.
    """

    how: str
    prefix: Path | None = None
    table: Path | None = None
    problem: str = ""
    confidence: Confidence = Confidence.NAME
    error: type[InitregError] = DamagedFile


def locate(source: Source) -> Found | None:
    """The checkpoint that ``source`` means; None if it does not look like one."""
    path = source.path
    if path is None:
        return None
    if source.is_dir:
        return _in_folder(path, source.names) or _at_prefix(path)
    if source.is_file:
        return _of_file(source, path)
    return None if source.exists else _at_prefix(path)


def _of_file(source: Source, path: Path) -> Found | None:
    data = _DATA.fullmatch(path.name)
    if data is not None:
        return _at_prefix(path.with_name(data[1]))
    if path.name.endswith(INDEX) and path.name != INDEX:
        return Found("is named .index", _without(path, INDEX), path)
    if path.name.endswith(".meta"):
        return _at_prefix(_without(path, ".meta"))
    if path.name in _SAVED_MODEL:
        return _saved_model(path.parent, [path.name])
    if state.FIELD in source.head and (found := _from_state(path)) is not None:
        return found
    if path.name == state.NAME and _is_text(source.head):
        return Found(
            "is named 'checkpoint'",
            problem=f"{path}: this state file has no model_checkpoint_path. Open a checkpoint "
            "itself, by its prefix",
        )
    if leveldb.has_magic(source):
        return Found("is a single file", None, path)
    if _is_v1_name(path.name) and source.head.startswith(b"\0\0"):
        return Found("begins like a V1 checkpoint", None, path)
    return None


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in head.decode()
    except UnicodeDecodeError:
        return False


def _is_v1_name(name: str) -> bool:
    part = _V1_PART.fullmatch(name)
    return _V1_NAME.fullmatch(name if part is None else part[1]) is not None


def _without(path: Path, ending: str) -> Path:
    return path.with_name(path.name.removesuffix(ending))


def _beside(prefix: Path, ending: str) -> Path:
    return Path(f"{prefix}{ending}")


def _at_prefix(prefix: Path) -> Found | None:
    """The checkpoint whose files have names that begin with ``prefix``."""
    if not prefix.name:
        return None
    index = _beside(prefix, INDEX)
    if os.path.isfile(index):
        return Found(f"prefix of {index.name}", prefix, index)
    if os.path.isfile(prefix):
        return Found("is a single file", None, prefix)
    names = _names(prefix.parent)
    asked = _V1_PART.fullmatch(prefix.name)
    for name in names:
        part = _V1_PART.fullmatch(name)
        if part is None:
            continue
        if (part[1] == prefix.name) if asked is None else (part.group(1, 3) == asked.group(1, 3)):
            return Found(f"names {name}", None, prefix.with_name(name))
    shards = [name for name in names if _is_shard(name, prefix.name)]
    if shards:
        return Found(
            f"prefix of {shards[0]}",
            problem=f"{index} is missing, and only it says what {shards[0]} holds. Copy it from "
            "where the checkpoint was made",
        )
    return None


def _is_shard(name: str, stem: str) -> bool:
    data = _DATA.fullmatch(name)
    return data is not None and data[1] == stem


def _from_state(path: Path) -> Found | None:
    """The checkpoint that a state file points to; None if the file names none."""
    try:
        stated = state.checkpoint_path(Source(path).read(0, state.LONGEST))
    except InitregError:
        return None
    if stated is None:
        return None
    how = f"state file {path.name!r} that points to {stated!r}"
    problem = ""
    home = os.path.realpath(path.parent)
    for candidate in state.candidates(path.parent, stated):
        found = _at_prefix(candidate)
        folder = os.path.realpath(candidate.parent)
        if found is not None and os.path.commonpath([home, folder]) != home:
            problem = (
                f"{path}: points out of its folder, to {stated!r}. If you trust it, open that path"
            )
            return Found(how, problem=problem, error=RefusedFile)
        if found is not None and not found.problem:
            return Found(how, found.prefix, found.table)
        problem = problem or (found.problem if found is not None else "")
    if problem:
        return Found(how, problem=problem, confidence=Confidence.CONTENT)
    problem = f"{path}: points to {stated!r}, which does not exist"
    there = prefixes(_names(path.parent))
    problem += f". Its folder holds {_list(there)}. Open one of these" if there else ""
    return Found(how, problem=problem, confidence=Confidence.CONTENT, error=SourceNotFound)


def _in_folder(folder: Path, names: Sequence[str]) -> Found | None:
    if state.NAME in names and os.path.isfile(folder / state.NAME):
        found = _from_state(folder / state.NAME)
        if found is not None:
            return found
    saved_model = _saved_model(folder, names)
    if saved_model is not None:
        return saved_model
    there = [n for n in prefixes(names) if _is_checkpoint(folder / n, names)]
    if len(there) == 1:
        return Found(
            f"folder with {there[0]}.index", folder / there[0], folder / f"{there[0]}{INDEX}"
        )
    if there:
        return Found(
            "folder of checkpoints",
            problem=f"{folder}: holds {len(there)} checkpoints, and no state file says which to "
            f"use: {_list(there)}. Open one of them",
            confidence=Confidence.CONTENT,
        )
    shards = [match[1] for match in map(_DATA.fullmatch, names) if match is not None]
    return _at_prefix(folder / shards[0]) if shards else None


def _saved_model(folder: Path, names: Sequence[str]) -> Found | None:
    prefix = folder / _VARIABLES
    index = _beside(prefix, INDEX)
    if os.path.isfile(index):
        return Found("SavedModel folder", prefix, index)
    graph = next((name for name in _SAVED_MODEL if name in names), None)
    if graph is None:
        return None
    return Found(
        f"folder with {graph}",
        problem=f"{folder}: a SavedModel without {_VARIABLES}{INDEX}. It has no variables, or "
        "they were not copied",
    )


def _is_checkpoint(prefix: Path, names: Iterable[str]) -> bool:
    """Whether the ``.index`` belongs to a checkpoint. Other programs have such files, too."""
    if any(_is_shard(name, prefix.name) for name in names):
        return True
    return leveldb.has_magic(Source(_beside(prefix, INDEX)))


def prefixes(names: Iterable[str]) -> list[str]:
    return sorted(n.removesuffix(INDEX) for n in names if n.endswith(INDEX) and n != INDEX)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
