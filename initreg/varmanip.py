"""The functions of tensorpack's ``tfutils.varmanip``, by the names that people know.

They mean what they meant, without what was wrong: nothing is written through a graph, which could
hold no more than 2 GB, and :func:`get_all_checkpoints` honours its prefix. Paths may be of any
format that is installed. Source: ``tensorpack/tfutils/varmanip.py`` of tensorpack 0.11.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from initreg.api.chain import load
from initreg.api.saving import save, saver_for
from initreg.errors import RefusedFile, SourceNotFound, UnknownFormat, UnreadableFile
from initreg.plugin.source import Source

__all__ = [
    "dump_session_params",
    "get_all_checkpoints",
    "get_checkpoint_path",
    "load_checkpoint_vars",
    "load_chkpt_vars",
    "save_checkpoint_vars",
    "save_chkpt_vars",
]

_INDEX = ".index"
_DATA = re.compile(r"(.+)\.data-\d{5,}-of-\d{5,}")
_CHECKPOINT = "model.ckpt"  # what is saved under any other name is saved as this would be
_PACKED = ".npz"  # tensorpack wrote it compressed
_STATE = "checkpoint"
_STATED = re.compile(r"""^\s*model_checkpoint_path\s*:\s*(["'])((?:[^"'\\\n]|\\.)*)\1""", re.M)
_LARGEST_STATE = 1 << 20  # bytes


def load_checkpoint_vars(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All arrays of a checkpoint, or of a file of any other format, by name without ``:0``.

    Raises what :func:`initreg.load` raises.
    """
    return load(path)


def save_checkpoint_vars(dic: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Save arrays by name, with or without ``:0``: whole, or not at all.

    ``path``: ``.npz`` is written compressed; any other ending that :func:`initreg.save` knows is
    written in its format; everything else is the prefix of a TF checkpoint. Raises UnknownFormat
    for ``.npy``, which holds one array, and what :func:`initreg.save` raises.
    """
    ending = Path(path).suffix.lower()
    if ending == ".npy":
        raise UnknownFormat(
            f"{os.fspath(path)}: one .npy holds one array, not arrays by name: end it in .npz"
        )
    try:
        format = saver_for(path)
    except UnknownFormat:
        format = saver_for(_CHECKPOINT)
    save(path, dic, format=format, compress=ending == _PACKED)


load_chkpt_vars = load_checkpoint_vars
save_chkpt_vars = save_checkpoint_vars


def dump_session_params(path: str | os.PathLike[str], session: Any = None) -> None:
    """Save the global variables of a session that are TRAINABLE or MODEL variables of its graph.

    ``session``: by default the default session. ``path`` as for :func:`save_checkpoint_vars`. A
    partitioned variable is saved as a whole, under its own name. Raises TargetError if there is no
    session, or the variables cannot be read.
    """
    from initreg.trainers.tf1.variables import parameters

    save_checkpoint_vars(parameters(session), path)


def get_all_checkpoints(
    dir: str | os.PathLike[str], prefix: str = "model"
) -> list[tuple[str, int]]:
    """The checkpoints ``<prefix>-<step>`` in a folder, ``(path, step)``, by step.

    ``path`` is what :func:`load_checkpoint_vars` and ``tf.train.load_checkpoint`` take. Other files
    are passed over. Raises SourceNotFound if there is no such folder.
    """
    folder = os.path.expanduser(os.fspath(dir))
    pattern = re.compile(re.escape(prefix) + r"-(\d+)" + re.escape(_INDEX), re.ASCII)
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFound(f"{folder}: no such folder") from None
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error
    found = [
        (os.path.join(folder, name.removesuffix(_INDEX)), int(match[1]))
        for name in names
        if (match := pattern.fullmatch(name)) is not None
    ]
    return sorted(found, key=lambda each: (each[1], each[0]))


def get_checkpoint_path(path: str | os.PathLike[str]) -> str:
    """The prefix of the checkpoint that a path means, as ``tf.train.load_checkpoint`` takes it.

    ``path``: the prefix itself; its ``.index``, or one of its data files; a file ``checkpoint``, or
    the folder of one, for the latest that it names. A bare name gets ``./`` before it, which some
    versions of TensorFlow need. Raises SourceNotFound if there is no such checkpoint.
    """
    given = os.path.expanduser(os.fspath(path))
    if not given:
        raise SourceNotFound("'': an empty path names nothing")
    if os.path.basename(given) == given:
        given = os.path.join(".", given)
    if os.path.isfile(os.path.join(given, _STATE)):
        given = os.path.join(given, _STATE)
    if os.path.basename(given) == _STATE and os.path.isfile(given):
        return _latest(given)
    folder, name = os.path.split(given)
    data = _DATA.fullmatch(name)
    name = data[1] if data is not None else name.removesuffix(_INDEX)
    prefix = os.path.join(folder, name)
    if not _stands(prefix):
        raise Source(given).not_found()
    return prefix


def _stands(prefix: str) -> bool:
    return os.path.isfile(prefix) or os.path.isfile(prefix + _INDEX)


def _latest(state: str) -> str:
    """The checkpoint that a state file names; beside it, if its folder was moved since. Raises
    RefusedFile if it is somewhere else: a stranger's file does not choose among the user's."""
    text = Source(state).read(0, _LARGEST_STATE).decode(errors="surrogateescape")
    stated = _STATED.search(text)
    if stated is None:
        raise SourceNotFound(f"{state}: names no checkpoint")
    name = re.sub(r"\\(.)", r"\1", stated[2])
    folder = os.path.dirname(state)
    beside = os.path.join(folder, re.split(r"[/\\]", name)[-1])
    tries = [os.path.join(folder, name), beside]
    for prefix in reversed(tries) if os.path.isabs(name) else tries:
        if _stands(prefix):
            home = os.path.realpath(folder)
            if os.path.commonpath([home, os.path.realpath(os.path.dirname(prefix))]) != home:
                raise RefusedFile(
                    f"{state}: points out of its folder, to {name!r}. If you trust it, give that"
                )
            return prefix
    raise SourceNotFound(f"{state}: points to {name!r}, which is not there")
