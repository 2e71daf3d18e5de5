"""initreg.arrays.copying: what somebody else holds or reads, as arrays of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import initreg
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.copying import owned
from initreg.arrays.memory import ALIGNMENT, address
from initreg.arrays.reader import Reader
from initreg.arrays.regions import Box, box_of
from initreg.errors import DamagedFile, InitregError, NotEnoughMemory, RefusedFile

Array = np.ndarray[Any, Any]


def own(value: Any, box: Box | None = None) -> Array:
    """An array-like as the kernel owns it, or a box of it."""
    opened = ArrayMap({"x": value}, label="the label", format="t", reader=Reader("the label"))
    return owned(opened["x"], "the label", box)


def whole_and_part(value: Any) -> tuple[Array, Array]:
    """All of it, and its first row (or all, if it has none)."""
    box = box_of(slice(0, 1) if value.shape else (), value.shape)
    return own(value), own(value, box)


class Holder:
    """An array-like without slices; ``__array__`` gives what it holds."""

    def __init__(self, array: Any, shape: Any = None, dtype: Any = None) -> None:
        self.array = array
        self.shape = np.shape(array) if shape is None else shape
        self.dtype = np.asarray(array).dtype if dtype is None else dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.array
        return found.copy() if copy else found


class Careless(Holder):
    """Takes ``copy``, and copies nothing."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.array
        return found


class Old(Holder):
    """Knows nothing of copies, as array-likes of before numpy 2."""

    def __array__(self, dtype: Any = None) -> Array:  # type: ignore[override]
        found: Array = self.array
        return found


class Sliced(Careless):
    """Can be asked for a slice, of which it gives a view; tells what it was asked for."""

    def __init__(self, array: Any, shape: Any = None, dtype: Any = None) -> None:
        super().__init__(array, shape, dtype)
        self.asked: list[Any] = []

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self.asked.append("all")
        found: Array = self.array
        return found


class Subclass(np.ndarray[Any, Any]):
    """An array of a kind of its own."""


HELD = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.arange(24.0).reshape(3, 4, 2)[::-1, 1::2, ::-1],
    np.arange(12.0).reshape(3, 4).T,
    np.broadcast_to(np.arange(4.0), (3, 4)),
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.array(3.5),
    np.zeros((0, 5), "i2"),
    np.zeros((3, 0), "f4"),
    np.array([True, False]),
    np.array([1 + 2j, 3]),
    np.array([1.5, -2], ml_dtypes.bfloat16),
    np.array([1.5, -2], ml_dtypes.float8_e4m3fn),
    np.array([np.nan, -0.0, np.inf], "f2"),
    np.zeros(100_000),
]
held = pytest.mark.parametrize("array", HELD, ids=lambda a: f"{a.dtype}{a.shape}{a.strides}")
kinds = pytest.mark.parametrize(
    "kind",
    [np.asarray, lambda a: a.view(Subclass), Holder, Careless, Old, Sliced],
    ids=["numpy", "subclass", "honest", "careless", "old", "sliced"],
)


@held
@kinds
def test_what_is_held_becomes_ones_own(array: Array, kind: Any) -> None:
    """The copy is a writable, plain array in C order and native byte order with the same values."""
    for found, wanted in zip(
        whole_and_part(kind(array)), (array, array[:1] if array.ndim else array), strict=True
    ):
        assert type(found) is np.ndarray
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.dtype.isnative
        assert found.dtype == array.dtype.newbyteorder("=")
        assert found.shape == wanted.shape
        assert found.tobytes() == wanted.astype(found.dtype).tobytes()
        assert not np.shares_memory(found, array)


@kinds
def test_neither_side_sees_the_others_edits(kind: Any) -> None:
    """Edits of the copy, of the original or of another copy are not seen elsewhere."""
    mine = np.arange(12.0).reshape(3, 4)
    value = kind(mine)
    found = [*whole_and_part(value), *whole_and_part(value)]
    mine[:] = -1
    assert [array[0].tolist() for array in found] == [[0, 1, 2, 3]] * 4
    for i, array in enumerate(found):
        array[:] = 100 + i
    assert (mine == -1).all()
    assert [array[0, 0] for array in found] == [100, 101, 102, 103]


def test_one_that_copies_now_and_then() -> None:
    """A type that copied once may share its memory the next time, and is copied each time."""

    class Converting(Holder):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            return np.asarray(self.array, "f4")

    doubles, floats = np.arange(3.0), np.arange(3, dtype="f4")
    assert own(Converting(doubles, dtype=np.dtype("f4"))).tolist() == [0, 1, 2]
    found = own(Converting(floats))
    assert not np.shares_memory(found, floats)
    floats[:] = 7
    assert found.tolist() == [0, 1, 2]


