"""The arrays of one save, on their way into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from initreg.arrays.map import LazyArray
from initreg.arrays.streaming import position, stream
from initreg.storage.manifests import digest_of_array

if TYPE_CHECKING:
    import numpy as np


Progress = Callable[[int, int], None]


class Saved(Mapping[str, LazyArray]):
    """The arrays of one save: names, shapes and dtypes are known, values not yet read."""

    def __init__(
        self,
        arrays: Mapping[str, LazyArray],
        progress: Progress | None = None,
        digests: dict[str, str] | None = None,
    ) -> None:
        self._arrays = dict(arrays)
        self._digests = digests  # of what was streamed, by name, if there is to be a manifest
        self._progress = progress
        self._done = 0  # bytes given; a format may stream several times, a part each time
        self.nbytes = sum(array.spec.nbytes or 0 for array in self._arrays.values())

    def __getitem__(self, name: str) -> LazyArray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def stream(self, *names: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Each array of these names, by default of all, with its name: in C order and native byte
        order, perhaps one that is not to be written to. In an order in which they are read fast,
        and ahead of whoever takes them: write each to where it belongs, and let go of it."""
        chosen = [self._arrays[name] for name in (names or self._arrays)]
        chosen.sort(key=position)
        held = [array for array in chosen if _is_at_hand(array)]
        read = [array for array in chosen if not _is_at_hand(array)]
        with ThreadPoolExecutor(1, "initreg-digest") as hasher:  # its thread starts when needed
            for array, values in _chained(held, read):
                digest = (
                    hasher.submit(digest_of_array, values) if self._digests is not None else None
                )
                yield array.name, values
                self._done += values.nbytes
                del values
                if self._digests is not None and digest is not None:
                    self._digests[array.name] = digest.result()
                    del digest
                if self._progress is not None:
                    self._progress(self._done, self.nbytes)


def _is_at_hand(array: LazyArray) -> bool:
    """Whether it is a numpy array that nothing is done to: it is written from where it lies."""
    import numpy as np

    value = array.value
    return type(value) is np.ndarray and not array.changes and not value.dtype.hasobject


def _chained(
    held: list[LazyArray], read: list[LazyArray]
) -> Iterator[tuple[LazyArray, np.ndarray[Any, Any]]]:
    import numpy as np

    for array in held:
        dtype = array.value.dtype.newbyteorder("=")
        yield array, np.asarray(array.value, dtype, order="C")
    for index, values in stream(read):
        yield read[index], values
        del values
