"""Memory for arrays: aligned as TensorFlow wants it, and on huge pages if it is large.

Filling fresh memory costs a page fault for each page. numpy asks the kernel for huge pages (2 MiB)
for arrays of 4 MiB and more. But malloc places an array so that its first and last pages are small
ones, and that its address is 16 bytes off any alignment. Here a large array begins at a huge page,
and every array of 64 KiB and more at a multiple of :data:`ALIGNMENT`, so that TensorFlow can use
it without a copy.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Any

from initreg.errors import InitregError, NotEnoughMemory

if TYPE_CHECKING:
    import numpy as np

# The alignment of tensors in Eigen, and so in TensorFlow, in bytes. Source: EIGEN_MAX_ALIGN_BYTES.
ALIGNMENT = 64
_HUGE = 1 << 21
# For smaller arrays a copy costs less than the alignment.
_SMALL = 1 << 16


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An uninitialised array in C order. From 64 KiB on, it is aligned.

    Raises:
        ValueError: as ``numpy.empty`` does.
        MemoryError: as ``numpy.empty`` does.
    """
    import numpy as np

    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _SMALL:
        return np.empty(shape, dtype)
    if nbytes >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            return np.ndarray(shape, dtype, *_huge(nbytes))
        except OSError:  # no mapping is left, or the kernel has no huge pages: use small pages
            pass
        except OverflowError:  # no machine has so much memory, and numpy's error says so
            return np.empty(shape, dtype)
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def allocated(
    what: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    impossible: type[InitregError],
) -> np.ndarray[Any, Any]:
    """An uninitialised array in C order.

    Args:
        what: what errors call it, as in ``"m.npz: array 'w'"``.
        shape: its shape.
        dtype: its dtype.
        impossible: what to raise if no array of numpy has this shape.

    Raises:
        NotEnoughMemory: the process may not take so much.
    """
    import numpy as np

    try:
        return np.empty(shape, dtype) if dtype.hasobject else empty(shape, dtype)
    except MemoryError as error:
        from initreg.text.wording import size_text  # not for whoever only probes

        size = size_text(math.prod(shape) * dtype.itemsize)
        raise NotEnoughMemory.of(f"{what} of shape {shape} and dtype {dtype}, {size}") from error
    except ValueError as error:
        raise impossible(f"{what}: cannot allocate an array of shape {shape}: {error}") from error


def _huge(nbytes: int) -> tuple[mmap.mmap, int]:
    """A mapping, and the position in it where a huge page begins.

    Huge pages are asked for only where the array fills them, and its last bytes stay on small
    pages. So every page in memory holds some of the array. The bytes before the position take
    address space, but no memory.
    """
    import numpy as np

    mapping = mmap.mmap(-1, nbytes + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -address(np.frombuffer(mapping, np.uint8)) % _HUGE
    mapping.madvise(mmap.MADV_HUGEPAGE, start, nbytes // _HUGE * _HUGE)
    return mapping, start


def address(array: np.ndarray[Any, Any]) -> int:
    """The address of the first byte of an array."""
    found: int = array.__array_interface__["data"][0]
    return found


def bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """The bytes of an array in C order, as memory that can be written to."""
    import numpy as np

    return array.reshape(-1).view(np.uint8).data
