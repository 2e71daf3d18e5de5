"""The functions of tensorpack's ``tfutils.varmanip``, under the names that people know.

They do what they did there, without its faults: nothing is written through a graph, which cannot
hold more than 2 GB, and :func:`get_all_checkpoints` uses its prefix. A path may be of any installed
format. Source: ``tensorpack/tfutils/varmanip.py`` of tensorpack 0.11.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from initreg.api.opening import load
from initreg.api.opening import open as open_source
from initreg.api.resuming import names_of, run_folder
from initreg.api.saving import path_text, save, saver_for
from initreg.errors import SourceNotFound, UnknownFormat, UnreadableFile
from initreg.plugin.installed import default_registry
from initreg.plugin.training import checkpoints
from initreg.storage import small_files
from initreg.storage.destinations import destination_of
from initreg.storage.locating import is_remote

__all__ = [
    "dump_session_params",
    "get_all_checkpoints",
    "get_checkpoint_path",
    "load_checkpoint_vars",
    "load_chkpt_vars",
    "save_checkpoint_vars",
    "save_chkpt_vars",
]

# What tensorpack writes: .npz compressed, and everything else as a checkpoint.
_PACKED = ".npz"
_CHECKPOINT = "model.ckpt"


def load_checkpoint_vars(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All arrays of a checkpoint, or of a file of any other format, by name without ``:0``.

    Raises:
        InitregError: what :func:`initreg.load` raises.
    """
    return load(path)


def save_checkpoint_vars(dic: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Save arrays by name, with or without ``:0``. The save is complete, or changes nothing.

    Args:
        dic: the arrays by name.
        path: a path, a URL or an open file. One that ends in ``.npz`` is written compressed. Any
            other ending that :func:`initreg.save` knows is written in its format. Everything else
            is the prefix of a TF checkpoint.

    Raises:
        UnknownFormat: the path ends in ``.npy``, which holds only one array.
        InitregError: what :func:`initreg.save` raises.
    """
    opened = destination_of(path)
    text = path_text(path) if opened is None else opened.name
    ending = Path(text).suffix.lower()
    if ending == ".npy":
        raise UnknownFormat(f"{text}: one .npy holds one array, not arrays by name. End it in .npz")
    try:
        format = saver_for(path)
    except UnknownFormat:
        if opened is not None:  # which takes one file, and a checkpoint has several
            raise
        format = saver_for(_CHECKPOINT)
    save(path, dic, format=format, compress=ending == _PACKED)


load_chkpt_vars = load_checkpoint_vars
save_chkpt_vars = save_checkpoint_vars


def dump_session_params(path: str | os.PathLike[str], session: Any = None) -> None:
    """Save the global variables of a session that are TRAINABLE or MODEL variables of its graph.

    A partitioned variable is saved as one array, under its own name.

    Args:
        path: as for :func:`save_checkpoint_vars`.
        session: by default the default session.

    Raises:
        TargetError: there is no session, or the variables cannot be read.
    """
    from initreg.trainers.tf1.variables import parameters

    save_checkpoint_vars(parameters(session), path)


def get_all_checkpoints(
    dir: str | os.PathLike[str], prefix: str = "model"
) -> list[tuple[str, int]]:
    """The checkpoints ``<prefix>-<step>`` in a folder, sorted by step.

    Args:
        dir: the folder, or its URL.
        prefix: what the names of the checkpoints begin with.

    Returns:
        Pairs of a path, as :func:`load_checkpoint_vars` and ``tf.train.load_checkpoint`` take it,
        and the step.

    Raises:
        SourceNotFound: there is no such folder.
        UnreadableFile: the folder cannot be listed.
    """
    pattern = re.compile(re.escape(prefix) + r"-(\d+)", re.ASCII)
    if is_remote(dir):
        there = run_folder(dir)
        try:
            names = list(names_of(there))
        except SourceNotFound:
            raise SourceNotFound(f"{there}: no such folder") from None
        found = [
            (str(there / name), int(match[1]))
            for name in checkpoints(default_registry(), names)
            if (match := pattern.fullmatch(name)) is not None
        ]
        return sorted(found, key=lambda each: (each[1], each[0]))
    folder = os.path.expanduser(os.fspath(dir))
    try:
        names = small_files.listed(folder)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFound(f"{folder}: no such folder") from None
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error
    found = [
        (os.path.join(folder, name), int(match[1]))
        for name in checkpoints(default_registry(), names)
        if (match := pattern.fullmatch(name)) is not None
    ]
    return sorted(found, key=lambda each: (each[1], each[0]))


def get_checkpoint_path(path: str | os.PathLike[str]) -> str:
    """The prefix of the checkpoint that a path means, as ``tf.train.load_checkpoint`` takes it.

    Args:
        path: the prefix itself, its ``.index``, one of its data files, a file ``checkpoint``, or
            the folder of one. The last two mean the latest checkpoint that the file names. It may
            be a URL, and then the answer is one.

    Returns:
        The prefix. A bare name gets ``./`` before it, which some versions of TensorFlow need.

    Raises:
        SourceNotFound: there is no such checkpoint.
        RefusedFile: a file ``checkpoint`` leads out of its folder.
        InitregError: what opening the checkpoint raises.
    """
    if is_remote(path):
        with open_source(path) as opened:
            return str(path) if opened.path is None else str(opened.path)
    given = os.path.expanduser(os.fspath(path))
    if given and os.path.basename(given) == given:
        given = os.path.join(".", given)
    with open_source(given) as opened:
        found = opened.path
    if found is None:  # of a format that is opened by the path of its file
        return given
    # As it was given, relative or not: a program may go to another folder and take both along.
    folder = given if os.path.isdir(given) else os.path.dirname(given)
    return os.path.join(folder, os.path.relpath(found, os.path.abspath(folder)))
