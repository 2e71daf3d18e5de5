"""Opening a file, an archive or an index of several files, and closing it when it is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, OpenOptions, Source
from initreg_formats.h5 import archive, shards
from initreg_formats.h5.arrays import Lazy
from initreg_formats.h5.claiming import is_index
from initreg_formats.h5.container import Container
from initreg_formats.h5.names import arrays_of, with_places
from initreg_formats.h5.strings import Strings
from initreg_formats.shared.paths import file_of
from initreg_formats.shared.zip_member import MAGIC


def open_source(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    """Every array by name. Raises DamagedFile, RefusedFile, SourceNotFound, MissingLibrary."""
    file_of(source, "h5")
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty. Download or copy it again")
    if is_index(source):
        return _opened(*shards.open_shards(source, options))
    if source.head.startswith(MAGIC):
        container = archive.open_archive(source, options)
    else:
        container = Container.of_file(source, options)
    try:
        arrays = arrays_of(container)
    except BaseException:
        container.close()
        raise
    return _opened(arrays, [container])


class Arrays(dict[str, Any]):
    """Arrays that are read through open containers, which :meth:`close` closes."""

    def __init__(self, arrays: Mapping[str, Any], containers: list[Container]) -> None:
        super().__init__(arrays)
        self._containers = containers
        self.has_checksum = all(container.has_checksum for container in containers)

    def close(self) -> None:
        for container in self._containers:
            container.close()


def _opened(arrays: dict[str, Any], containers: list[Container]) -> Mapping[str, Any]:
    """The arrays. If all of them are extents, which initreg reads itself, the containers are closed
    at once."""
    found = Arrays(with_places(arrays), containers)
    if not any(isinstance(array, (Lazy, Strings)) for array in arrays.values()):
        found.close()
    return found
