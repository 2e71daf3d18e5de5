"""What a path means: one file, an index of several, or the only one of these in a folder."""

from __future__ import annotations

from typing import Any

from initreg import InitregError, Source
from initreg_formats.safetensors.claiming import INDEX_SUFFIX, SUFFIX, contents, is_index
from initreg_formats.safetensors.reading import open_file
from initreg_formats.safetensors.shards import open_index
from initreg_formats.shared.paths import path_of


def open_source(source: Source) -> dict[str, Any]:
    """Every array by name. Raises DamagedFile, RefusedFile, SourceNotFound, and InitregError for a
    folder in which several files could be meant."""
    path_of(source, "safetensors")
    if not source.exists:
        raise source.not_found()
    if source.is_dir:
        source = _choose(source)
    return open_index(source) if is_index(source) else open_file(source)


def _choose(folder: Source) -> Source:
    """The only index of a folder, or its only file. Raises InitregError if there are several."""
    indices, files = contents(folder)
    found = indices or files
    assert folder.path is not None
    if len(found) == 1:
        return Source(folder.path / found[0])
    if not found:
        raise InitregError(f"{folder.label}: holds no {SUFFIX} file and no {INDEX_SUFFIX}")
    what = "indices of safetensors files" if indices else "safetensors files, and no index"
    shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    raise InitregError(
        f"{folder.label}: holds {len(found)} {what}: {shown}. Give one of them by its path, or "
        "several as a list"
    )
