"""Arrays that a source holds in memory, or that its library reads, as arrays of one's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import memory
from initreg.errors import DamagedFile, InitregError

if TYPE_CHECKING:
    import numpy as np

    from initreg.arrays.map import LazyArray
    from initreg.arrays.regions import Box

    Array = np.ndarray[Any, Any]


def owned(array: LazyArray, label: str, box: Box | None = None) -> Array:
    """The values of an array whose value is no extent, or those in a box of it, in memory that
    nobody else holds. Raises DamagedFile if they cannot be had or are not what was announced."""
    import numpy as np

    shape = array.shape if box is None else box.shape
    try:
        value = array.value if box is None else _cut(array.value, box)
        found = np.asarray(_own(value), order="C")
        if box is not None and found.shape == array.shape != shape:
            found = found[box.slices].copy()
    except InitregError:
        raise
    except Exception as error:  # whatever a plugin's library makes of damaged bytes
        raise DamagedFile(
            f"{label}: array {array.name!r} cannot be read: {type(error).__name__}: {error}"
        ) from error
    kind = dtypes.name_of(found.dtype)
    if kind == "object" and array.spec.dtype == dtypes.STRING:
        kind = dtypes.STRING
    if found.shape != shape or kind != array.spec.dtype:
        raise DamagedFile(
            f"{label}: array {array.name!r} was announced as {shape} {array.spec.dtype}, but "
            f"reads as {found.shape} {kind}"
        )
    if not found.dtype.isnative:
        found = found.astype(found.dtype.newbyteorder("="))
    return found


def _cut(value: Any, box: Box) -> Any:
    """The box of a value that can be asked for one, as those of h5py, zarr and numpy can."""
    return value[box.slices] if hasattr(type(value), "__getitem__") else value


def _own(value: Any) -> np.ndarray[Any, Any]:
    """The values of an array-like, in memory that nobody else holds."""
    import numpy as np

    if type(value) is np.ndarray and not value.dtype.hasobject:
        array = memory.empty(value.shape, value.dtype)
        array[...] = value
        return array
    # What __array__ says about copying is not to be trusted, and what it did once it need not do
    # again. An array that owns its memory and that no one else refers to was made for us.
    fresh = np.empty(0)
    found = np.asarray(value)
    is_ours = (
        found.base is None
        and found.flags.owndata
        and found.flags.writeable
        and sys.getrefcount(found) <= sys.getrefcount(fresh)
    )
    return found if is_ours else found.copy()
