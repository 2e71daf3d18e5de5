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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from initreg import Claim, Confidence, DamagedFile, OpenOptions, Source, hookimpl
from initreg.format_tools.files import FilePath
from initreg_formats.shared.paths import path_of
from initreg_formats.tf_checkpoint import leveldb
from initreg_formats.tf_checkpoint.locate import INDEX, locate, prefixes, state_file

if TYPE_CHECKING:
    from initreg import ArraySpec, Inference, Output, Saved, SaveOptions, StateFile

initreg_endings = (".ckpt", ".index")
initreg_finds_parts = True

# The header of a V1 file begins with field 1, a message. In a V2 index field 1 is a number.
_V1_HEADER = b"\x0a"


class Checkpoint(dict[str, Any]):
    """The arrays by name.

    ``path`` is what TensorFlow opens, and ``files`` list the arrays. ``copies`` are arrays that are
    saved a second time, each with the name of the other one. ``not_needed`` are those that may stay
    unused, each with the reason.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        path: FilePath,
        files: Sequence[FilePath],
        copies: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        from initreg_formats.tf_checkpoint.graph import not_needed

        super().__init__(arrays)
        self.copies = copies
        self.not_needed = not_needed(arrays)
        self.path = path
        self.files = tuple(files)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    found = locate(source)
    if found is None:
        return None
    if found.table is None:
        return Claim(found.confidence, f"{found.how}, but cannot be opened: {found.problem}")
    table = Source(found.table, of=source)
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
    if found.main is None:
        table = Source(found.table, of=source)
    else:  # initreg found it, and the user did not name it
        table = Source(found.main, of=source).part(found.table.name)
    if what := table.stand_in():
        raise DamagedFile(f"{source.label}: its file {found.table.name} is {what}")
    first = leveldb.first_entry(table)
    if first is not None and first[1].startswith(_V1_HEADER) and not first[0]:
        files = v1.parts(table)
        paths = [file.path for file in files if file.path is not None]
        return Checkpoint(v1.open_v1(files, options), v1.pattern(found.table), paths)
    if found.prefix is None:
        with leveldb.Table(table, options.verify) as opened:
            opened.check()
        raise DamagedFile(
            f"{source.label}: looks like the index of a TensorFlow checkpoint, but is not named "
            "<prefix>.index, so its data files cannot be found. Give it its original name"
        )
    named = source.path.name if source.is_file and source.path is not None else ""
    arrays, copies = bundle.open_bundle(table, found.prefix, options, named)
    return Checkpoint(arrays, found.prefix, [found.table], copies)


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats.tf_checkpoint import writing

    writing.save_bundle(arrays, output, options)


class Checkpoints(dict[str, str]):
    """The checkpoints of a folder, and what its state file says."""

    state: StateFile | None = None


@hookimpl
def initreg_checkpoints(names: Collection[str]) -> Mapping[str, str]:
    found = Checkpoints({prefix: f"{prefix}{INDEX}" for prefix in prefixes(names)})
    folder = getattr(names, "folder", None)
    if folder is not None:
        found.state = state_file(folder, names)
    return found


@hookimpl
def initreg_slots(names: Collection[str], variables: Collection[str]) -> Mapping[str, str]:
    from initreg_formats.tf_checkpoint.slots import slots

    return slots(names, variables)


@hookimpl
def initreg_inference(arrays: Sequence[ArraySpec]) -> Inference:
    from initreg_formats.tf_checkpoint.training import inference

    return inference(arrays)
