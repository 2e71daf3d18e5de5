"""initreg.arrays.reader: bytes become arrays, and what is wrong with them is found."""

import os
import threading
import zlib

import google_crc32c
import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.extent_checks import check
from initreg.arrays.reader import Reader
from initreg.errors import DamagedFile
from initreg.specs import Extent, SlicedExtent


@pytest.fixture
def file(tmp_path):
    def write(data):
        (tmp_path / "data").write_bytes(data)
        return tmp_path / "data"

    return write


def read(value, **options):
    check([("x", value)], "f", 1000)
    with ArrayMap({"x": value}, label="f", format="t", reader=Reader("f", **options)) as arrays:
        return arrays["x"].read()


def raw(path, array, **fields):
    length = path.stat().st_size
    return Extent(path, 0, length, array.shape, array.dtype.name, **fields)


ARRAYS = [
    np.arange(24, dtype="f4").reshape(2, 3, 4),
    np.array(3.5),
    np.zeros((0, 5), "i2"),
    np.array([True, False]),
    np.array([1 + 2j, 3]),
    np.array([1.5, -2], ml_dtypes.bfloat16),
    np.array([1.5, -2], ml_dtypes.float8_e4m3fn),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_raw_bytes(file, array):
    """Every dtype and shape is read with the right values, into memory of its own."""
    found = read(raw(file(array.tobytes()), array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.owndata or found.base.flags.owndata
    assert found.flags.writeable


def test_fortran_order_is_read_into_c_order(file):
    """The values stay where they were; the memory is in C order."""
    array = np.arange(24.0).reshape(2, 3, 4)
    found = read(raw(file(array.tobytes(order="F")), array, order="F"))
    np.testing.assert_array_equal(found, array)
    assert found.flags.c_contiguous


def test_big_endian_bytes_are_read_into_native_order(file):
    """A type string with '>' says how the bytes lie; the array is native."""
    array = np.arange(6, dtype=">i4")
    found = read(Extent(file(array.tobytes()), 0, 24, (6,), ">i4"))
    assert found.dtype == np.dtype("i4")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("skip", [0, 7, 3_000_000])
def test_deflate(file, skip):
    """A deflated member reads as its unpacked bytes, whatever its header's length."""
    array = np.arange(1_000_000, dtype="f4")
    data = b"h" * skip + array.tobytes()
    engine = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = engine.compress(data) + engine.flush()
    extent = raw(file(packed), array, skip=skip, codec="deflate",
                 checksum=("crc32", zlib.crc32(data)))  # fmt: skip
    assert read(extent).tobytes() == array.tobytes()


@pytest.mark.parametrize("change", [-4, 4])
def test_a_deflated_member_of_another_length_is_damaged(file, change):
    """A stream that unpacks to more or fewer bytes than its header says is refused."""
    array = np.arange(100, dtype="f4")
    data = array.tobytes() + b"x" * 4 if change > 0 else array.tobytes()[:change]
    engine = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = engine.compress(data) + engine.flush()
    with pytest.raises(DamagedFile, match="does not unpack to the 400 bytes"):
        read(raw(file(packed), array, codec="deflate"))


def test_a_deflated_member_that_is_rubbish_is_damaged(file):
    """An error of zlib becomes a DamagedFile."""
    with pytest.raises(DamagedFile, match="'x' cannot be unpacked"):
        read(raw(file(b"\xff" * 100), np.zeros(10), codec="deflate"))


@pytest.mark.parametrize(("kind", "of"), [("crc32", zlib.crc32), ("crc32c", google_crc32c.value)])
def test_a_flipped_bit_is_found_by_the_checksum(file, kind, of):
    """One flipped bit is found, also in skipped bytes, unless verify=False is passed."""
    array = np.arange(250_000, dtype="f4")
    data = bytearray(b"head" + array.tobytes())
    checksum = (kind, of(bytes(data)))
    extent = raw(file(bytes(data)), array, skip=4, checksum=checksum)
    assert read(extent).tobytes() == array.tobytes()
    for position in (0, 4, 500_001, len(data) - 1):
        flipped = data.copy()
        flipped[position] ^= 0x10
        extent = raw(file(bytes(flipped)), array, skip=4, checksum=checksum)
        with pytest.raises(DamagedFile, match=f"array 'x' fails its {kind}"):
            read(extent)
        assert read(extent, verify=False).tobytes() == bytes(flipped[4:])


def test_slices_are_put_together(file):
    """A partitioned array is assembled from its extents."""
    array = np.arange(20, dtype="f4").reshape(4, 5)
    parts = [array[:1], array[1:, :2], array[1:, 2:]]
    path = file(b"".join(part.tobytes() for part in parts))
    offsets = np.cumsum([0] + [part.nbytes for part in parts])
    slices = tuple(
        (start, Extent(path, int(offset), part.nbytes, part.shape, "float32"))
        for start, offset, part in zip([(0, 0), (1, 0), (1, 2)], offsets, parts, strict=False)
    )
    found = read(SlicedExtent((4, 5), "float32", slices))
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "boxes",
    [
        [((0,), (2,))],  # a hole at the end
        [((0,), (2,)), ((1,), (2,))],  # an overlap beside a hole
        [((0,), (4,)), ((4,), (1,))],  # one sticks out
        [((0, 0), (2, 2))],  # another rank
        [((-1,), (4,))],
    ],
)
def test_slices_that_do_not_cover_the_array_are_damaged(file, boxes):
    """Every element must come from exactly one slice."""
    path = file(b"\0" * 100)
    slices = tuple(
        (start, Extent(path, 0, 4 * int(np.prod(shape)), shape, "float32"))
        for start, shape in boxes
    )
    with pytest.raises(DamagedFile, match="'x'"):
        check([("x", SlicedExtent((4,), "float32", slices))], "f", 1000)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 101, "shape": (101,)}, "should end at byte 101 of data, which has 100 bytes"),
        ({"offset": 1}, "truncated"),
        ({"shape": (99,)}, "takes 99 bytes, but the file holds 100"),
        ({"shape": (1 << 60, 1 << 60)}, "takes"),
        ({"shape": (-1, -100)}, "negative"),
        ({"offset": -1}, "negative"),
        ({"dtype": "float7"}, "'float7' is not a dtype of numpy"),
        ({"dtype": "object"}, "cannot hold 'object'"),
        ({"dtype": "string"}, "cannot hold 'string'"),
        ({"shape": (1 << 40,), "codec": "deflate"}, "more than deflate can"),
    ],
)
def test_lies_are_found_before_anything_is_allocated(file, fields, message):
    """Extents that contradict the size of the file are refused when it is opened."""
    base = {"file": file(b"x" * 100), "offset": 0, "length": 100, "shape": (100,), "dtype": "int8"}
    with pytest.raises(DamagedFile, match=message):
        check([("x", Extent(**(base | fields)))], "f", 1000)