def test_one_that_converts_only_what_is_large() -> None:
    """A type that copied an empty array may share its memory for another one."""
    for array in (np.zeros(0), np.zeros((0, 3)), np.ones(3), np.ones((200, 200))):
        assert not np.shares_memory(own(Careless(array)), array)
        assert not np.shares_memory(own(Sliced(array)), array)


def test_what_is_large_is_aligned() -> None:
    """A large copy is aligned, so that TensorFlow can use it without a copy."""
    found = own(np.ones((300, 300)))
    assert address(found) % ALIGNMENT == 0
    assert (found == 1).all()


@given(
    arrays_of.arrays(
        arrays_of.scalar_dtypes().filter(lambda d: d.kind in "biufc" and d.itemsize <= 16),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.data(),
)
def test_any_array_and_any_box(array: Array, data: st.DataObject) -> None:
    """Copies of whole arrays and of boxes are equal bit for bit, also NaNs."""
    index = data.draw(arrays_of.basic_indices(array.shape, allow_ellipsis=False))
    box = box_of(index, array.shape)
    assert box is not None
    native = array.dtype.newbyteorder("=")
    for kind in (np.asarray, Careless, Sliced):
        assert own(kind(array)).tobytes() == array.astype(native).tobytes()
        part = own(kind(array), box)
        assert part.shape == box.shape
        assert part.tobytes() == array[box.slices].astype(native).tobytes()
        assert not np.shares_memory(part, array)


# --- boxes --------------------------------------------------------------------------------------


def test_a_value_with_slices_is_asked_for_the_box() -> None:
    """A value that can be sliced is asked for the box once, and for nothing else."""
    value = Sliced(np.arange(20.0).reshape(4, 5))
    box = box_of(np.s_[1:3, -1], (4, 5))
    assert own(value, box).tolist() == [[9], [14]]
    assert value.asked == [(slice(1, 3), slice(4, 5))]
    assert own(value).shape == (4, 5)
    assert "all" in value.asked[1:]


def test_a_value_without_slices_is_cut() -> None:
    """A box of a value that cannot be sliced keeps no more memory than the box needs."""
    array = np.arange(20_000.0).reshape(400, 50)
    for value in (Holder(array), Careless(array), Old(array)):
        found = own(value, box_of(np.s_[1:3, 4], (400, 50)))
        assert found.tolist() == [[54], [104]]
        held: Any = found
        while held.base is not None:
            held = held.base
        assert held.nbytes == 16


def test_a_value_that_answers_a_slice_with_all_of_it_is_cut() -> None:
    """A value that ignores the slice and returns everything is cut to the box."""

    class Deaf(Sliced):
        def __getitem__(self, index: Any) -> Any:
            return self.array

    array = np.arange(20.0).reshape(4, 5)
    found = own(Deaf(array), box_of(np.s_[1:3, 4], (4, 5)))
    assert found.tolist() == [[9], [14]]
    assert not np.shares_memory(found, array)


@pytest.mark.parametrize("part", [np.zeros((2, 5)), np.zeros((1, 5), "f4"), np.zeros(5), 3])
def test_a_slice_that_is_not_as_announced_is_refused(part: Any) -> None:
    """A slice with another shape or dtype than the box is refused."""

    class Wrong(Sliced):
        def __getitem__(self, index: Any) -> Any:
            return part

    with pytest.raises(
        DamagedFile, match=r"the label: array 'x' was announced as \(1, 5\) float64"
    ):
        own(Wrong(np.zeros((4, 5))), box_of(0, (4, 5)))


# --- lies and accidents ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(4, "f4"), r"\(4,\) float32"),
        (np.zeros((3, 1), "f4"), r"\(3, 1\) float32"),
        (np.zeros((), "f4"), r"\(\) float32"),
        (np.zeros(3, "f8"), r"\(3,\) float64"),
        (np.zeros(3, "i4"), r"\(3,\) int32"),
        (np.zeros(3, "c8"), r"\(3,\) complex64"),
        (np.zeros(3, object), r"\(3,\) object"),
        (np.zeros(3, "S4"), r"\(3,\) string"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [Holder, Careless, Old])
def test_what_is_not_as_announced_is_refused(kind: Any, array: Array, found: str) -> None:
    """An array with another shape or dtype than announced is refused."""
    value = kind(array, (3,), np.dtype("f4"))
    message = rf"the label: array 'x' was announced as \(3,\) float32, but reads as {found}"
    with pytest.raises(DamagedFile, match=message):
        own(value)


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyError, MemoryError, TypeError])
@pytest.mark.parametrize("box", [None, Box((0,), (1,), ())])
def test_what_cannot_be_read_is_damaged(error: Any, box: Box | None) -> None:
    """Any error of a library becomes one DamagedFile with the array and the library's message. A
    lack of memory is not damage."""

    class Broken(Holder):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise error("checksum of chunk 7")

    message = f"the label: array 'x' cannot be read: {error.__name__}: .*checksum of chunk 7"
    with pytest.raises(InitregError, match=message) as caught:
        own(Broken(np.zeros(3)), box)
    assert type(caught.value) is (NotEnoughMemory if error is MemoryError else DamagedFile)
    assert isinstance(caught.value.__cause__, error)


