"""Arrays that h5py reads, because the user allowed it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from initreg import DamagedFile, MissingLibrary
from initreg.format_tools.files import pread_of

if TYPE_CHECKING:
    import numpy as np

    from initreg_formats.h5.container import Container

# Filters that h5py lacks and hdf5plugin has, by their registered numbers.
_HDF5PLUGIN = (305, 307, 308, 32001, 32004, 32008, 32013, 32015, 32017, 32018, 32026, 32028)


class Window(io.RawIOBase):
    """A part of a file, as a file of its own. HDF5's own driver would lock the file against
    writers, and share state with other users of the file in the process."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._read = pread_of(file)
        self._start = start
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._length - self._at))
        found = self._read(count, self._start + self._at)
        view[: len(found)] = found
        self._at += len(found)
        return len(found)


class Native:
    """An array whose values h5py reads.

    Args:
        container: the open file.
        path: the path of the dataset, as it is in the file.
        what: what messages call it.
        aliases: the other names of the array.

    Raises:
        DamagedFile: h5py cannot open the dataset, or has no dtype for it.
        MissingLibrary: a filter is not installed.
    """

    def __init__(
        self, container: Container, path: bytes, what: str, aliases: tuple[str, ...]
    ) -> None:
        self.aliases = aliases
        self._container = container
        self._path = path
        self._what = what
        found = self._read(values=False)
        self.shape: tuple[int, ...] = found.shape
        self.dtype: Any = found.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = self._read(values=True)
        return array if dtype is None else array.astype(dtype, copy=False)

    def _read(self, values: bool) -> Any:
        """The values, or no more than an empty array of the same dtype."""
        import h5py
        import numpy as np

        try:
            with h5py.File(Window(*self._container.window), "r") as file:
                dataset = h5py.Dataset(h5py.h5o.open(file.id, self._path))
                self._check_filters(dataset)
                if values:
                    return dataset[...]
                dtype = dataset.dtype
                container = self._container
                container.check_memory(dataset.size * max(1, dtype.itemsize), self._what)
                return np.broadcast_to(np.empty((), dtype), dataset.shape)
        except (ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError,
                RuntimeError, TypeError, ValueError) as error:  # fmt: skip
            reason = " ".join(str(error).strip("'\"").split())
            raise DamagedFile(f"{self._what}: h5py cannot read it: {reason[:300]}") from error

    def _check_filters(self, dataset: Any) -> None:
        import h5py

        plist = dataset.id.get_create_plist()
        for index in range(plist.get_nfilters()):
            code, _, _, name = plist.get_filter(index)
            if not h5py.h5z.filter_avail(code):
                title = f"the HDF5 filter {code}" + (f" ({name.decode()})" if name else "")
                remedy = "read it where it was written, and save it with gzip or without a filter"
                if code in _HDF5PLUGIN:
                    remedy = "pip install hdf5plugin, and 'import hdf5plugin' before"
                raise MissingLibrary(self._what, title, remedy)