def test_a_missing_part_is_named(tmp_path):
    """If the file of an extent is missing, the error names it."""
    with pytest.raises(DamagedFile, match=r"is in .*part-2, which cannot be read"):
        check([("x", Extent(tmp_path / "part-2", 0, 1, (1,), "int8"))], "f", 1000)


def test_a_file_that_shrinks_meanwhile_is_noticed(file):
    """A file that shrinks while it is open is an error, and gives no zeros."""
    array = np.arange(1000, dtype="f4")
    extent = raw(file(array.tobytes()), array)
    reader = Reader("f")
    with ArrayMap({"x": extent}, label="f", format="t", reader=reader) as arrays:
        os.truncate(extent.file, 100)
        with pytest.raises(DamagedFile, match="ended after 100 of 4,000 bytes"):
            arrays["x"].read()


def test_a_replaced_file_goes_on_being_read(file, tmp_path):
    """After its path is replaced, the file that was opened is still read."""
    array = np.arange(1000, dtype="f4")
    extent = raw(file(array.tobytes()), array)
    with ArrayMap({"x": extent}, label="f", format="t", reader=Reader("f")) as arrays:
        arrays["x"].read()
        (tmp_path / "other").write_bytes(b"\xff" * 4000)
        os.replace(tmp_path / "other", extent.file)
        assert arrays["x"].read().tobytes() == array.tobytes()


