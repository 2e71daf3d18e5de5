"""initreg.arrays.streaming: many arrays, read ahead of whoever takes them."""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import initreg
from initreg.arrays import inflating, reader, streaming, threads
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.extent_checks import check
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.memory import ALIGNMENT, address
from initreg.arrays.reader import Reader
from initreg.arrays.streaming import _pieces, position, stream
from initreg.errors import DamagedFile, InitregError
from initreg.specs import Extent, SlicedExtent

Array = np.ndarray[Any, Any]
SUMS: dict[str, Callable[[bytes], int]] = {"crc32": zlib.crc32, "crc32c": google_crc32c.value}
HUGE = 1 << 21  # bytes of a huge page
# So small that grouping, chunks, threads and waiting all occur with files of a few kilobytes.
SMALL_NUMBERS: dict[tuple[Any, str], int] = {
    (streaming, "AHEAD"): 6000,
    (streaming, "_SMALL"): 600,
    (streaming, "_SPAN"): 1500,
    (streaming, "_GAP"): 100,
    (reader, "_CHUNK"): 700,
    (inflating, "_CHUNK"): 300,
    (threads, "_ALONE"): 0,
}


@pytest.fixture
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in SMALL_NUMBERS."""
    for (module, name), value in SMALL_NUMBERS.items():
        monkeypatch.setattr(module, name, value)


class File:
    """A file that is written array by array; ``values`` are what a format would return, ``wanted``
    the arrays that should come of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(b"head")
        self.values: dict[str, Any] = {}
        self.wanted: dict[str, Array] = {}
        self._seed = 0

    def numbers(self, count: int, dtype: str = "f4", shape: tuple[int, ...] | None = None) -> Array:
        """An array that no other one is like."""
        self._seed += 1
        found = np.random.default_rng(self._seed).integers(1, 100, count)
        kind = getattr(ml_dtypes, dtype, dtype)
        return found.astype(kind).reshape((count,) if shape is None else shape)

    def gap(self, count: int) -> None:
        self.data += b"\xee" * count

    def extent(self, array: Array, *, order: str = "C", skip: int = 0, packed: bool = False,
               sum_of: str | None = None) -> Extent:  # fmt: skip
        content = b"h" * skip + array.tobytes(order=order)  # type: ignore[arg-type]
        checksum = (sum_of, SUMS[sum_of](content)) if sum_of else None
        if packed:
            engine = zlib.compressobj(6, zlib.DEFLATED, -15)
            content = engine.compress(content) + engine.flush()
        at = len(self.data)
        self.data += content
        name = array.dtype.str if array.dtype.isbuiltin == 1 else array.dtype.name
        if not array.dtype.isnative:
            name = array.dtype.str
        codec = "deflate" if packed else None
        return Extent(self.path, at, len(content), array.shape, name, order, skip, codec, checksum)

    def add(self, array: Array, **options: Any) -> str:
        return self.put(self.extent(array, **options), array)

    def put(self, value: Any, wanted: Array) -> str:
        name = f"x{len(self.values)}"
        self.values[name] = value
        self.wanted[name] = wanted
        return name

    def add_sliced(self, rows: int, columns: int, packed: bool = False) -> str:
        """An array in four parts, which lie in no order."""
        array = self.numbers(rows * columns, "f4", (rows, columns))
        parts = []
        for a, b in ((1, 1), (0, 0), (0, 1), (1, 0)):
            low = a * (rows // 2), b * (columns // 3)
            high = (rows if a else rows // 2), (columns if b else columns // 3)
            part = np.ascontiguousarray(array[low[0] : high[0], low[1] : high[1]])
            parts.append((low, self.extent(part, packed=packed, sum_of="crc32c")))
            self.gap(7)
        return self.put(SlicedExtent(array.shape, "<f4", tuple(parts)), array)

    def open(self, reader: Reader | None = None, **options: Any) -> ArrayMap:
        self.path.write_bytes(self.data)
        check(self.values.items(), "the label", 1000)
        reader = reader or Reader("the label", **options)
        return ArrayMap(self.values, label="the label", format="t", reader=reader)


class Held:
    """An array-like of somebody else's."""

    def __init__(self, array: Array, error: Exception | None = None) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array, self._error = array, error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self._error is not None:
            raise self._error
        return self._array


def mixture(path: Path) -> File:
    """All kinds of arrays, side by side, with gaps, and with others between."""
    file = File(path)
    for count in (1, 30, 7, 100, 100, 3):  # small neighbours
        file.add(file.numbers(count), sum_of="crc32" if count % 2 else None)
    file.gap(50)
    file.add(file.numbers(10, "i8"), skip=13, sum_of="crc32c")
    file.gap(5000)
    file.add(file.numbers(10, "bfloat16"))
    file.add(file.numbers(1, "f8", ()))
    file.add(np.zeros((0, 3), "f4"))
    file.add(np.zeros((3, 0), "f4"), skip=20, sum_of="crc32")
    file.add(np.array([True, False, True]))
    file.add(file.numbers(2000), sum_of="crc32c")  # of several chunks
    file.add(file.numbers(2001, "u1"), skip=40, sum_of="crc32")
    file.add(file.numbers(12, "f4", (3, 4)), order="F")
    file.add(file.numbers(1200, "f4", (30, 40)), order="F", sum_of="crc32")
    file.add(file.numbers(5, ">i4"))
    file.add(file.numbers(1500, ">f8", (3, 500)), sum_of="crc32c")
    file.add(file.numbers(24, ">i2", (2, 3, 4)), order="F")
    file.add(file.numbers(20), packed=True)
    file.add(file.numbers(3000), packed=True, skip=128, sum_of="crc32")
    file.add(file.numbers(600, ">f4", (20, 30)), packed=True, order="F", sum_of="crc32")
    file.add(np.zeros(0), packed=True, skip=5, sum_of="crc32")
    file.add_sliced(4, 6)
    file.add_sliced(30, 40, packed=True)
    mine = file.numbers(50)
    file.put(mine, mine.copy())
    mine = np.asfortranarray(file.numbers(1200, "f8", (30, 40)))
    file.put(mine, mine.copy())
    mine = file.numbers(9, ">i4")
    file.put(Held(mine), mine.copy())
    file.add(file.numbers(1, "complex128", ()), sum_of="crc32")
    for count in (5, 6, 7):
        file.add(file.numbers(count, "u2"))
    return file


def same(found: Array, wanted: Array) -> bool:
    """Native, in C order, to be written to, and equal bit for bit."""
    wanted = wanted.astype(wanted.dtype.newbyteorder("="), order="C")
    return (
        type(found) is np.ndarray
        and (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        and found.dtype.isnative
        and found.flags.c_contiguous
        and found.flags.writeable
        and found.tobytes() == wanted.tobytes()
    )


def held_by(array: Array) -> int:
    """Bytes of the memory that the array keeps from being freed."""
    held: Any = array
    while isinstance(held, np.ndarray) and held.base is not None:
        held = held.base
    return held.nbytes if isinstance(held, np.ndarray) else len(memoryview(held))


def assert_whole(found: Sequence[tuple[int, Array]], wanted: Sequence[Array]) -> None:
    """Each array once, with its index and its values, in memory of its own."""
    assert sorted(index for index, _ in found) == list(range(len(wanted)))
    wrong = [index for index, array in found if not same(array, wanted[index])]
    assert wrong == []
    arrays = [array for _, array in found]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[i + 1 :])
        # No neighbour's bytes are kept; of a large array's mapping some are address space alone.
        assert held_by(array) <= array.nbytes + (ALIGNMENT if array.nbytes < HUGE else HUGE)


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("initreg")]


def finishes(call: Callable[[], Any]) -> bool:
    """Whether it does, rather than wait forever; in a thread, so that the test goes on."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(30)
    return not thread.is_alive()


def taken(
    arrays: Sequence[LazyArray],
    error: type[Exception],
    match: str,
    then: Callable[[int, Array], None] = lambda index, array: None,
) -> list[int]:
    """The indices of what was given before it raised; ``then`` is called with each."""
    given: list[int] = []

    def take() -> None:
        for index, array in stream(arrays):
            given.append(index)
            then(index, array)

    with pytest.raises(error, match=match):
        take()
    assert own_threads() == []
    return given


# --- every array, once, as it is ------------------------------------------------------------------


@pytest.mark.parametrize("verify", [True, False])
def test_every_array_arrives_once_with_its_values(
    tmp_path: Path, small_numbers: None, verify: bool
) -> None:
    """Arrays of all kinds in one file are given once, with their values."""
    file = mixture(tmp_path / "data")
    with file.open(verify=verify) as opened:
        assert_whole(list(stream(list(opened.values()))), list(file.wanted.values()))
    assert own_threads() == []


def test_every_array_arrives_with_the_usual_numbers(tmp_path: Path) -> None:
    """A small file is read without threads, with the usual limits."""
    file = mixture(tmp_path / "data")
    with file.open() as opened:
        assert_whole(list(stream(list(opened.values()))), list(file.wanted.values()))


def test_arrays_of_the_usual_sizes(tmp_path: Path) -> None:
    """Megabytes of arrays are read: in chunks, with neighbours, and packed."""
    file = File(tmp_path / "data")
    for _ in range(3):
        for count in (300_000, 1000, 10, 5, 100_000, 2_500_000 // 4):
            file.add(file.numbers(count), sum_of="crc32c")
    file.add(file.numbers(2_600_000, "u2"), sum_of="crc32")
    file.add(file.numbers(500_000), packed=True, skip=128, sum_of="crc32")
    with file.open() as opened:
        found = list(stream(list(opened.values()), ALIGNMENT))
        assert_whole(found, list(file.wanted.values()))
    large = [array for _, array in found if array.nbytes > streaming._SMALL]
    assert len(large) >= 8
    assert [address(array) % ALIGNMENT for array in large] == [0] * len(large)


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_any_order_and_any_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, seed: int
) -> None:
    """All arrays are right for any limits and any order, also if one is asked for twice."""
    file = mixture(tmp_path_factory.mktemp("stream") / "data")
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in SMALL_NUMBERS.items():
            limits = st.integers(min(value, 50), 2 * value + 1)
            patch.setattr(module, name, data.draw(limits, label=name))
        with file.open() as opened:
            names = np.random.default_rng(seed).choice(list(opened), 40).tolist()
            found = list(stream([opened[name] for name in names]))
    assert_whole(found, [file.wanted[name] for name in names])
    assert own_threads() == []


def test_an_array_that_overlaps_its_neighbour(tmp_path: Path, small_numbers: None) -> None:
    """Arrays that share some or all of their bytes are read."""
    file = File(tmp_path / "data")
    first = file.numbers(40)
    extent = file.extent(first)
    file.put(extent, first)
    file.put(extent, first)
    inner = Extent(file.path, extent.offset + 40, 80, (20,), "<f4")
    file.put(inner, first[10:30])
    file.add(file.numbers(40))
    with file.open() as opened:
        assert_whole(list(stream(list(opened.values()))), list(file.wanted.values()))


def test_a_header_that_is_longer_than_a_chunk(tmp_path: Path, small_numbers: None) -> None:
    """A long skipped header counts for the checksum, before many, few or no elements."""
    file = File(tmp_path / "data")
    for count in (1000, 3, 0):
        file.add(file.numbers(count), skip=2000, sum_of="crc32")
    with file.open() as opened:
        assert_whole(list(stream(list(opened.values()))), list(file.wanted.values()))


def test_nothing_at_all() -> None:
    """A stream of no arrays is empty."""
    assert list(stream([])) == []


def test_in_about_the_order_given(tmp_path: Path, small_numbers: None) -> None:
    """An array is not overtaken by one that is further away than what is read ahead."""
    file = File(tmp_path / "data")
    for _ in range(100):
        file.add(file.numbers(250), sum_of="crc32")
    with file.open() as opened:
        order = [index for index, _ in stream(list(opened.values()))]
    assert sorted(order) == list(range(100))
    assert max(abs(index - place) for place, index in enumerate(order)) <= 6000 // 1000


def test_the_largest_packed_array_is_not_left_to_the_end(
    tmp_path: Path, small_numbers: None
) -> None:
    """It is begun first, wherever it is in the file, unless the order is asked for."""
    file = File(tmp_path / "m")
    for _ in range(40):
        file.add(file.numbers(500), packed=True, sum_of="crc32")
    file.add(file.numbers(2000), packed=True, sum_of="crc32")
    begun: list[int] = []

    def room(index: int, shape: tuple[int, ...], nbytes: int) -> None:
        begun.append(index)

    with file.open() as opened:
        arrays = list(opened.values())
        assert_whole(list(stream(arrays, room=room)), list(file.wanted.values()))
        assert begun == [40, *range(40)]
        assert [index for index, _ in stream(arrays, in_order=True)] == list(range(41))


def test_rules_are_applied(tmp_path: Path, small_numbers: None) -> None:
    """Arrays under rules have the values that m[name].read() gives."""
    file = mixture(tmp_path / "data")
    wanted: list[Array] = []
    with file.open() as opened:
        floats = [n for n in opened if opened[n].spec.dtype == "float32" and opened[n].ndim]
        tables = [n for n in floats if opened[n].ndim == 2 and min(opened[n].shape) > 2]
        assert (len(floats), len(tables)) == (17, 5)
        renamed = opened.rename({name: f"new/{name}" for name in opened})
        cast = opened.cast("float64", *floats)
        sliced = opened.slice(tables, 1, 1, 3)
        rows = opened.slice(tables, 0, 1, None).cast("bfloat16", *tables)
        turned = opened.transpose(*tables).slice(tables, 0, 1, 3)
        padded = opened.rename({name: f"new/{name}" for name in tables})
        padded = padded.pad("new/*", 0, 50, 7)
        arrays: list[LazyArray] = []
        for name, values in file.wanted.items():
            arrays += [renamed[f"new/{name}"], cast[name]]
            wanted += [values, values.astype("f8") if name in floats else values]
            if name in tables:
                arrays += [sliced[name], rows[name], turned[name], padded[f"new/{name}"]]
                fill = np.full((50 - values.shape[0], values.shape[1]), 7, values.dtype)
                wanted += [values[:, 1:3], values[1:].astype(ml_dtypes.bfloat16)]
                wanted += [values.T[1:3], np.concatenate([values, fill])]
        assert_whole(list(stream(arrays)), wanted)
        assert all(same(array.read(), values) for array, values in zip(arrays, wanted, strict=True))


def test_arrays_of_several_maps(tmp_path: Path, small_numbers: None) -> None:
    """Arrays of two files are read alternately, also if one file is open twice."""
    one, two = mixture(tmp_path / "one"), mixture(tmp_path / "two")
    with one.open() as a, two.open() as b, one.open() as c:
        arrays = [array for three in zip(a.values(), b.values(), c.values(), strict=True)
                  for array in three]  # fmt: skip
        wanted = [array for array in one.wanted.values() for _ in range(3)]
        assert_whole(list(stream(arrays)), wanted)


def test_the_error_names_the_map_that_is_damaged(tmp_path: Path, small_numbers: None) -> None:
    """If one stream reads two maps, the error names the damaged one."""
    one, two = File(tmp_path / "one"), File(tmp_path / "two")
    for file in (one, two):
        for _ in range(5):
            file.add(file.numbers(20), sum_of="crc32")
    two.data[two.values["x3"].offset] ^= 1
    with one.open(Reader("the one")) as a, two.open(Reader("the other")) as b:
        arrays = [array for both in zip(a.values(), b.values(), strict=True) for array in both]
        taken(arrays, DamagedFile, "the other: array 'x3' fails its crc32")


def test_room_of_somebody_elses(tmp_path: Path, small_numbers: None) -> None:
    """Arrays are read into the memory that is offered, if it fits what is stored."""
    file = mixture(tmp_path / "data")
    asked: dict[int, tuple[tuple[int, ...], int]] = {}
    offered: dict[int, Array] = {}
    with file.open() as opened:
        arrays = list(opened.values())

        def room(index: int, shape: tuple[int, ...], nbytes: int) -> Array | None:
            asked[index] = shape, nbytes
            if index % 3 == 2:
                return None
            dtype = arrays[index].dtype if index % 3 else np.dtype("S1")  # which fits nothing
            offered[index] = np.empty(shape, dtype)
            return offered[index]

        found = list(stream(arrays, room=room))
    assert_whole(found, list(file.wanted.values()))
    for index, (shape, nbytes) in asked.items():
        value = arrays[index].value
        assert isinstance(value, Extent)
        assert (value.order, shape, nbytes) == ("C", value.shape, arrays[index].spec.nbytes)
        assert not value.dtype.startswith(">")
    used = {i for i, array in found if i in offered and array is offered[i]}
    assert used == {i for i in offered if i % 3}
    assert len(used) >= 3


# --- how much is read ahead -----------------------------------------------------------------------


class Counting(Reader):
    """Notes how many bytes were begun to be read, in pieces of which sizes."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.begun = 0
        self.pieces: list[list[str]] = []
        self.seen: Callable[[int], None] = lambda nbytes: None

    def start(self, arrays: Sequence[LazyArray], *rest: Any, **more: Any) -> Any:
        nbytes = sum(array.spec.nbytes or 0 for array in arrays)
        self.begun += nbytes
        self.pieces.append([array.name for array in arrays])
        self.seen(nbytes)
        return super().start(arrays, *rest, **more)


@pytest.mark.parametrize("ahead", [100, 3000, 6000, 20_000, 10**9])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_read_and_not_yet_taken_is_bounded(
    tmp_path: Path,
    small_numbers: None,
    monkeypatch: pytest.MonkeyPatch,
    ahead: int,
    packed: bool,
) -> None:
    """At most AHEAD bytes or one larger piece are read ahead, plus the largest packed array."""
    monkeypatch.setattr(streaming, "AHEAD", ahead)
    file = File(tmp_path / "data")
    largest_packed = 0
    for i in range(60):
        count = (5, 20, 100, 400, 1700)[i % 5]
        is_packed = packed and i % 7 == 0
        largest_packed = max(largest_packed, 4 * count * is_packed)
        file.add(file.numbers(count), packed=is_packed, sum_of="crc32")
    reader = Counting("the label")
    outstanding: list[tuple[int, int]] = []
    got = 0
    with file.open(reader) as opened:
        arrays = list(opened.values())
        reader.seen = lambda nbytes: outstanding.append((reader.begun - got, nbytes))
        for _, array in stream(arrays):
            got += array.nbytes
    assert got == reader.begun == sum(array.nbytes for array in file.wanted.values())
    order = list(file.values)
    if largest_packed > ahead:
        first = next(n for n in order if file.wanted[n].nbytes == largest_packed)
        order.sort(key=first.__ne__)
    assert [name for piece in reader.pieces for name in piece] == order
    for together, piece in outstanding:
        assert together <= max(ahead + largest_packed, piece)
    most = max(together for together, _ in outstanding)
    if ahead >= 20_000:
        assert most > 1700 * 4, "more than one array is read ahead"
    if ahead == 10**9:
        assert most == got or packed, "all is read ahead where that is allowed"
    else:
        assert most < got


def test_which_arrays_are_read_together(tmp_path: Path, small_numbers: None) -> None:
    """Small arrays side by side are read together, within the limits for gaps, sizes and spans."""
    file = File(tmp_path / "data")
    a, b = file.add(file.numbers(10)), file.add(file.numbers(10))
    file.gap(100)
    c = file.add(file.numbers(10))  # after a gap that is read and thrown away
    file.gap(101)
    d = file.add(file.numbers(150))  # after one that is too long
    e = file.add(file.numbers(151))  # is not small
    f, g = file.add(file.numbers(140)), file.add(file.numbers(140))
    h, i = file.add(file.numbers(95)), file.add(file.numbers(1))  # f to i would span too much
    j = file.add(file.numbers(10), packed=True)
    k = file.add_sliced(4, 6)
    mine = file.numbers(3)
    m = file.put(mine, mine)
    n = file.add(file.numbers(10, "f4", (2, 5)), order="F")
    o = file.add(file.numbers(10, ">i2"), sum_of="crc32")
    reader = Counting("the label")
    with file.open(reader) as opened:
        arrays = list(opened.values())
        assert_whole(list(stream(arrays)), list(file.wanted.values()))
        assert reader.pieces == [
            [a, b, c], [d], [e], [f, g, h], [i], [j], [k], [m], [n, o],
        ]  # fmt: skip
        reader.pieces.clear()
        sliced = opened.slice(b, 0, 1, 3)  # of which no more than the slice is read
        list(stream([opened[a], sliced[b], opened[c]]))
        assert reader.pieces == [[a], [c]]
        reader.pieces.clear()
        list(stream(arrays[::-1][-3:]))  # against the order of the file
        assert reader.pieces == [[c], [b], [a]]


def test_position(tmp_path: Path) -> None:
    """Arrays are ordered by file and offset, and those without a file come first."""
    file = File(tmp_path / "data")
    file.add(file.numbers(10))
    file.add(file.numbers(10))
    mine = file.numbers(3)
    file.put(mine, mine)
    with file.open() as opened:
        found = [position(array) for array in opened.values()]
        renamed = opened.rename({"x0": "y"})
        assert position(renamed["y"]) == found[0]
    assert found == [(str(file.path), 4), (str(file.path), 44), ("", 0)]
    assert sorted(found)[0] == ("", 0)


# --- damage -------------------------------------------------------------------------------------


DAMAGED: dict[str, Callable[[File], str]] = {}


def damaged(make: Callable[[File], str]) -> Callable[[File], str]:
    DAMAGED[make.__name__] = make
    return make


def flip(file: File, name: str) -> str:
    extent = file.values[name]
    file.data[extent.offset + extent.length // 2] ^= 0x10
    return name


@damaged
def small(file: File) -> str:
    return flip(file, file.add(file.numbers(20), sum_of="crc32"))


@damaged
def of_chunks(file: File) -> str:
    return flip(file, file.add(file.numbers(1000), sum_of="crc32c"))


@damaged
def alone(file: File) -> str:
    return flip(file, file.add(file.numbers(160), sum_of="crc32"))


@damaged
def packed(file: File) -> str:
    name = file.add(file.numbers(500), packed=True, sum_of="crc32")
    extent = file.values[name]
    file.data[extent.offset : extent.offset + 50] = b"\xff" * 50
    return name


@damaged
def held(file: File) -> str:
    value = Held(file.numbers(5), RuntimeError("bad chunk"))
    return file.put(value, file.numbers(5))


@damaged
def in_slices(file: File) -> str:
    name = file.add_sliced(10, 12)
    extent = file.values[name].slices[2][1]
    file.data[extent.offset] ^= 1
    return name


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("before", [0, 1, 2, 7, 40])
def test_a_damaged_array_raises_once_all_before_it_were_given(
    tmp_path: Path, small_numbers: None, kind: str, before: int
) -> None:
    """The error names the damaged array, and all arrays before it were given."""
    file = File(tmp_path / "data")
    for i in range(before):
        file.add(file.numbers((20, 20, 20, 1000, 100)[i % 5]), packed=i % 11 == 9, sum_of="crc32")
    name = DAMAGED[kind](file)
    for i in range(20):
        file.add(file.numbers((20, 1000)[i % 2]), sum_of="crc32")
    with file.open() as opened:
        given = taken(list(opened.values()), DamagedFile, f"the label: array '{name}' ")
    assert before not in given
    assert set(range(before)) <= set(given)


@pytest.mark.parametrize("place", [0, 1, 4])
def test_of_neighbours_that_are_read_together_those_before_a_damaged_one_are_given(
    tmp_path: Path, small_numbers: None, place: int
) -> None:
    """In a group with a damaged array, the arrays before it are given."""
    file = File(tmp_path / "data")
    for i in range(5):
        name = file.add(file.numbers(20), sum_of="crc32")
        if i == place:
            flip(file, name)
    with file.open() as opened:
        arrays = list(opened.values())
        given = taken(arrays, DamagedFile, f"array 'x{place}' fails its crc32")
    assert given == list(range(place))


class Waiting(Reader):
    """Holds one array back until the reads of another one are done."""

    def __init__(self, label: str, slow: str, fast: str) -> None:
        super().__init__(label)
        self._slow, self._fast = slow, fast
        self._go_on = threading.Event()

    def start(self, arrays: Sequence[LazyArray], *rest: Any, **more: Any) -> Any:
        job = super().start(arrays, *rest, **more)
        if self._fast in [array.name for array in arrays]:
            for future in job.futures:
                future.add_done_callback(lambda _: job.is_done and self._go_on.set())
            if not job.futures:  # it is read when its turn comes
                self._go_on.set()
        return job

    def _fill(self, name: str, *rest: Any, **more: Any) -> None:
        if name == self._slow:
            assert self._go_on.wait(30), f"{self._fast} is not read while {name} is"
        super()._fill(name, *rest, **more)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_array_waits_for_a_slow_one_before_it(
    tmp_path: Path, small_numbers: None, kind: str
) -> None:
    """The arrays before a damaged one are given first, even if they are slower."""
    file = File(tmp_path / "data")
    slow = file.add(file.numbers(160), sum_of="crc32")
    name = DAMAGED[kind](file)
    good = {file.add(file.numbers(160), packed=i == 1, sum_of="crc32") for i in range(2)}
    with file.open(Waiting("the label", slow, name)) as opened:
        arrays = list(opened.values())
        found = taken(arrays, DamagedFile, f"array '{name}'")
    given = [arrays[index].name for index in found]
    assert slow in given
    assert set(given) <= {slow, *good}


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_damaged_array_of_a_mapped_file_raises_in_its_turn(
    tmp_path: Path, small_numbers: None, place: int
) -> None:
    """A damaged mapped array raises only after the arrays before it were given."""
    file = File(tmp_path / "data")
    for i in range(4):
        name = file.add(file.numbers(200), sum_of="crc32")
        if i == place:
            flip(file, name)
    with file.open(mmap=True) as opened:
        given = taken(list(opened.values()), DamagedFile, f"array 'x{place}' fails its crc32")
    assert given == list(range(place))


def test_a_file_that_shrank_raises_when_all_that_is_left_was_given(
    tmp_path: Path, small_numbers: None
) -> None:
    """The error names the file and the first array that is cut off."""
    file = File(tmp_path / "data")
    for i in range(20):
        file.add(file.numbers((20, 160)[i % 2]))
    with file.open() as opened:
        os.truncate(file.path, file.values["x10"].offset + 3)
        given = taken(list(opened.values()), DamagedFile, "array 'x10'.*: data ended after 3 of")
    assert set(range(10)) <= set(given)


# --- giving up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stream_that_is_given_up_leaves_nothing_behind(
    tmp_path: Path, small_numbers: None, after: int
) -> None:
    """Closing the iterator ends its threads, and the map closes at once."""
    file = mixture(tmp_path / "data")
    opened = file.open()
    iterator = stream(list(opened.values()))
    for _ in range(after):
        next(iterator)
    assert isinstance(iterator, Iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert own_threads() == []
    assert list(iterator) == []
    assert finishes(opened.close)


def test_a_stream_whose_taker_fails_leaves_nothing_behind(
    tmp_path: Path, small_numbers: None
) -> None:
    """If the caller fails, as when a target cannot be written, the threads end and the map
    closes."""
    file = mixture(tmp_path / "data")

    def fail(index: int, array: Array) -> None:
        if index == 3:
            raise ZeroDivisionError

    with file.open() as opened:
        assert taken(list(opened.values()), ZeroDivisionError, r"^$", fail)[-1] == 3
        assert_whole(list(stream(list(opened.values()))), list(file.wanted.values()))
        assert finishes(opened.close)


def test_arrays_that_were_given_outlive_the_map(tmp_path: Path, small_numbers: None) -> None:
    """Arrays stay valid after the map is closed and the file is removed."""
    file = mixture(tmp_path / "data")
    with file.open() as opened:
        found = list(stream(list(opened.values())))
    file.path.write_bytes(b"")
    file.path.unlink()
    assert_whole(found, list(file.wanted.values()))


@pytest.mark.parametrize("name", ["x1", "x11", "x13", "x17", "x19", "x23", "x24", "x25", "x27"])
def test_a_closed_map_is_an_error(tmp_path: Path, small_numbers: None, name: str) -> None:
    """Reading any kind of array, or a part of one, from a closed map is an error."""
    file = mixture(tmp_path / "data")
    opened = file.open()
    sliced = opened.slice(name, 0, 1, 2)
    opened.close()
    for arrays in (opened, sliced):
        message = f"the label is closed: read '{name}' inside its 'with'"
        assert taken([arrays[name]], InitregError, message) == []


def test_a_map_that_is_closed_midway(tmp_path: Path, small_numbers: None) -> None:
    """After a map is closed, arrays that were begun may still be given, and then it is an error."""
    file = File(tmp_path / "data")
    for _ in range(50):
        file.add(file.numbers(250), sum_of="crc32")
    opened = file.open()

    def close(index: int, array: Array) -> None:
        assert same(array, file.wanted[f"x{index}"])
        assert finishes(opened.close)

    message = "the label is closed: read 'x"
    assert 1 <= len(taken(list(opened.values()), InitregError, message, close)) < 20


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux lists what is open")
def test_a_map_that_is_closed_midway_leaves_no_file_open(tmp_path: Path) -> None:
    """A read that starts after closing does not open the file again."""
    file = File(tmp_path / "data")
    file.add(file.numbers(250), sum_of="crc32")
    opened = file.open()
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait, 30)
        job = opened["x0"].reader.start([opened["x0"]], pool)
        opened.close()
        go_on.set()
        error = job.futures[0].exception()
    assert error is None or isinstance(error, InitregError)
    assert error or same(job.finish()[0], file.wanted["x0"])
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    assert str(file.path) not in [os.readlink(link) for link in links if link.is_symlink()]


def test_two_streams_of_one_map_at_once(tmp_path: Path, small_numbers: None) -> None:
    """Two streams of one map do not disturb each other, alternately or in threads."""
    file = mixture(tmp_path / "data")
    wanted = list(file.wanted.values())
    with file.open() as opened:
        arrays = list(opened.values())
        pairs = list(zip(stream(arrays), stream(arrays[::-1]), strict=True))
        assert_whole([first for first, _ in pairs], wanted)
        assert_whole([second for _, second in pairs], wanted[::-1])
        with ThreadPoolExecutor(3) as pool:
            for found in pool.map(lambda _: list(stream(arrays)), range(6)):
                assert_whole(found, wanted)
    assert own_threads() == []


def test_well_packed_neighbours_do_not_fill_the_memory() -> None:
    """Small packed arrays of a store are read together only as far as they unpack to little."""
    data = io.BytesIO()
    np.savez_compressed(data, **{f"w{i:03}": np.zeros(200_000, "f4") for i in range(60)})
    assert len(data.getvalue()) < 100_000
    with initreg.open(data) as arrays:
        pieces = list(_pieces([*arrays.values()], [800_000] * 60))
    assert sum(len(piece.indices) for piece in pieces) == 60
    assert max(piece.nbytes for piece in pieces) <= 4 << 20
