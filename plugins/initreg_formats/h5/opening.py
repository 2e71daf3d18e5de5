"""Opening a file, an archive or an index of several files, and closing it when it is not needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, OpenOptions, Source
from initreg.format_tools.indexes import only_file
from initreg_formats.h5 import shards
from initreg_formats.h5.claiming import contents, is_index
from initreg_formats.h5.container import Container
from initreg_formats.h5.names import arrays_of
from initreg_formats.h5.native import Native
from initreg_formats.h5.optimizers import with_states
from initreg_formats.h5.string_arrays import Strings
from initreg_formats.shared.paths import file_of
from initreg_formats.shared.zip_member import MAGIC


def open_source(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    """Every array by name. Raises DamagedFile, RefusedFile, SourceNotFound, MissingLibrary."""
    if source.is_dir and (found := contents(source)):
        source = only_file(source, found, "HDF5 files")
    file_of(source, "h5")
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty. Download or copy it again")
    if is_index(source):
        return _opened(*shards.open_shards(source, options))
    index = shards.index_beside(source)
    if index is not None:
        return _opened(*shards.open_shards(index, options))
    if parts := source.set_of_parts():
        return _opened(*shards.open_set(parts, options))
    if source.head.startswith(MAGIC):
        from initreg_formats.h5 import archive  # most files are no .keras archives

        container = archive.open_archive(source, options)
    else:
        container = Container.of_file(source, options)
    try:
        arrays = arrays_of(container)
        shards.refuse_keras_part(source, arrays, options)
    except BaseException:
        container.close()
        raise
    return _opened(arrays, [container])


# Where tf_keras saves the state of the metrics of a compiled model.
_METRIC = re.compile(r"(?:.*/)?metrics/\w+/vars/\d+", re.DOTALL)


class Arrays(dict[str, Any]):
    """Arrays that are read through open containers, which :meth:`close` closes.

    ``not_needed`` are those that may stay unused, each with the reason, and ``model_name`` is what
    somebody called the model.
    """

    def __init__(self, arrays: Mapping[str, Any], containers: list[Container]) -> None:
        super().__init__(arrays)
        self._containers = containers
        self.not_needed = dict.fromkeys(
            filter(_METRIC.fullmatch, arrays),
            "the state of a metric, which fit() and evaluate() reset",
        )
        models = {container.model for container in containers}
        self.model_name = models.pop() if len(models) == 1 else ""
        self.has_checksum = all(container.has_checksum for container in containers)

    def close(self) -> None:
        for container in self._containers:
            container.close()


def _opened(arrays: dict[str, Any], containers: list[Container]) -> Mapping[str, Any]:
    """The arrays. If all of them are extents, which initreg reads itself, the containers are closed
    at once."""
    found = Arrays(with_states(arrays, [each.optimizers for each in containers]), containers)
    is_needed = any(container.is_temporary for container in containers)
    if not is_needed and not any(isinstance(a, (Native, Strings)) for a in arrays.values()):
        found.close()
    return found
