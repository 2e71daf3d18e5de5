"""The ``checkpoint`` state file: a text proto that names the latest checkpoint of its folder.

Source: TensorFlow's python/training/checkpoint_state.proto and ``tf.train.get_checkpoint_state``.
For the escapes: protobuf's text format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from initreg.format_tools.files import FilePath

NAME = "checkpoint"
FIELD = b"model_checkpoint_path"
LONGEST = 1 << 20  # bytes that are read; the field is the first in the file

_PATH = (  # compiled when a state file is read, and few are
    rb"""(?m)^\s*(model_checkpoint_path|all_model_checkpoint_paths)\s*:\s*"""
    rb"""(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')"""
)
_ESCAPE = rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)"
_LETTERS = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}


def checkpoint_path(text: bytes) -> str | None:
    """The path of the latest checkpoint, as a state file says it; None if it does not."""
    return next(_paths(text, FIELD), None) or None


def checkpoint_paths(text: bytes) -> list[str]:
    """The paths of all checkpoints that a state file lists, oldest first."""
    return [path for path in _paths(text, b"all_model_checkpoint_paths") if path]


def _paths(text: bytes, field: bytes) -> Iterator[str]:
    for name, double, single in re.findall(_PATH, text):
        if name == field:
            yield os.fsdecode(re.sub(_ESCAPE, _unescape, double or single))


def _unescape(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    if code.isdigit():
        return bytes((int(code, 8) & 0xFF,))
    if code[:1] in b"xX" and len(code) > 1:
        return bytes((int(code[1:], 16),))
    return _LETTERS.get(code, code)


def candidates(folder: FilePath, stated: str) -> list[FilePath]:
    """The prefixes that ``stated`` may mean, the likeliest first.

    TensorFlow uses the path as it is, or below the state file's folder if it is relative. In a
    folder that was moved or copied, the state file still has the old path. So files in the folder
    itself come first.
    """
    beside = folder / re.split(r"[/\\]", stated)[-1]
    if not isinstance(folder, Path) and (os.path.isabs(stated) or "://" in stated):
        return [beside]  # of the disk of the one who wrote it, or in the bucket that it was in
    if os.path.isabs(stated):
        return [beside, Path(stated)]
    return list(dict.fromkeys((folder / stated, beside)))
