"""The arrays of one save, as a format gets them to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.streaming import position, stream
from initreg.storage.manifests import digest_of_array

if TYPE_CHECKING:
    import numpy as np


Progress = Callable[[int, int], None]


class Saved(Mapping[str, LazyArray]):
    """The arrays of one save. Names, shapes and dtypes are known, and values are not yet read.

    Args:
        arrays: the arrays by name.
        progress: is called with the bytes that were streamed so far, and with all bytes.
        digests: gets the digest of each streamed array, by name, if there is to be a manifest.
        metadata: texts by key to save beside the arrays, for a format that sets
            ``initreg_keeps_metadata``. For any other one, it is empty.
    """

    def __init__(
        self,
        arrays: Mapping[str, LazyArray],
        progress: Progress | None = None,
        digests: dict[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._arrays = dict(arrays)
        self.metadata = dict(metadata or {})
        self._digests = digests
        self._progress = progress
        self.interrupted: BaseException | None = None  # what the user's own ``progress`` raised
        self._done = 0  # bytes streamed so far; a format may call stream() several times
        self.nbytes = sum(array.spec.nbytes or 0 for array in self._arrays.values())

    def __getitem__(self, name: str) -> LazyArray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def stream(
        self, *names: str, opaque: bool = False
    ) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Read arrays ahead of the caller, in an order in which they are read fast.

        Write each array to its place in the file, and drop the reference to it.

        Args:
            *names: which arrays to read. The default is all of them.
            opaque: whether an array whose dtype numpy does not have is yielded as its bytes, an
                array of uint8. Otherwise reading it is an error. ``spec.opaque`` is not None for
                such an array, and a format that has its dtype can copy it.

        Yields:
            The name of each array, and its values in C order and native byte order. They may be
            read-only.
        """
        from concurrent.futures import ThreadPoolExecutor

        self._report()
        chosen = [self._arrays[name] for name in (names or self._arrays)]
        chosen.sort(key=position)
        held = [array for array in chosen if _is_at_hand(array)]
        read = [array for array in chosen if not _is_at_hand(array)]
        sources = [
            each.as_bytes() if opaque and each.spec.opaque is not None else each for each in read
        ]
        with ThreadPoolExecutor(1, "initreg-digest") as hasher:  # its thread starts when needed
            for array, values in _chained(held, read, sources):
                digest = (
                    hasher.submit(digest_of_array, values) if self._digests is not None else None
                )
                yield array.name, values
                self._done += values.nbytes
                del values
                if self._digests is not None and digest is not None:
                    self._digests[array.name] = digest.result()
                    del digest
                self._report()

    def _report(self) -> None:
        """Say how many bytes of all are done."""
        if self._progress is not None:
            try:
                self._progress(self._done, self.nbytes)
            except BaseException as error:
                self.interrupted = error
                raise


def _is_at_hand(array: LazyArray) -> bool:
    """Whether it is a numpy array without changes, which can be written without a copy."""
    import numpy as np

    value = array.value
    return type(value) is np.ndarray and not array.changes and not value.dtype.hasobject


def _chained(
    held: list[LazyArray], read: list[LazyArray], sources: list[LazyArray]
) -> Iterator[tuple[LazyArray, np.ndarray[Any, Any]]]:
    import numpy as np

    for array in held:
        dtype = array.value.dtype.newbyteorder("=")
        yield array, np.asarray(array.value, dtype, order="C")
    for index, values in stream(sources):
        yield read[index], values
        del values