def test_eight_threads_read_at_once(file):
    """Eight threads read from one file without disturbing each other."""
    arrays = [np.full(5000, i, dtype="i4") for i in range(32)]
    path = file(b"".join(a.tobytes() for a in arrays))
    extents = {f"x{i}": Extent(path, i * 20_000, 20_000, (5000,), "int32") for i in range(32)}
    wrong = []

    def work(opened):
        wrong.extend(i for i in range(32) if not (opened[f"x{i}"].read() == i).all())

    with ArrayMap(extents, label="f", format="t", reader=Reader("f")) as opened:
        threads = [threading.Thread(target=work, args=(opened,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


class Liar:
    """Announces one array and gives another."""

    shape, dtype = (3,), np.dtype("f4")

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


@pytest.mark.parametrize("array", [np.zeros(4, "f4"), np.zeros(3, "f8"), np.zeros((), "f4")])
def test_a_value_that_is_not_as_announced_is_refused(array):
    """A value with another shape or dtype than announced never gets into a variable."""
    with pytest.raises(DamagedFile, match=r"was announced as \(3,\) float32, but reads as"):
        read(Liar(array))


class Old:
    """An array-like of before numpy 2: its ``__array__`` knows nothing of copies."""

    shape, dtype = (3,), np.dtype("f4")

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None):
        return self.array


class New(Old):
    def __array__(self, dtype=None, copy=None):
        return self.array.copy() if copy else self.array


@pytest.mark.parametrize("kind", [Old, New, np.asarray])
def test_a_value_that_shares_its_memory_is_copied(kind):
    """An array-like that returns its own memory is copied, without a warning."""
    mine = np.zeros(3, "f4")
    found = read(kind(mine))
    mine[:] = 1
    assert found.tolist() == [0, 0, 0]


class Careless(Old):
    """Takes ``copy``, and gives its own array whatever it is asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_that_only_says_that_it_copies_is_copied(order):
    """An __array__ that accepts copy=True and does not copy still shares no memory."""
    for array in (np.zeros(0), np.zeros((3, 4), order=order), np.ones((3, 4))):
        with initreg.open({"w": Careless(array)}) as arrays:
            for found in (arrays["w"].read(), arrays.cast("float64")["w"].read()):
                assert not np.shares_memory(found, array)
                assert found.tolist() == array.tolist()
                assert found.flags.c_contiguous


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("how", ["replaced", "written to", "shortened"])
def test_a_file_that_changed_before_it_was_first_read(tmp_path, how, mmap):
    """A file that changed between listing and reading is an error that names it."""
    path = tmp_path / "m.npz"
    np.savez(path, x=np.arange(1000.0))
    with initreg.open(path, mmap=mmap) as opened:
        if how == "replaced":
            np.savez(tmp_path / "new.npz", y=np.zeros(10), x=np.arange(1000.0))
            (tmp_path / "new.npz").replace(path)
        elif how == "written to":
            content = path.read_bytes()
            os.utime(path, ns=(0, 0))
            path.write_bytes(content)
        else:
            os.truncate(path, path.stat().st_size - 1)
        for read in (lambda: opened["x"].read(), lambda: opened["x"][3:5]):
            with pytest.raises(DamagedFile, match=r"m\.npz was replaced or written to"):
                read()
    np.savez(path, x=np.arange(5.0))
    assert initreg.load(path)["x"].tolist() == [0, 1, 2, 3, 4]
