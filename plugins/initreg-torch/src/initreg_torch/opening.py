"""From a source to its arrays: one file, an index of several, or what a folder holds."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Any

from initreg import DamagedFile, InitregError, OpenOptions, Source
from initreg.format_tools.indexes import only_file, open_index

from initreg_torch import claiming
from initreg_torch.allowed import call, storage_of
from initreg_torch.archive import Archive, Member
from initreg_torch.arrays import Arrays, Maker
from initreg_torch.naming import Tree
from initreg_torch.older import Older
from initreg_torch.pickles import Machine, PickleFault
from initreg_torch.values import Storage


def open_source(source: Source, options: OpenOptions) -> Any:
    """Every array by name. Raises AmbiguousSource for a folder in which several could be meant."""
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    if source.is_dir:
        source = only_file(source, claiming.contents(source), "PyTorch files")
    if claiming.is_index(source):
        return open_index(source, lambda part: open_file(part, options))
    return open_file(source, options)


def open_file(source: Source, options: OpenOptions) -> Arrays:
    """The arrays of one file. Raises DamagedFile, RefusedFile or DuplicateName."""
    with ExitStack() as on_error:
        arrays = Arrays(source.open())
        on_error.callback(arrays.close)
        try:
            if source.head.startswith(claiming.ZIP_MAGIC):
                tree, maker = _archive(source, arrays, options)
            elif source.head.startswith(claiming.OLDER_MAGIC):
                tree, maker = _older(source, arrays, options)
            else:
                raise _neither(source)
        except PickleFault as error:
            raise DamagedFile(
                f"{source.label}: its pickle {error}. The file is damaged. Download or copy it "
                "again"
            ) from error
        for name, leaf in tree.leaves.items():
            arrays[name] = maker.make(name, leaf)
        arrays.parameters = tuple(name for name in arrays if name not in tree.training)
        on_error.pop_all()
    return arrays


def _archive(source: Source, arrays: Arrays, options: OpenOptions) -> tuple[Tree, Maker]:
    archive = Archive(source, arrays.file)
    pickle = archive.read("data.pkl", options)

    def load(found: Any) -> Storage:
        storage, _ = storage_of(found)
        return storage

    machine = Machine(io.BytesIO(pickle), len(pickle), call, load)
    tree = Tree(machine.run(), machine.steps, source.label)
    is_big = "byteorder" in archive and archive.read("byteorder", options) == b"big"
    return tree, Maker(
        source,
        arrays.file,
        lambda key: archive.member(f"data/{key}"),
        ">" if is_big else "<",
        options,
    )


def _older(source: Source, arrays: Arrays, options: OpenOptions) -> tuple[Tree, Maker]:
    found = Older(source.label, arrays.file, source.size)

    def place(key: str) -> Member:
        if key not in found.begins:
            raise DamagedFile(
                f"{source.label}: storage {key[:80]!r} is missing. Download or copy it again"
            )
        size = found.sizes[key]
        return Member(found.begins[key], size, size, False, None)

    tree = Tree(found.value, found.steps, source.label)
    return tree, Maker(source, arrays.file, place, found.order, options)


def _neither(source: Source) -> InitregError:
    if source.head[257:262] == b"ustar":
        return DamagedFile(
            f"{source.label}: a PyTorch file from before version 0.2, a tar archive. Load it with "
            "torch, and save it again"
        )
    return DamagedFile(
        f"{source.label}: is named {source.suffix}, but is not a file of torch.save: it begins "
        f"with {source.head[:8]!r}. Download or copy it again"
    )
