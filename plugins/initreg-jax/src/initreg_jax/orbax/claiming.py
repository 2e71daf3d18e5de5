"""Whether a folder is a checkpoint of Orbax, from the names in it."""

from __future__ import annotations

import re

from initreg import Claim, Confidence, Source
from initreg.format_tools.files import is_file

TREE = "_METADATA"  # in the folder that holds the arrays
STEP = "_CHECKPOINT_METADATA"  # in that folder, or in the one above if there are several items
AGGREGATE = "checkpoint"  # msgpack of the structure, before there was TREE
_ARRAY = (".zarray", "zarr.json")
_NUMBER = re.compile(r"(?:\w+_)?\d{1,18}")
_MOST_LOOKED_AT = 20  # folders
UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of a folder that is being written
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)


def claim(folder: Source) -> Claim | None:
    """The claim of a folder, None if it is not a checkpoint."""
    if TREE in folder.names and has_tree(folder):
        return Claim(Confidence.EXACT, f"Orbax checkpoint: folder with {TREE}")
    if STEP in folder.names and (found := items(folder)):
        return Claim(Confidence.EXACT, f"Orbax checkpoint with {found[0]}")
    if AGGREGATE in folder.names and is_aggregate(folder):
        return Claim(Confidence.EXACT, "Orbax checkpoint: msgpack of its structure, beside zarr")
    if found := steps(folder):
        return Claim(Confidence.CONTENT, f"folder with the Orbax checkpoint {found[-1]}")
    return None


def has_tree(folder: Source) -> bool:
    """Whether the metadata of a folder are those of a tree of arrays."""
    assert folder.path is not None
    tree = Source(folder.path / TREE, of=folder)
    return tree.is_file and b'"tree_metadata"' in tree.head


def is_aggregate(folder: Source) -> bool:
    """Whether a folder is one of the first versions of Orbax."""
    assert folder.path is not None
    file = Source(folder.path / AGGREGATE, of=folder)
    if not file.is_file or not file.head[:1] or file.head[0] not in _MAPS:
        return False
    return b"PLACEHOLDER://" in file.head or any(
        (folder.path / name / array).is_file()
        for name in folder.names[:_MOST_LOOKED_AT]
        for array in _ARRAY
    )


def items(step: Source) -> list[str]:
    """The folders in that of a step that hold arrays: ``default``, or what the program chose."""
    return [name for name in step.names[: 10 * _MOST_LOOKED_AT] if _has(step, name, TREE)]


def steps(root: Source) -> list[str]:
    """The folders of a training's steps that are checkpoints, by their numbers. Those that are
    being written have other names."""
    names = [name for name in root.names if _NUMBER.fullmatch(name)]
    names.sort(key=lambda name: int(name.rpartition("_")[2]))
    return [
        name
        for name in names[-_MOST_LOOKED_AT:]
        if _has(root, name, TREE) or _has(root, name, STEP)
    ]


def _has(folder: Source, name: str, file: str) -> bool:
    return folder.path is not None and is_file(folder.path / name / file)
