"""From a source to its arrays: one file, an index of several, or what a folder holds."""

from __future__ import annotations

from typing import Any

from initreg import InitregError, OpenOptions, Source
from initreg.format_tools.indexes import only_file, open_index

from initreg_jax import claiming
from initreg_jax.arrays import open_file
from initreg_jax.orbax import claiming as orbax
from initreg_jax.orbax.opening import open_folder


def open_source(source: Source, options: OpenOptions) -> Any:
    """Every array by name.

    Raises:
        AmbiguousSource: a folder holds several files that could be meant.
        DamagedFile: the file is not complete, or contradicts itself.
        DuplicateName: two arrays have one name.
    """
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    if source.is_dir and orbax.claim(source) is not None:
        return open_folder(source, options)
    if source.is_dir:
        source = only_file(source, claiming.contents(source), "msgpack files")
    if claiming.is_index(source):
        return open_index(source, open_file)
    return open_file(source)
