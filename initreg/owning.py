"""Arrays that a source holds in memory, or that its library reads, as arrays of one's own."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from initreg import dtypes, memory
from initreg.errors import DamagedFile, InitregError

if TYPE_CHECKING:
    import numpy as np

    from initreg.arrays import LazyArray
    from initreg.boxes import Box

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


# Types whose __array__(copy=True) was seen to copy, and those that were seen not to.
_copying: dict[Any, bool] = {}


def _own(value: Any) -> np.ndarray[Any, Any]:
    """The values of an array-like, in memory that nobody else holds."""
    import numpy as np

    if type(value) is np.ndarray and not value.dtype.hasobject:
        array = memory.empty(value.shape, value.dtype)
        array[...] = value
        return array
    kind = value.__class__
    if not _copies(kind):  # numpy would warn if it were asked for a copy
        return np.array(np.asarray(value), copy=True, order="C")
    found = np.array(value, copy=True)
    if kind not in _copying and found.size:
        # numpy takes its word for it. Once for each type we do not: two copies share nothing.
        _copying[kind] = not np.shares_memory(found, np.array(value, copy=True))
    return found if _copying.get(kind, not found.size) else found.copy()


@functools.cache
def _copies(kind: Any) -> bool:
    """Whether ``__array__`` of this type takes ``copy``, as numpy 2 asks of it."""
    try:
        return "copy" in inspect.signature(kind.__array__).parameters
    except (AttributeError, TypeError, ValueError):  # a C function does not say
        return False
