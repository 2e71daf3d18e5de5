"""What only numpy can make of an ``.npy`` array: structured dtypes, and pickled objects.

The header is read by :mod:`initreg_formats.shared.npy_header`, because numpy's own reader prints
warnings for odd headers and for those of Python 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import IO, Any

from initreg import DamagedFile, RefusedFile
from initreg.format_tools.values import Unreadable
from initreg.option_spelling import option
from initreg_formats.shared.flattening import flatten, is_list
from initreg_formats.shared.npy_header import Header, check_descr

_DEEPEST = 32  # levels of structured dtypes


class ReadByNumpy:
    """An array of a structured dtype. It is listed, and ``read`` gives its values. No variable
    takes it."""

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


def structured_dtype(descr: list[Any], what: str, count: int = 1) -> Any:
    """The numpy dtype of a structured ``descr``.

    Args:
        descr: what the header says.
        what: what messages call the array.
        count: how many elements it has.

    Raises:
        DamagedFile: it is not such a dtype, or its elements have no bytes.
        RefusedFile: it holds pickled objects.
    """
    import numpy as np

    try:
        _check_fields(descr, 0)
        dtype = np.lib.format.descr_to_dtype(descr)
        if count and not dtype.itemsize:
            raise ValueError("its elements have no bytes")
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise DamagedFile(f"{what}: its dtype {descr!r:.80} is damaged: {error}") from error
    if dtype.hasobject:
        raise RefusedFile(f"{what}: its dtype {dtype} holds pickled objects, which can run code")
    return dtype


def _check_fields(descr: Any, depth: int) -> None:
    """Raise ValueError unless these are fields as numpy writes them."""
    if isinstance(descr, str):
        check_descr(descr, 0)
        return
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(descr, tuple):  # a dtype with a shape
        if len(descr) != 2:
            raise ValueError("one of its dtypes is not a pair")
        _check_fields(descr[0], depth + 1)
        _check_shape(descr[1])
        return
    if not isinstance(descr, list):
        raise ValueError(f"{descr!r:.40} is not a dtype")
    for each in descr:
        if not isinstance(each, tuple) or len(each) not in (2, 3):
            raise ValueError("one of its fields is not a pair")
        _check_fields(each[1], depth + 1)
        if len(each) == 3:
            _check_shape(each[2])


def _check_shape(shape: Any) -> None:
    axes = shape if isinstance(shape, tuple) else (shape,)
    if not all(type(axis) is int and 0 <= axis < 1 << 31 for axis in axes):
        raise ValueError(f"one of its fields has the shape {shape!r:.40}")


def read_structured(file: IO[bytes], header: Header, dtype: Any, what: str) -> Any:
    """The array of a structured dtype. ``file`` is at the start of the header.

    Raises DamagedFile if the file is too short. Its size must have been checked.
    """
    import numpy as np

    nbytes = math.prod(header.shape) * dtype.itemsize
    file.read(header.size)
    data = file.read(nbytes)
    if len(data) < nbytes:
        raise DamagedFile(f"{what}: ends inside its array. Download or copy the file again")
    return np.frombuffer(bytearray(data), dtype).reshape(
        header.shape, order="F" if header.fortran else "C"
    )


def read_pickled(file: IO[bytes], header: Header, what: str) -> Any:
    """Unpickle an object array, Python 2's too. **This runs any code that the file holds.**

    Args:
        file: the array, at the start of its header.
        header: its header.
        what: what messages call it.

    Raises:
        DamagedFile: it cannot be unpickled, or is not an array of that shape.
    """
    import pickle

    import numpy as np

    file.read(header.size)
    try:
        found = pickle.load(file, encoding="latin1")
    except Exception as error:  # a pickle may raise anything
        raise DamagedFile(
            f"{what}: cannot be unpickled: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, np.ndarray) or found.size != math.prod(header.shape):
        raise DamagedFile(
            f"{what}: holds a pickled {type(found).__name__}, which is not an array of the shape "
            f"{header.shape} that its header says"
        )
    return found.reshape(header.shape, order="F" if header.fortran else "C")


def arrays_in(found: Any, name: str, label: str) -> dict[str, Any] | None:
    """The arrays in what an object array holds, by name.

    A dict or a list of arrays gives one for each entry. What is not an array is listed, and cannot
    be read.

    Args:
        found: the object array.
        name: what all of it is called, or ``""``.
        label: what messages call it.

    Returns:
        The arrays. None if it is neither a dict nor a list of arrays.

    Raises:
        DamagedFile: a name is not a str, the nesting is too deep, or nothing in it can be read.
        DuplicateName: two paths join to the same name.
    """
    value = found.item() if found.shape == () else found
    if isinstance(value, Mapping):
        nested = value
    elif is_list(value):
        # An array of objects with several axes has lists in it.
        nested = dict(enumerate(value if found.shape == () else value.tolist()))
        nested = {str(number): each for number, each in nested.items()}
    else:
        return None
    arrays = flatten({name: nested} if name else nested, label, lenient=True)
    bad = [each for each in arrays.values() if isinstance(each, Unreadable)]
    if bad and len(bad) == len(arrays):
        raise bad[0].error()
    return arrays


def refused_pickle(what: str) -> RefusedFile:
    """The error for a pickle that the user did not allow."""
    return RefusedFile(
        f"{what}: holds a pickle, which can run any code when it is opened. If you made the file "
        "yourself or trust who did, pass " + option("allow_pickle", True)
    )