def test_an_error_of_ours_is_passed_on() -> None:
    """An InitregError of a format is raised unchanged."""

    class Refusing(Holder):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise RefusedFile("it holds a pickle")

    with pytest.raises(RefusedFile, match=r"^it holds a pickle$"):
        own(Refusing(np.zeros(3)))
    assert issubclass(RefusedFile, InitregError)


def test_ctrl_c_is_not_swallowed() -> None:
    """KeyboardInterrupt is raised unchanged."""

    class Interrupted(Holder):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own(Interrupted(np.zeros(3)))


# --- strings and HDF5 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array([b"ab", b"c"]),
        np.array(["ab", "\xe4\u20ac"]),
        np.array([["a", b"bc"], ["", b"\0"]], object),
    ],
    ids=lambda a: a.dtype.kind,
)
def test_strings(array: Array) -> None:
    """Strings of fixed width and of objects are copied into an array of their own."""
    with initreg.open({"x": array}) as opened:
        assert opened["x"].spec.dtype == "string"
        found, part = opened["x"].read(), opened["x"][1:]
    wanted = array.tolist()
    assert (found.tolist(), part.tolist()) == (wanted, wanted[1:])
    array[...] = array.flat[0]
    assert (found.tolist(), part.tolist()) == (wanted, wanted[1:])


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    """An open HDF5 file of datasets of several layouts, all of the same values."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        values = np.arange(20, dtype="f4").reshape(4, 5)
        file.create_dataset("plain", data=values)
        file.create_dataset("packed", data=values, chunks=(2, 2), compression="gzip")
        file.create_dataset("big", data=values.astype(">f4"))
        file.create_dataset("scalar", data=np.float32(3.5))
        file.create_dataset("empty", data=np.zeros((0, 5), "f4"))
        file.flush()
        yield file


@pytest.mark.parametrize("name", ["plain", "packed", "big"])
def test_datasets_of_h5py(file: h5py.File, name: str) -> None:
    """Datasets are read whole, and sliced by HDF5."""
    wanted = np.arange(20, dtype="f4").reshape(4, 5)
    found, part = own(file[name]), own(file[name], box_of(np.s_[1:3, ::2], (4, 5)))
    assert found.dtype == part.dtype == np.float32
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(part, wanted[1:3])
    found[:] = 0
    np.testing.assert_array_equal(file[name][...], wanted)
    assert own(file["scalar"]).tolist() == 3.5
    assert own(file["scalar"], box_of((), ())).tolist() == 3.5
    assert own(file["empty"]).shape == (0, 5)


def test_a_dataset_reads_no_more_than_the_box(tmp_path: Path) -> None:
    """A damaged chunk outside of the box is not read."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        values = np.arange(4000.0).reshape(4, 1000)
        file.create_dataset("x", data=values, chunks=(1, 1000), compression="gzip", fletcher32=True)
        chunk = file["x"].id.get_chunk_info(3)
    with open(path, "r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        raw.write(b"\xff" * 8)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            own(file["x"], box_of(np.s_[:3, 2:4], (4, 1000))), values[:3, 2:4]
        )
        with pytest.raises(DamagedFile, match="the label: array 'x' cannot be read: OSError: "):
            own(file["x"])


def test_a_closed_file_is_an_error_of_ours(tmp_path: Path) -> None:
    """Reading from a closed HDF5 file is an InitregError that names the array."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = np.zeros(3)
        opened = initreg.open({"x": file["x"]})
    with pytest.raises(InitregError, match="array 'x' cannot be read"):
        opened["x"].read()
