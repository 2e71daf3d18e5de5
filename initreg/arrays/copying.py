"""Copies of arrays that somebody else holds in memory, or that a library reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import memory
from initreg.errors import DamagedFile, InitregError, NotEnoughMemory, PluginError, brief, is_fault
from initreg.specs import OpaqueExtent

if TYPE_CHECKING:
    import numpy as np

    from initreg.arrays.lazy_array import LazyArray
    from initreg.arrays.regions import Box

    Array = np.ndarray[Any, Any]


def owned(array: LazyArray, label: str, box: Box | None = None) -> Array:
    """Read an array whose value is not an extent, in memory that nobody else holds.

    Args:
        array: the array.
        label: what to call the source in an error.
        box: the part to read, or None for the whole array.

    Raises:
        DamagedFile: it cannot be read, or its shape or dtype is not the one in its spec.
        PluginError: ``sys.exit()`` was called while it was read.
        InitregError: numpy does not have its dtype.
    """
    import numpy as np

    if isinstance(array.value, OpaqueExtent):
        raise InitregError(array.value.reason)
    shape = array.shape if box is None else box.shape
    with _as_our_error([array], label):
        value = array.value if box is None else _cut(array.value, box)
        found = np.asarray(_own(value), order="C")
        if box is not None and found.shape == array.shape != shape:
            found = found[box.slices].copy()
    return _checked(found, array, shape, label)


def owned_together(arrays: Sequence[LazyArray], label: str) -> list[Array]:
    """Read arrays whose values are read in one go, as :func:`owned` reads one.

    Args:
        arrays: the arrays, whose values have the same ``together``.
        label: what to call the source in an error.

    Raises:
        InitregError: what :func:`owned` raises.
    """
    import numpy as np

    with _as_our_error(arrays, label):
        values = [array.value for array in arrays]
        found = [np.asarray(_own(each), order="C") for each in values[0].together.read(values)]
    return [
        _checked(values, array, array.shape, label)
        for values, array in zip(found, arrays, strict=True)
    ]


@contextmanager
def _as_our_error(arrays: Sequence[LazyArray], label: str) -> Iterator[None]:
    """Raise what the library of a plugin raises as an error of ours. It may be anything."""
    try:
        yield
    except InitregError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        which = f"array {arrays[0].name!r}"
        if len(arrays) > 1:
            which += f", or one of those up to {arrays[-1].name!r},"
        if isinstance(error, SystemExit):
            raise PluginError(
                f"{label}: format {arrays[0].stored.owner.format!r} would have ended the program "
                f"while it read {which}: {brief(error)}"
            ) from error
        kind = NotEnoughMemory if isinstance(error, MemoryError) else DamagedFile
        raise kind(f"{label}: {which} cannot be read: {type(error).__name__}: {error}") from error


def _checked(found: Array, array: LazyArray, shape: tuple[int, ...], label: str) -> Array:
    """The values of an array, if they are as it was announced. Raises DamagedFile."""
    kind = dtypes.name_of(found.dtype)
    if kind == "object" and array.spec.dtype == dtypes.STRING:
        kind = dtypes.STRING
    elif kind == dtypes.QUANTISED.get(array.spec.dtype):
        kind = array.spec.dtype
    if found.shape != shape or kind != array.spec.dtype:
        raise DamagedFile(
            f"{label}: array {array.name!r} was announced as {shape} {array.spec.dtype}, but "
            f"reads as {found.shape} {kind}"
        )
    if not dtypes.is_native(found.dtype):
        found = found.astype(found.dtype.newbyteorder("="))
    return found


def _cut(value: Any, box: Box) -> Any:
    """The box of a value, or the whole value if it cannot be sliced. h5py, zarr and numpy can."""
    return value[box.slices] if hasattr(type(value), "__getitem__") else value


def _own(value: Any) -> np.ndarray[Any, Any]:
    """The values of an array-like object, in memory that nobody else holds."""
    import numpy as np

    if type(value) is np.ndarray and not value.dtype.hasobject:
        array = memory.empty(value.shape, value.dtype)
        array[...] = value
        return array
    # Whether __array__ copies cannot be known: not from what it says, nor from what it did before.
    # An array that owns its memory and that nothing else refers to was made for us.
    fresh = np.empty(0)
    found = np.asarray(value)
    is_ours = (
        found.base is None
        and found.flags.owndata
        and found.flags.writeable
        and sys.getrefcount(found) <= sys.getrefcount(fresh)
    )
    return found if is_ours else found.copy()
