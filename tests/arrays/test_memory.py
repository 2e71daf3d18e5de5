"""initreg.arrays.memory: aligned memory for arrays, which is given back."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from initreg.arrays.memory import ALIGNMENT, address, empty

KIB, MIB = 1 << 10, 1 << 20
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(name) for name in ("u1", "?", "f4", "f8", "c16", ">f4", ">i8")]
DTYPES += [BFLOAT16, np.dtype(ml_dtypes.float8_e4m3fn)]
STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


linux = pytest.mark.skipif(not STATM.exists(), reason="only Linux tells it in /proc")


def root(array: np.ndarray[Any, Any]) -> Any:
    """What holds the array's memory."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "nbytes",
    [
        64 * KIB,
        64 * KIB + 16,
        100_000,
        2 * MIB - 16,
        2 * MIB,
        2 * MIB + 16,
        4 * MIB - 16,
        5 * MIB,
    ],
)
def test_from_64_kib_on_memory_is_aligned(nbytes: int, dtype: np.dtype[Any]) -> None:
    """An array of 64 KiB or more is aligned, writable, in C order, and has its shape and dtype."""
    count = nbytes // dtype.itemsize
    array = empty((count,), dtype)
    assert (array.shape, array.dtype, array.nbytes) == ((count,), dtype, nbytes)
    assert address(array) % ALIGNMENT == 0
    assert ALIGNMENT % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    raw = array.view("u1")
    raw[:] = np.arange(len(raw)) % 251
    assert raw[-1] == (nbytes - 1) % 251
    assert int(raw.sum()) == int((np.arange(len(raw)) % 251).sum())


@pytest.mark.parametrize(
    "shape",
    [(128, 1024), (2, 3, 4, 5000), (1, 600_000, 1), (3, 700_001), (524_288 + 1,)],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.dtype("f4"), BFLOAT16], ids=str)
def test_memory_of_any_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """The strides of any shape are those of C order."""
    array = empty(shape, dtype)
    like = np.empty(shape, dtype)
    assert (array.shape, array.strides, array.dtype) == (like.shape, like.strides, like.dtype)
    assert address(array) % ALIGNMENT == 0
    array[...] = 7
    assert (array == 7).all()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (7,), (64 * KIB // 8 - 1,)], ids=str)
def test_less_is_numpys_own(shape: tuple[int, ...]) -> None:
    """Below 64 KiB it is a plain numpy array, also without axes or elements."""
    array = empty(shape, np.dtype("f8"))
    assert (array.shape, array.dtype) == (shape, np.float64)
    assert array.flags.owndata
    assert array.flags.writeable


def test_no_two_arrays_share_memory() -> None:
    """Arrays of any size share no memory."""
    arrays = [empty((n,), np.dtype("u1")) for n in (10, 64 * KIB, 64 * KIB, 3 * MIB, 3 * MIB)]
    for i, array in enumerate(arrays):
        array[:] = i
    assert [(array == i).all() for i, array in enumerate(arrays)] == [True] * len(arrays)
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[i + 1 :])


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no huge pages")
@pytest.mark.parametrize("nbytes", [2 * MIB, 2 * MIB + 1, 5 * MIB])
def test_a_large_array_begins_at_a_huge_page(nbytes: int) -> None:
    """A large array begins at a huge page of 2 MiB, so that few pages are filled."""
    assert address(empty((nbytes,), np.dtype("u1"))) % (2 * MIB) == 0


@pytest.mark.parametrize("nbytes", [64 * KIB, 3 * MIB])
def test_a_part_of_an_array_keeps_its_memory(nbytes: int) -> None:
    """The memory stays as long as any view of the array exists."""
    array = empty((nbytes,), np.dtype("u1"))
    array[:] = 7
    part = array[nbytes // 2 :].reshape(2, -1)
    del array
    others = [empty((nbytes,), np.dtype("u1")) for _ in range(4)]
    for other in others:
        other[:] = 9
    assert (part == 7).all()


@linux
@pytest.mark.parametrize("count", [1, 4, 10])
def test_large_memory_is_given_back(count: int) -> None:
    """The memory of a large array goes back to the system when the array is deleted."""
    total = 20 * MIB
    before = resident()
    for _ in range(5):
        arrays = []
        for _ in range(count):
            arrays.append(empty((total // count,), np.dtype("u1")))
            arrays[-1][:] = 1
        assert resident() - before > total - 2 * MIB
        while arrays:
            arrays.pop()
            assert resident() - before < total // count * len(arrays) + 4 * MIB


@linux
def test_memory_of_middling_arrays_is_used_again() -> None:
    """malloc reuses the memory of medium arrays, so that it does not grow in each round."""
    peaks = []
    for _ in range(6):
        arrays = [empty((200 * KIB,), np.dtype("u1")) for _ in range(100)]
        for array in arrays:
            array[:] = 1
        peaks.append(resident())
        del arrays, array
    assert max(peaks[1:]) < peaks[0] + 4 * MIB


@linux
def test_no_page_is_filled_that_holds_none_of_the_array() -> None:
    """The bytes before the array and after it in its last huge page take no memory."""
    before = resident()
    array = empty((4 * MIB + 4 * KIB,), np.dtype("u1"))
    array[:] = 1
    assert resident() - before < 5 * MIB


@pytest.mark.parametrize(
    "shape",
    [
        (-1,),
        (-1, 5),
        (-1, -100_000),
        (-5, -7, 100_000),
        (-2000, -2000),
        (0, 1 << 63),
        (0, 1 << 62, 1 << 62),
        (1 << 46,),
        (1 << 58,),
        (1 << 60,),
        (1 << 62,),
        (1 << 63,),
        (1 << 64,),
        (1 << 40, 1 << 40),
        (1 << 70, 1 << 70),
        (1,) * 65,
        (100_000, *(1,) * 65),
        (3_000_000, *(1,) * 65),
    ],
    ids=lambda shape: str(shape)[:40],
)
def test_what_cannot_be_had_is_said_as_numpy_says_it(shape: tuple[int, ...]) -> None:
    """An impossible array is a ValueError or a MemoryError."""
    with pytest.raises((ValueError, MemoryError)):
        np.empty(shape, "f4")
    with pytest.raises((ValueError, MemoryError)):
        empty(shape, np.dtype("f4"))


def test_addresses() -> None:
    """The address is that of the first byte, also for a part of an array."""
    array = np.zeros(10, "f8")
    assert address(array) == array.ctypes.data
    assert address(array[3:]) - address(array) == 24
    assert address(array[::-1]) - address(array) == 72


def test_no_more_is_held_than_the_array_needs() -> None:
    """A small array holds up to 64 bytes more than it needs, a large one up to 2 MiB of
    addresses."""
    for nbytes in (64 * KIB, 2 * MIB - 1):
        held = root(empty((nbytes,), np.dtype("u1")))
        assert nbytes <= held.nbytes <= nbytes + ALIGNMENT
    held = root(empty((3 * MIB,), np.dtype("u1")))
    size = held.nbytes if isinstance(held, np.ndarray) else len(memoryview(held))
    assert 3 * MIB <= size <= 5 * MIB
