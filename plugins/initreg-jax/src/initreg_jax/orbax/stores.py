"""Arrays of a checkpoint, read by tensorstore when they are asked for: all of one, or a part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from initreg import DamagedFile, InitregError, OpenOptions, RefusedFile, Source
from initreg.dtypes import name_of
from initreg.format_tools.values import UNKNOWN, Unreadable

from initreg_jax.naming import is_of_the_model
from initreg_jax.orbax.files import Files
from initreg_jax.orbax.tree import Entry, tree_of

Array = np.ndarray[Any, Any]

_DATABASE = "manifest.ocdbt"
_AGAIN = "Copy the checkpoint again"
_SHOWN = 300  # characters of what tensorstore says
_MOST_ELEMENTS = 1 << 59


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays.

    Args:
        parameters: the names of those that belong to the model and not to its training.
        not_arrays: the names of texts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters: tuple[str, ...] = ()
        self.not_arrays: tuple[str, ...] = ()

    def close(self) -> None:
        """Let tensorstore go of the files."""
        for array in self.values():
            if isinstance(array, Stored):
                array.close()


class Stored:
    """An array that tensorstore reads.

    Args:
        store: what tensorstore opened.
        dtype: the dtype, as initreg calls it.
        what: what messages call the array.
        files: the files of the checkpoint.
        folder: the folder that its bytes are in.
    """

    def __init__(self, store: Any, dtype: str, what: str, files: Files, folder: Any) -> None:
        self.shape, self.dtype = tuple(store.shape), dtype
        self._store, self._what, self._files, self._folder = store, what, files, folder

    def close(self) -> None:
        self._store = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[...]

    def __getitem__(self, index: Any) -> Array:
        """A part of it, of which only the chunks are read."""
        self._files.check(self._folder)
        store = self._store
        if store is None:
            raise InitregError(f"{self._what} cannot be read: the checkpoint was closed")
        try:
            found: Array = np.asarray(store[index].read().result())
        except Exception as error:  # it raises ValueError for anything
            raise DamagedFile(f"{self._what} cannot be read: {_said(error)}. {_AGAIN}") from error
        self._files.check(self._folder)
        return found


class Stores:
    """The arrays of one checkpoint.

    Args:
        folder: the folder of its tree.
        label: what messages call the source.
        options: what the user asked for.
    """

    def __init__(self, folder: Source, label: str, options: OpenOptions) -> None:
        self._folder, self._label, self._options = folder, label, options
        self._files = Files(folder, label)

    def open(self) -> Arrays:
        """Every array by name. Raises DamagedFile, RefusedFile or DuplicateName."""
        tree = tree_of(self._folder, self._label)
        stored = {name: entry for name, entry in tree.entries.items() if not entry.is_text}
        # All at once, because each waits for its own files.
        pending = {
            name: self._start(entry, tree.is_zarr3, tree.has_all_chunks)
            for name, entry in stored.items()
        }
        arrays, total = Arrays(), 0
        for name, future in pending.items():
            arrays[name] = array = self._array(name, stored[name], future)
            if isinstance(array, Stored):
                nbytes = math.prod(array.shape) * array._store.dtype.numpy_dtype.itemsize
                total += nbytes
        RefusedFile.check_inflation(
            f"{self._label}: all of its arrays together",
            self._files.size,
            total,
            self._options.max_inflation,
        )
        arrays.not_arrays = tuple(name for name in tree.entries if name not in stored)
        arrays.parameters = tuple(
            name for name in arrays if is_of_the_model(name) and stored[name].kind != "scalar"
        )
        return arrays

    def _start(self, entry: Entry, is_zarr3: bool, has_all_chunks: bool) -> Any:
        import tensorstore

        place = str(self._folder.path)
        store: dict[str, Any] = {"driver": "file", "path": f"{place}/{entry.stored}/"}
        if _DATABASE in self._folder.names:
            base = {"driver": "file", "path": f"{place}/"}
            store = {"driver": "ocdbt", "base": base, "path": f"{entry.stored}/"}
        spec = {
            "driver": "zarr3" if is_zarr3 else "zarr",
            "kvstore": store,
            # A chunk that is missing is damage, unless chunks of zeros were never stored.
            "fill_missing_data_reads": not has_all_chunks,
        }
        return tensorstore.open(spec, read=True, open=True)

    def _array(self, name: str, entry: Entry, future: Any) -> Any:
        what = f"{self._label}: array {name!r}"
        try:
            store = future.result()
        except Exception as error:  # it raises ValueError for anything
            raise DamagedFile(f"{what} cannot be opened: {_said(error)}. {_AGAIN}") from error
        shape = tuple(store.shape)
        if math.prod(axis for axis in shape if axis) > _MOST_ELEMENTS:
            raise DamagedFile(f"{what} has the shape {shape}. {_AGAIN}")
        dtype = store.dtype.numpy_dtype
        if dtype.hasobject:
            reason = f"{what} cannot be read: it is not of numbers. Drop it"
            return Unreadable(shape, UNKNOWN, reason)
        assert self._folder.path is not None
        folder = self._folder.path
        if _DATABASE not in self._folder.names:
            folder = folder / entry.stored
        return Stored(store, name_of(dtype), what, self._files, folder)


def _said(error: Exception) -> str:
    """What tensorstore says, without its long description of what it was asked."""
    text = str(error).partition(" [tensorstore_spec")[0].partition(" [source locations")[0]
    return f"tensorstore says {text[:_SHOWN]!r}"
