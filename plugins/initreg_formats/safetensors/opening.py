"""What a path means: one file, a set of parts, an index of several, or the only one of these in a
folder."""

from __future__ import annotations

from typing import Any

from initreg import AmbiguousSource, InitregError, Source, part_sets
from initreg.format_tools.indexes import index_beside, together
from initreg_formats.safetensors.claiming import INDEX_SUFFIX, SUFFIX, contents, is_index
from initreg_formats.safetensors.reading import open_file
from initreg_formats.safetensors.shards import Sharded, open_index
from initreg_formats.shared.paths import path_of

_SHOWN = 8


def open_source(source: Source) -> dict[str, Any]:
    """Every array by name. Raises DamagedFile, RefusedFile, SourceNotFound, and InitregError for a
    folder in which several files could be meant."""
    path_of(source, "safetensors")
    if not source.exists:
        raise source.not_found()
    if source.is_dir:
        source = _choose(source)
    if is_index(source):
        return open_index(source)
    return _open_file(source)


def _open_file(source: Source) -> dict[str, Any]:
    """The arrays of a file, or of all parts of its set."""
    assert source.path is not None
    if not part_sets([source.path.name]):
        return open_file(source)
    index = index_beside(source, INDEX_SUFFIX)
    if index is not None:
        return open_index(index)
    found = [(part, open_file(part)) for part in source.set_of_parts()]
    arrays = Sharded(together(found))
    arrays.metadata = tuple(each.metadata for _, each in found)
    return arrays


def _choose(folder: Source) -> Source:
    """The only index of a folder, or its only file or set of parts. Raises AmbiguousSource if there
    are several."""
    indices, files = contents(folder)
    sets = [] if indices else part_sets(files)
    in_sets = {name for each in sets for name in each.names.values()}
    found = indices or [*map(str, sets), *(name for name in files if name not in in_sets)]
    if not found:
        raise InitregError(f"{folder.label}: holds no {SUFFIX} file and no {INDEX_SUFFIX}")
    if len(found) == 1:
        return folder.part(next(iter(sets[0].names.values())) if sets else found[0])
    what = "indices of safetensors files" if indices else "safetensors files, and no index"
    shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    raise AmbiguousSource(
        f"{folder.label}: holds {len(found)} {what}: {shown}. Give one of them by its path, or "
        "several as a list"
    )
