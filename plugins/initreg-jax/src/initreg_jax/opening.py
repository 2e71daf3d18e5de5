"""From a source to its arrays: one file, an index of several, or what a folder holds."""

from __future__ import annotations

from initreg import AmbiguousSource, InitregError, Source

from initreg_jax import claiming
from initreg_jax.arrays import Arrays, open_file
from initreg_jax.shards import open_index


def open_source(source: Source) -> Arrays:
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
    if source.is_dir:
        found = claiming.contents(source)
        if len(found) != 1:
            raise AmbiguousSource(
                f"{source.label}: which of its msgpack files is meant? It holds "
                f"{', '.join(found[:8]) or 'none'}. Give one of them by its path"
            )
        source = source.part(found[0])
    if claiming.is_index(source):
        return open_index(source)
    return open_file(source)
