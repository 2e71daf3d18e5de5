"""Memory for arrays: aligned as TensorFlow wants it, and on huge pages where it is large.

Filling fresh memory costs a page fault for each page. numpy asks the kernel for huge pages (2 MiB)
from 4 MiB on, but where malloc puts an array, its first and last pages are small ones, and its
address is 16 bytes off any alignment. Here an array begins at a huge page and at a multiple of
:data:`ALIGNMENT`, so that TensorFlow can take it over without a copy.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# What Eigen, and so TensorFlow, wants of a tensor's address. Source: EIGEN_MAX_ALIGN_BYTES.
ALIGNMENT = 64
_HUGE = 1 << 21
# Below, an array is copied by whoever takes it over sooner than it is worth aligning.
_SMALL = 1 << 16


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Uninitialised memory for an array in C order, which frees it when it is let go of.

    From 64 KiB on it is aligned. Raises ValueError or MemoryError as ``numpy.empty`` does.
    """
    import numpy as np

    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _SMALL:
        return np.empty(shape, dtype)
    if nbytes >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            return np.ndarray(shape, dtype, *_huge(nbytes))
        except OSError:  # out of mappings, or a kernel without huge pages: as anywhere else
            pass
        except OverflowError:  # no machine has it: numpy says so
            return np.empty(shape, dtype)
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def _huge(nbytes: int) -> tuple[mmap.mmap, int]:
    """A mapping and where in it a huge page begins. Its whole huge pages are asked for as such,
    and its last bytes stay on small ones: no page is there that holds none of the array. What
    lies before the start is address space alone."""
    import numpy as np

    mapping = mmap.mmap(-1, nbytes + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -address(np.frombuffer(mapping, np.uint8)) % _HUGE
    mapping.madvise(mmap.MADV_HUGEPAGE, start, nbytes // _HUGE * _HUGE)
    return mapping, start


def address(array: np.ndarray[Any, Any]) -> int:
    """Of the array's first byte."""
    found: int = array.__array_interface__["data"][0]
    return found
