"""TensorFlow checkpoints, V2 and V1, read without TensorFlow.

An array is called by its key. A checkpoint is given as its prefix, one of its files, its state
file, the folder of these, or the folder of a SavedModel.

The modules: ``locate`` and ``state`` find the index. ``leveldb`` and ``snappy`` read it.
``bundle``, ``entry``, ``strings`` and ``graph`` say what lies where. ``v1`` reads the older format.
``writing`` and ``table`` write V2. ``slots`` and ``training`` know the names that optimisers and
trainings give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initreg import Claim, Confidence, DamagedFile, OpenOptions, Source, hookimpl
from initreg_formats.shared.paths import path_of
from initreg_formats.tf_checkpoint import leveldb
from initreg_formats.tf_checkpoint.locate import INDEX, locate, prefixes

if TYPE_CHECKING:
    from initreg import ArraySpec, Inference, Output, Saved, SaveOptions

initreg_endings = (".ckpt", ".index")

# The header of a V1 file begins with field 1, a message. In a V2 index field 1 is a number.
_V1_HEADER = b"\x0a"


class Checkpoint(dict[str, Any]):
    """The arrays by name. ``path`` is what TensorFlow opens, and ``files`` list the arrays."""

    def __init__(self, arrays: Mapping[str, Any], path: Path, files: Sequence[Path]) -> None:
        super().__init__(arrays)
        self.path = path
        self.files = tuple(files)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    found = locate(source)
    if found is None:
        return None
    if found.table is None:
        return Claim(found.confidence, f"{found.how}, but cannot be opened: {found.problem}")
    table = Source(found.table)
    first = leveldb.first_entry(table)
    if first is None:
        sure = Confidence.CONTENT if leveldb.has_magic(table) else Confidence.NAME
        return Claim(sure, f"{found.how}, but {found.table.name} is damaged or something else")
    key, header = first
    if key:  # a table of LevelDB's own
        return Claim(Confidence.NAME, f"{found.how}, but has no header") if found.prefix else None
    if header.startswith(_V1_HEADER):
        return Claim(Confidence.EXACT, f"{found.how}: a LevelDB table with a V1 header")
    return Claim(Confidence.EXACT, f"{found.how}: a LevelDB table with a bundle's header")


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.tf_checkpoint import bundle, v1

    path_of(source, "tf_checkpoint")
    found = locate(source)
    if found is None:
        if not source.exists:
            raise source.not_found()
        raise DamagedFile(f"{source.label}: not a TensorFlow checkpoint")
    if found.table is None:
        raise found.error(found.problem)
    table = Source(found.table)
    first = leveldb.first_entry(table)
    if first is not None and first[1].startswith(_V1_HEADER) and not first[0]:
        arrays = v1.open_v1(found.table, options)
        return Checkpoint(arrays, v1.pattern(found.table), v1.parts(found.table))
    if found.prefix is None:
        with leveldb.Table(table, options.verify) as opened:
            opened.check()
        raise DamagedFile(
            f"{source.label}: looks like the index of a TensorFlow checkpoint, but is not named "
            "<prefix>.index, so its data files cannot be found. Give it its original name"
        )
    arrays = bundle.open_bundle(table, found.prefix, options)
    return Checkpoint(arrays, found.prefix, [found.table])


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats.tf_checkpoint import writing

    writing.save_bundle(arrays, output, options)


@hookimpl
def initreg_checkpoints(names: Collection[str]) -> Mapping[str, str]:
    return {prefix: f"{prefix}{INDEX}" for prefix in prefixes(names)}


@hookimpl
def initreg_slots(names: Collection[str], variables: Collection[str]) -> Mapping[str, str]:
    from initreg_formats.tf_checkpoint.slots import slots

    return slots(names, variables)


@hookimpl
def initreg_inference(arrays: Sequence[ArraySpec]) -> Inference:
    from initreg_formats.tf_checkpoint.training import inference

    return inference(arrays)
