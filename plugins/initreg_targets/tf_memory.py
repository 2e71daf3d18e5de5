"""Memory that an array and a tensor of TensorFlow share.

When a variable gets a new value, TensorFlow keeps the memory of the old one in its pool. If all
arrays were read into numpy's memory, a model would take twice the memory until it is trained. If
all of them were read into new memory of TensorFlow, the pool would grow instead, on small pages.
So the first arrays are read into numpy's memory, which their variables then share. That frees
memory in the pool, and the next arrays are read into it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable
from typing import Any

# Eigen, and so TensorFlow, needs a tensor's address to be a multiple of it. Source:
# EIGEN_MAX_ALIGN_BYTES.
_ALIGNMENT = 64
_HUGE = 1 << 21  # bytes of a huge page


class Room:
    """Uninitialised memory that belongs to TensorFlow.

    ``array`` and ``tensor`` are the same memory, so filling ``array`` sets both. It is in main
    memory, wherever the variable is.
    """

    def __init__(self, dtype: Any, bits: Any, shape: tuple[int, ...]) -> None:
        import numpy as np
        import tensorflow as tf

        with tf.device("CPU:0"):
            dtype_ = tf.as_dtype(bits)
            # TensorFlow converts a shape from numpy in half the time that it needs for a tuple.
            plain = tf.raw_ops.Empty(shape=np.array(shape, np.int32), dtype=dtype_, init=False)
            self.tensor = plain if plain.dtype == dtype else tf.bitcast(plain, dtype)
        # A tensor shows its memory as read-only. Nobody else has seen this one yet.
        at = np.asarray(memoryview(plain)).__array_interface__["data"][0]
        self.array = _view(at, shape, bits, plain).view(dtype.as_numpy_dtype)
        _ask_for_huge_pages(at, self.array.nbytes)


def make_room(dtype: Any, shape: tuple[int, ...]) -> Room | None:
    """Room for values of a TensorFlow dtype; None if numpy cannot share that dtype."""
    import numpy as np

    bits = _bits_of(np.dtype(dtype.as_numpy_dtype))
    return None if bits is None else Room(dtype, bits, shape)


def shared(array: Any, dtype: Any) -> Any | None:
    """A tensor that shares the array's memory; None if TensorFlow has to copy it.

    TensorFlow never writes into memory that is not its own (``TensorBuffer::OwnsMemory``). An op
    that updates the variable gives it a new buffer.
    """
    import tensorflow as tf

    bits = _bits_of(array.dtype)
    at = array.__array_interface__["data"][0]
    # With a misaligned buffer the first op would end the process.
    if bits is None or at % _ALIGNMENT or not array.nbytes or not array.flags.c_contiguous:
        return None
    with tf.device("CPU:0"):
        view = _view(at, array.shape, bits, array)
        tensor = tf.experimental.dlpack.from_dlpack(view.__dlpack__())
        return tensor if tensor.dtype == dtype else tf.bitcast(tensor, dtype)


def _bits_of(dtype: Any) -> Any:
    """The dtype under which numpy and TensorFlow share elements of this one; None if they cannot.

    bfloat16 is shared as integers, because numpy does not export it. float8 is not shared, because
    no op of TensorFlow converts it from integers.
    """
    import numpy as np

    if dtype.isbuiltin == 1 and dtype.kind in "fiuc" and dtype.isnative:
        return dtype
    return np.dtype(np.uint16) if dtype.name == "bfloat16" else None


class _Memory:
    """Describes memory to numpy, and keeps its owner."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def _view(at: int, shape: tuple[int, ...], dtype: Any, owner: Any) -> Any:
    """The memory at an address, as a writable array that keeps the owner of the memory."""
    import numpy as np

    interface = {"version": 3, "data": (at, False), "shape": shape, "typestr": dtype.str}
    return np.asarray(_Memory(interface, owner))


def _ask_for_huge_pages(at: int, nbytes: int) -> None:
    """Ask the system for huge pages, as far as complete ones fit into the memory.

    TensorFlow does not ask, and new memory is then filled at a third of the speed.
    """
    start = -(-at // _HUGE) * _HUGE
    length = (at + nbytes) // _HUGE * _HUGE - start
    if length > 0:
        _madvise()(start, length, getattr(mmap, "MADV_HUGEPAGE", 0))


@functools.cache
def _madvise() -> Callable[[int, int, int], Any]:
    """``madvise`` of the C library, which takes an address. Python's own only takes mappings."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return lambda start, length, advice: None
    found = ctypes.CDLL(None).madvise
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return found
