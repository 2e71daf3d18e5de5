"""Which checkpoint a path means: its prefix, one of its files, its state file or its folder."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from initreg import (
    Confidence,
    DamagedFile,
    InitregError,
    RefusedFile,
    Source,
    SourceNotFound,
    StateFile,
)
from initreg.format_tools.files import FilePath, is_file, is_inside, listed, real
from initreg_formats.tf_checkpoint import leveldb, state
from initreg_formats.tf_checkpoint.data_files import DATA, stem_of

INDEX = ".index"
_V1_PART = re.compile(r"(.+)-(\d{5}|\?{5})(-of-\d{5})")
_V1_NAME = re.compile(r".*ckpt(-\d+)?")
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_VARIABLES = "variables"  # the folder in a SavedModel, and the prefix in it
_SHOWN = 10
_MOST_STATED = 1000  # checkpoints of a state file that are looked for


class Found(NamedTuple):
    """What a path means.

    Attributes:
        how: how the checkpoint was found, for a claim's reason.
        prefix: the prefix of a V2 checkpoint.
        table: the index of a V2 checkpoint, or one file of a V1 checkpoint.
        main: the file or folder in which, or beside which, the table was found, if the user did not
            name it: a folder or a state file.
        problem: why nothing can be opened.
        confidence: how surely it is a checkpoint, if there is a problem.
        error: the class of the error that opening it is, if there is a problem.
    """

    how: str
    prefix: FilePath | None = None
    table: FilePath | None = None
    main: FilePath | None = None
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


def _of_file(source: Source, path: FilePath) -> Found | None:
    data = DATA.fullmatch(path.name)
    if data is not None:
        return _at_prefix(path.with_name(data[1]))
    stem = stem_of(path.name)
    if stem is not None and (found := _of_short_name(path, stem)) is not None:
        return found
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


def _of_short_name(path: FilePath, stem: str) -> Found | None:
    """The checkpoint of a data file whose name lacks its number. Other programs have files with
    such names, too."""
    index = _beside(path.with_name(stem), INDEX)
    if is_file(index):
        return Found(f"is named like a data file of {index.name}", path.with_name(stem), index)
    if _V1_NAME.fullmatch(stem) is None:
        return None
    return Found(
        "is named like the data file of a checkpoint",
        problem=f"{path}: {index.name} is missing beside it, and only that says what the data file "
        f"holds. Copy it from where the checkpoint was made. The full name of the data file is "
        f"{stem}.data-00000-of-00001, if there is only one",
        error=SourceNotFound,
    )


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in head.decode()
    except UnicodeDecodeError:
        return False


def _is_v1_name(name: str) -> bool:
    part = _V1_PART.fullmatch(name)
    return _V1_NAME.fullmatch(name if part is None else part[1]) is not None


def _without(path: FilePath, ending: str) -> FilePath:
    return path.with_name(path.name.removesuffix(ending))


def _beside(prefix: FilePath, ending: str) -> FilePath:
    return prefix.with_name(f"{prefix.name}{ending}")


def _at_prefix(prefix: FilePath) -> Found | None:
    """The checkpoint whose files have names that begin with ``prefix``."""
    if not prefix.name:
        return None
    index = _beside(prefix, INDEX)
    if is_file(index):
        return Found(f"prefix of {index.name}", prefix, index)
    if is_file(prefix):
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
    like = [name for name in names if stem_of(name) == prefix.name]
    return _of_short_name(prefix.with_name(like[0]), prefix.name) if like else None


def _is_shard(name: str, stem: str) -> bool:
    data = DATA.fullmatch(name)
    return data is not None and data[1] == stem


def _from_state(path: FilePath) -> Found | None:
    """The checkpoint that a state file points to; None if the file names none."""
    stated = state.checkpoint_path(_content(path))
    return None if stated is None else _stated(path, stated)


def _leads_out(folder: FilePath) -> str:
    """Why the state file of a folder is not read: it is a link out of the folder. "" if it is not.

    A user may name such a file. Found in a folder, it would choose the checkpoint from outside.
    """
    try:
        Source(folder).part(state.NAME)
    except RefusedFile as error:
        return str(error)
    except InitregError:  # whoever reads it finds out
        pass
    return ""


def _content(path: FilePath) -> bytes:
    try:
        return Source(path).read(0, state.LONGEST)
    except InitregError:
        return b""


def _stated(path: FilePath, stated: str) -> Found:
    """The checkpoint that ``stated`` means, which the state file ``path`` says."""
    how = f"state file {path.name!r} that points to {stated!r}"
    problem = ""
    for candidate in state.candidates(path.parent, stated):
        found = _at_prefix(candidate)
        if found is not None and not _is_inside(candidate, path.parent):
            problem = (
                f"{path}: points out of its folder, to {stated!r}. If you trust it, open that path"
            )
            return Found(how, problem=problem, error=RefusedFile)
        if found is not None and not found.problem:
            return Found(how, found.prefix, found.table, candidate.parent)
        problem = problem or (found.problem if found is not None else "")
    if problem:
        return Found(how, problem=problem, confidence=Confidence.CONTENT)
    problem = f"{path}: points to {stated!r}, which does not exist"
    there = prefixes(_names(path.parent))
    problem += f". Its folder holds {_list(there)}. Open one of these" if there else ""
    return Found(how, problem=problem, confidence=Confidence.CONTENT, error=SourceNotFound)


def _is_inside(prefix: FilePath, folder: FilePath) -> bool:
    return is_inside(prefix.parent, folder)


def state_file(folder: FilePath, names: Collection[str]) -> StateFile | None:
    """What the state file of a folder says; None if there is none, or if it names no checkpoint.

    Checkpoints that it lists besides the latest are left out if they do not exist: people remove
    old ones.
    """
    path = folder / state.NAME
    if state.NAME not in names or not is_file(path):
        return None
    if why := _leads_out(folder):
        return StateFile(state.NAME, {}, state.NAME, why)
    text = _content(path)
    latest = state.checkpoint_path(text)
    if latest is None:
        return None
    found: dict[str, str] = {}
    for stated in state.checkpoint_paths(text)[-_MOST_STATED:]:
        for prefix in state.candidates(folder, stated):
            index = _beside(prefix, INDEX)
            if is_file(index) and _is_inside(prefix, folder):
                found[_below(prefix, folder)] = _below(index, folder)
                break
    of_latest = _stated(path, latest)
    if of_latest.table is None:
        return StateFile(state.NAME, found, latest, of_latest.problem)
    name = _below(of_latest.prefix or of_latest.table, folder)
    found.pop(name, None)
    return StateFile(state.NAME, {**found, name: _below(of_latest.table, folder)}, name)


def _below(path: FilePath, folder: FilePath) -> str:
    """The path of something inside of the folder, from the folder."""
    parent = os.path.relpath(real(path.parent), real(folder))
    return os.path.normpath(os.path.join(parent, path.name))


def _in_folder(folder: FilePath, names: Sequence[str]) -> Found | None:
    if state.NAME in names and is_file(folder / state.NAME):
        if why := _leads_out(folder):
            is_ours = any(_is_checkpoint(folder / name, names) for name in prefixes(names))
            sure = Confidence.CONTENT if is_ours else Confidence.NAME
            return Found("folder with a state file", None, None, None, why, sure, RefusedFile)
        found = _from_state(folder / state.NAME)
        if found is not None:
            return found
        with contextlib.suppress(InitregError):
            if what := Source(folder / state.NAME).stand_in():
                return Found(
                    "folder with a state file",
                    problem=f"{folder / state.NAME}: this state file is {what}",
                    confidence=Confidence.CONTENT,
                )
    saved_model = _saved_model(folder, names)
    if saved_model is not None:
        return saved_model
    there = [n for n in prefixes(names) if _is_checkpoint(folder / n, names)]
    if len(there) == 1:
        return Found(
            f"folder with {there[0]}.index",
            folder / there[0],
            folder / f"{there[0]}{INDEX}",
            folder,
        )
    if there:
        return Found(
            "folder of checkpoints",
            problem=f"{folder}: holds {len(there)} checkpoints, and no state file says which to "
            f"use: {_list(there)}. Open one of them",
            confidence=Confidence.CONTENT,
        )
    shards = [match[1] for match in map(DATA.fullmatch, names) if match is not None]
    return _at_prefix(folder / shards[0]) if shards else None


def _saved_model(folder: FilePath, names: Sequence[str]) -> Found | None:
    prefix = folder / _VARIABLES / _VARIABLES
    index = _beside(prefix, INDEX)
    if is_file(index) and not _is_inside(prefix, folder):
        return Found(
            "SavedModel folder",
            problem=f"{folder}: its folder {prefix.parent.name} is a link out of it, to "
            f"{real(prefix.parent)}. If you trust it, put the folder itself there",
            error=RefusedFile,
        )
    if is_file(index):
        return Found("SavedModel folder", prefix, index, prefix.parent)
    graph = next((name for name in _SAVED_MODEL if name in names), None)
    if graph is None:
        return None
    return Found(
        f"folder with {graph}",
        problem=f"{folder}: a SavedModel without {_VARIABLES}/{_VARIABLES}{INDEX}. It has no "
        "variables, or they were not copied",
    )


def _is_checkpoint(prefix: FilePath, names: Iterable[str]) -> bool:
    """Whether the ``.index`` belongs to a checkpoint. Other programs have such files, too."""
    if any(_is_shard(name, prefix.name) for name in names):
        return True
    return leveldb.has_magic(Source(_beside(prefix, INDEX)))


def prefixes(names: Iterable[str]) -> list[str]:
    return sorted(n.removesuffix(INDEX) for n in names if n.endswith(INDEX) and n != INDEX)


def _names(folder: FilePath) -> list[str]:
    return sorted(listed(folder))


def _list(names: Sequence[str]) -> str:
    return ", ".join(n.replace("\n", "\\n") for n in names[:_SHOWN]) + (
        ", ..." if len(names) > _SHOWN else ""
    )
