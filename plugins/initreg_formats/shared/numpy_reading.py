"""Arrays that numpy itself reads: structured dtypes, and pickled objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

from initreg import DamagedFile, RefusedFile
from initreg.option_spelling import option


class ReadByNumpy:
    """An array of a structured dtype or of objects. It is listed, and ``read`` gives its values.
    No variable takes it."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        read: Callable[[], Any],
        has_checksum: bool = False,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.has_checksum = has_checksum
        self._read = read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._read()


def structured_dtype(descr: list[Any], what: str) -> Any:
    """The numpy dtype of a structured ``descr``. Raises DamagedFile, RefusedFile."""
    import numpy as np

    try:
        dtype = np.lib.format.descr_to_dtype(descr)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise DamagedFile(f"{what}: its dtype {descr!r:.80} is damaged: {error}") from error
    if dtype.hasobject:
        raise RefusedFile(f"{what}: its dtype {dtype} holds pickled objects, which can run code")
    return dtype


def read_pickled(file: IO[bytes], what: str) -> Any:
    """Unpickle an object array, Python 2's too. **This runs any code that the file holds.**"""
    import numpy as np

    try:
        return np.lib.format.read_array(
            file, allow_pickle=True, pickle_kwargs={"encoding": "latin1"}
        )
    except Exception as error:  # a pickle may raise anything
        raise DamagedFile(f"{what}: cannot be unpickled: {error}") from error


def refused_pickle(what: str) -> RefusedFile:
    """The error for a pickle that the user did not allow."""
    return RefusedFile(
        f"{what}: holds a pickle, which can run any code when it is opened. If you made the file "
        "yourself or trust who did, pass " + option("allow_pickle", True)
    )
