"""HDF5: Keras's ``.h5``, ``.weights.h5``, ``.keras`` and ``.weights.json``, and any other file.

What an array is called:

- in a file that says what its weights are called (Keras 1 and 2, and Keras 3's legacy ``.h5``), the
  weight's name, as in its ``weight_names`` attribute; the dataset's path is an alias. The weights
  of an optimizer come last, under their own names. Weights that share a name, as in a nested
  model, are called by their paths instead, and so is a dataset that no attribute names;
- in any other file, the ``.weights.h5`` and ``.keras`` of Keras 3 included, the dataset's path
  without its leading ``/``: ``layers/dense/vars/0``. Further links to a dataset inside the file
  are aliases; a further link to a group gives no further names. The state of an optimizer, which
  Keras 3 saves as a list, has its place and the list's length as an alias.

A dataset with a null dataspace holds no array and is not listed. No other file is ever opened: an
external link, external storage or a virtual dataset is refused, wherever in the file it is.

No lock is taken, so that reading never stops a program that wants to write; a file that is open
for writing at this moment is not opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, DamagedFile, InitregError, OpenOptions, Source, hookimpl
from initreg_formats.h5 import archive, shards
from initreg_formats.h5.arrays import Lazy
from initreg_formats.h5.container import Container, has_signature
from initreg_formats.h5.names import arrays_of, with_places
from initreg_formats.h5.strings import Strings
from initreg_formats.zip_member import MAGIC

initreg_requires = {"h5py": "pip install 'initreg[h5]'"}

_SUFFIXES = (".h5", ".hdf5", ".keras")


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if not source.is_file:
        return None
    if has_signature(source.head):
        return Claim(Confidence.EXACT, "has the signature of HDF5")
    if source.head.startswith(MAGIC):
        return archive.claim(source)
    if shards.is_index(source):
        return Claim(Confidence.EXACT, "index of Keras weights: JSON with a weight_map")
    if source.suffix in _SUFFIXES:
        return Claim(Confidence.NAME, f"is named {source.suffix}, but does not begin like one")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if source.path is None:
        raise InitregError(f"{source.label}: the h5 format opens paths")
    if not source.exists:
        raise source.not_found()
    if not source.is_file:
        raise InitregError(f"{source.label}: a folder is no HDF5 file: give the file in it")
    if not source.head:
        raise DamagedFile(f"{source.label}: the file is empty. Download or copy it again")
    if shards.is_index(source):
        return _opened(*shards.open_shards(source))
    if source.head.startswith(MAGIC):
        container = archive.open_archive(source, options)
    else:
        container = Container.of_file(source)
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

    def close(self) -> None:
        for container in self._containers:
            container.close()


def _opened(arrays: dict[str, Any], containers: list[Container]) -> Mapping[str, Any]:
    """With only extents, which the kernel reads by itself, the containers are closed at once."""
    found = Arrays(with_places(arrays), containers)
    if not any(isinstance(array, (Lazy, Strings)) for array in arrays.values()):
        found.close()
    return found
