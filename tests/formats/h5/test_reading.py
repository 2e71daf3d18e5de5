"""The h5 format, against files that h5py wrote: names are the datasets' paths."""

from __future__ import annotations

import subprocess
import sys
import threading

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import (
    Confidence,
    DamagedFile,
    Extent,
    InitregError,
    MismatchError,
    SmartInit,
    Source,
    SourceNotFound,
    UnreadableFile,
)
from initreg_formats import h5

DTYPES = ["?", "b", "B", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8"]
DTYPES += ["<c16", ">i2", ">i4", ">u8", ">f2", ">f4", ">f8", ">c8", "S5", np.longdouble]

# How h5py is asked to lay a dataset out.
LAYOUTS = {
    "contiguous": {},
    "chunked": {"chunks": True},
    "packed": {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": True, "compression": "lzf"},
}


def some(shape, dtype):
    return np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)


def same(found, expected):
    """Equal shape, dtype (but for the order of bytes) and bits."""
    expected = expected.astype(expected.dtype.newbyteorder("="))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.fixture
def write(tmp_path):
    """``write(name=array, ...)``: a file of these datasets."""

    def write(options=None, **arrays):
        with h5py.File(tmp_path / "m.h5", "w", **(options or {})) as file:
            for name, array in arrays.items():
                file[name] = array
        return tmp_path / "m.h5"

    return write


# --- what h5py writes -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (2, 3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_shape_and_layout(tmp_path, dtype, shape, layout):
    """Every dtype of h5py, in every layout, reads as h5py reads it, bit by bit."""
    options = LAYOUTS[layout] if shape and 0 not in shape else {}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", data=some(shape, dtype), **options)
    with h5py.File(tmp_path / "m.h5") as reference, initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays.format == "h5"
        assert list(arrays) == ["a"]
        same(arrays["a"].read(), reference["a"][...])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("dtype", ["?", "<f4", ">f8", "<c8", "<i8"])
def test_bytes_that_lie_as_they_are(write, dtype, libver):
    """An unpacked dataset is an extent, which the kernel reads itself, and the file is closed."""
    path = write({"libver": libver}, a=some((3, 4), dtype))
    found = h5.initreg_open(Source(path), initreg.OpenOptions())
    assert isinstance(found["a"], Extent)
    with pytest.raises(ValueError, match="closed"):
        found._containers[0]._raw.tell()
    same(initreg.load(path)["a"], some((3, 4), dtype))


@pytest.mark.parametrize("size", [512, 1024, 2048, 4096, 1 << 20])
def test_a_user_block(write, size):
    """A user block before the signature moves all addresses, those of strings too."""
    path = write({"userblock_size": size}, a=np.arange(5.0), s=np.array(["x", "ы"], object))
    found = initreg.load(path)
    assert found["a"].tolist() == [0, 1, 2, 3, 4]
    assert found["s"].tolist() == [b"x", "ы".encode()]


def test_fortran_order(write):
    """An array that was in Fortran order when it was saved has its values in place."""
    array = np.asfortranarray(np.random.default_rng(0).random((5, 7, 3)))
    same(initreg.load(write(a=array))["a"], np.ascontiguousarray(array))


def test_compact(tmp_path):
    """A dataset that lies in its own header is read."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        found = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32BE, space, plist)
        found.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype="f4"))
    same(initreg.load(tmp_path / "m.h5")["a"], np.arange(3, dtype="f4"))


def test_never_written(tmp_path):
    """A dataset that was never written has its fill value, as in h5py."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", (3, 4), "f4", fillvalue=2.5)
        file.create_dataset("b", (3, 4), "f4", chunks=(2, 2))
    found = initreg.load(tmp_path / "m.h5")
    same(found["a"], np.full((3, 4), 2.5, "f4"))
    same(found["b"], np.zeros((3, 4), "f4"))


def test_odd_numbers(tmp_path):
    """A float that is laid out as bfloat16 is bfloat16, which h5py widens. An enumeration is its
    integers."""
    narrow = h5py.h5t.IEEE_F32LE.copy()  # bfloat16, as HDF5 would describe it
    narrow.set_fields(15, 7, 8, 0, 7)
    narrow.set_precision(16)
    narrow.set_size(2)
    narrow.set_ebias(127)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        found = h5py.h5d.create(file.id, b"a", narrow, space)
        found.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, -2.5, 3], "f4"))
        file["e"] = np.array([0, 2], h5py.enum_dtype({"no": 0, "yes": 2}, basetype="i2"))
    with h5py.File(tmp_path / "m.h5") as reference:
        expected = reference["a"][...]
    found = initreg.load(tmp_path / "m.h5")
    assert found["a"].dtype == ml_dtypes.bfloat16
    assert found["a"].tolist() == [1, -2.5, 3] == expected.tolist()
    assert found["e"].tolist() == [0, 2]
    assert found["e"].dtype == "int16"


def test_arrays_of_arrays(tmp_path):
    """Elements that are arrays themselves add their axes."""
    expected = np.arange(12, dtype="f4").reshape(2, 3, 2)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", (2,), np.dtype(("f4", (3, 2))))[...] = expected
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["a"].shape == (2, 3, 2)
        same(arrays["a"].read(), expected)


def test_strings(write):
    """Strings of any length are read as h5py reads them: 0-d, empty and of any alphabet."""
    path = write(
        s=np.array([["x", ""], ["naïve", "сеть" * 5000]], object),
        zero="scalar",
        none=np.zeros((0, 3), h5py.string_dtype()),
        fixed=np.array([b"ab", b"c"]),
    )
    with h5py.File(path) as reference, initreg.open(path) as arrays:
        for name in ("s", "zero", "none", "fixed"):
            assert arrays[name].spec.dtype == "string"
            assert arrays[name].shape == reference[name].shape
            assert arrays[name].read().tolist() == np.asarray(reference[name][()]).tolist()


def test_what_no_variable_takes(tmp_path):
    """Structures are read. Ragged arrays, references, times and structures with strings are listed,
    and reading one is an error with the reason."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["struct"] = np.array([(1, 2.5)], [("a", "i4"), ("b", "f4")])
        file.create_dataset("ragged", (2,), h5py.vlen_dtype("f4"))
        file.create_dataset("refs", (2,), h5py.ref_dtype)
        file.create_dataset("mixed", (2,), [("a", h5py.string_dtype()), ("b", "f4")])
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((3,)))
        file["plain"] = np.ones(2)
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["struct"].read()["b"].tolist() == [2.5]
        for name, says in [
            ("ragged", "arrays of differing lengths"),
            ("refs", "references"),
            ("mixed", "structures"),
            ("time", "numpy has no dtype"),
        ]:
            assert len(arrays[name].shape) == 1
            with pytest.raises(InitregError, match=rf"m\.h5: dataset '{name}'.*{says}"):
                arrays[name].read()
        assert arrays["plain"].read().tolist() == [1, 1]
    with pytest.raises(MismatchError):
        SmartInit(tmp_path / "m.h5").init({"time": np.zeros(3), "plain": np.zeros(2)})


def test_filters_that_are_not_read(tmp_path):
    """A dataset packed by a filter that is not known here is listed, but not read."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((30,))
    plist.set_filter(h5py.h5z.FILTER_NBIT)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        space = h5py.h5s.create_simple((60,))
        made = h5py.h5d.create(file.id, b"a", h5py.h5t.STD_I64LE, space, plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(60))
        file["b"] = np.ones(2)
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["a"].shape == (60,)
        with pytest.raises(InitregError, match=r"'a' has chunks that are packed by .*n-bit"):
            arrays["a"].read()
        assert arrays["b"].read().tolist() == [1, 1]
    target = {"a": np.zeros(60, np.int64), "b": np.zeros(2)}
    with pytest.raises(MismatchError, match="n-bit"):
        SmartInit(tmp_path / "m.h5").init(target)
    assert not target["b"].any()
    assert initreg.load(tmp_path / "m.h5", native=True)["a"].tolist() == list(range(60))


def test_a_null_dataspace(write):
    """A dataset with a null dataspace holds no array, and is not listed."""
    assert list(initreg.load(write(a=np.ones(2), b=h5py.Empty("f4")))) == ["a"]


def test_opaque_bytes(write):
    """Opaque elements of two bytes are bfloat16 only if Keras's attributes say so."""
    path = write(a=np.ones(3, ml_dtypes.bfloat16))
    with h5py.File(path, "a") as file:
        file["b"] = np.ones(3, ml_dtypes.bfloat16)
        file["b"].attrs["dtype"] = "something else"
        file["c"] = np.ones(3, ml_dtypes.bfloat16)
        file["c"].attrs["dtype"] = "bfloat16"
        file["d"] = np.ones(3, ml_dtypes.bfloat16)
        file["d"].attrs["dtype"] = np.bytes_("bfloat16")
    with initreg.open(path) as arrays:
        assert [array.spec.dtype for array in arrays.values()] == ["|V2"] * 2 + ["bfloat16"] * 2
        assert arrays["a"].read().tobytes() == np.ones(3, ml_dtypes.bfloat16).tobytes()


# --- names --------------------------------------------------------------------------------------


def test_names(write):
    """Names are paths without the leading '/', of any alphabet; ':0' is dropped."""
    names = ["fc/W", "a/b/c/d", "naïve/сеть/层", "fc/b:0", "with space", "\N{GRINNING FACE}"]
    found = initreg.load(write(**{name: np.array(i) for i, name in enumerate(names)}))
    assert {name: int(array) for name, array in found.items()} == {
        name.removesuffix(":0"): i for i, name in enumerate(names)
    }


def test_a_name_that_is_no_text(tmp_path):
    """In a name that is not UTF-8 the bytes are written as escapes."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file[b"caf\xe9"] = np.ones(2)
    assert list(initreg.load(tmp_path / "m.h5")) == [r"caf\xe9"]


def test_links(tmp_path):
    """Further links to a dataset, hard or soft, are aliases of its first path."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/w"] = np.arange(3.0)
        file["b/hard"] = file["a/w"]
        file["b/soft"] = h5py.SoftLink("/a/w")
        file["b/relative"] = h5py.SoftLink("hard")
        file["c"] = h5py.SoftLink("/b/soft")
        file["group"] = h5py.SoftLink("/a")
        file["type"] = np.dtype("f4")
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert list(arrays) == ["a/w"]
        assert set(arrays["a/w"].aliases) == {"b/hard", "b/soft", "b/relative", "c"}
    target = {"c": np.zeros(3)}
    SmartInit(tmp_path / "m.h5").init(target)
    assert target["c"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_thousands_of_arrays(tmp_path, libver):
    """3,000 arrays in 1,000 groups are listed and read."""
    with h5py.File(tmp_path / "m.h5", "w", libver=libver) as file:
        for i in range(3000):
            file[f"layers/{i // 3}/{i % 3}"] = np.full(2, i)
    found = initreg.load(tmp_path / "m.h5")
    assert len(found) == 3000
    assert all((found[f"layers/{i // 3}/{i % 3}"] == i).all() for i in range(3000))


def test_no_arrays(write):
    """A file without datasets opens, and lists no arrays."""
    assert initreg.load(write()) == {}


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0/.:"), min_size=1, max_size=5),
        nps.arrays(
            nps.scalar_dtypes().filter(lambda dtype: dtype.kind not in "mM"),
            nps.array_shapes(min_dims=0, min_side=0, max_side=4),
        ),
        max_size=4,
    ),
    st.sampled_from(["earliest", "latest"]),
)
@settings(max_examples=50)
def test_round_trip(tmp_path_factory, written, libver):
    """Whatever h5py writes, initreg reads bit by bit."""
    path = tmp_path_factory.mktemp("h5") / "m.h5"
    with h5py.File(path, "w", libver=libver) as file:
        for name, array in written.items():
            file[name] = array
    found = initreg.load(path)
    assert set(found) == set(written)
    for name, array in written.items():
        same(found[name], array)


# --- the open file --------------------------------------------------------------------------------


def test_read_from_several_threads(tmp_path):
    """Packed arrays and strings may be read from several threads at once."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for i in range(40):
            file.create_dataset(f"a{i}", data=np.full(5000, i), compression="gzip")
            file[f"s{i}"] = [f"{i}"] * 200
    wrong = []

    def read(arrays):
        for i in range(40):
            if not (arrays[f"a{i}"].read() == i).all():
                wrong.append(f"a{i}")
            if arrays[f"s{i}"].read().tolist() != [b"%d" % i] * 200:
                wrong.append(f"s{i}")

    with initreg.open(tmp_path / "m.h5") as arrays:
        threads = [threading.Thread(target=read, args=(arrays,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_beside_other_readers(tmp_path):
    """The file opens while h5py has it open for reading, and does not block a writer."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", data=np.arange(9), compression="gzip")
    with h5py.File(tmp_path / "m.h5", locking=True) as reader:
        with initreg.open(tmp_path / "m.h5") as arrays:
            assert (arrays["a"].read() == reader["a"][...]).all()
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["a"].read().tolist() == list(range(9))
        with h5py.File(tmp_path / "m.h5", "a", locking=True) as writer:
            writer["b"] = 1
        assert arrays["a"].read().tolist() == list(range(9))


def test_while_it_is_written(tmp_path):
    """A file that a program has open for writing is not opened, because it is incomplete."""
    with h5py.File(tmp_path / "m.h5", "w", locking=True) as file:
        file["a"] = 1
        file.flush()
        with pytest.raises(UnreadableFile, match="another program has it open for writing"):
            initreg.open(tmp_path / "m.h5")
    assert initreg.load(tmp_path / "m.h5")["a"] == 1


def test_reading_after_closing(tmp_path):
    """A lazy array cannot be read once its map is closed."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", data=np.arange(9), compression="gzip")
    with initreg.open(tmp_path / "m.h5") as arrays:
        array = arrays["a"]
    with pytest.raises(InitregError, match="closed"):
        array.read()


def test_an_unknown_filter(tmp_path):
    """A filter that is not known is named, with what to do, when its dataset is read, and the other
    datasets are read. With native=True too, if h5py does not have it either."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", data=np.arange(9), compression="gzip")
        file["b"] = np.ones(2)
    raw = (tmp_path / "m.h5").read_bytes()
    # The filter's message: version 1, one filter, reserved, then number 1 (deflate).
    head, found, tail = raw.partition(b"\x01\x01" + bytes(6) + b"\x01\x00")
    assert found
    for code, remedy in ((32015, "hdf5plugin"), (511, "save it with gzip")):
        (tmp_path / "m.h5").write_bytes(head + found[:-2] + code.to_bytes(2, "little") + tail)
        with initreg.open(tmp_path / "m.h5") as arrays:
            assert arrays["b"].read().tolist() == [1, 1]
            with pytest.raises(InitregError, match=rf"'a' has chunks .*filter {code}.*native=True"):
                arrays["a"].read()
        with initreg.open(tmp_path / "m.h5", native=True) as arrays:
            assert arrays["b"].read().tolist() == [1, 1]
            with pytest.raises(InitregError, match=rf"'a' needs the HDF5 filter {code}.*{remedy}"):
                arrays["a"].read()


# --- claims -------------------------------------------------------------------------------------


def test_claims(write, tmp_path):
    """The signature is claimed as EXACT under any name, the suffix alone as NAME."""
    path = write(a=np.ones(2))
    claim = h5.initreg_claim(Source(path.rename(tmp_path / "anything.bin")))
    assert claim is not None
    assert (claim.confidence, claim.reason) == (Confidence.EXACT, "has the signature of HDF5")
    for suffix in (".h5", ".hdf5", ".weights.h5", ".keras"):
        (tmp_path / f"m{suffix}").write_bytes(b"not")
        claim = h5.initreg_claim(Source(tmp_path / f"m{suffix}"))
        assert claim is not None
        assert claim.confidence is Confidence.NAME
        with pytest.raises(DamagedFile, match="not an HDF5 file"):
            initreg.open(tmp_path / f"m{suffix}")
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(DamagedFile, match=r"empty\.h5: the file is empty"):
        initreg.open(tmp_path / "empty.h5")
    assert h5.initreg_claim(Source({"a": 1})) is None
    assert h5.initreg_claim(Source(tmp_path)) is None
    assert h5.initreg_claim(Source(tmp_path / "missing.h5")) is None


def test_what_a_wrong_file_is(tmp_path):
    """For a file of another kind with a name of HDF5, the error says what it is."""
    (tmp_path / "m.h5").write_bytes(b"\x1f\x8b\x08 packed")
    with pytest.raises(DamagedFile, match="not an HDF5 file: gzip-compressed"):
        initreg.open(tmp_path / "m.h5")


def test_by_name_alone(tmp_path):
    """format='h5' for something that is not a file is an error that says so."""
    with pytest.raises(SourceNotFound, match=r"m\.h5: no such file"):
        initreg.open(tmp_path / "m.h5", format="h5")
    with pytest.raises(InitregError, match="this is a folder"):
        initreg.open(tmp_path, format="h5")
    with pytest.raises(InitregError, match="opens paths"):
        initreg.open(3, format="h5")


def test_claiming_imports_no_h5py(write, tmp_path):
    """probe recognises an HDF5 file, an archive and an index without numpy and h5py."""
    import zipfile

    path = write(a=np.ones(2))
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(path, "model.weights.h5")
    (tmp_path / "m.weights.json").write_text('{"weight_map": {}}')
    code = (
        "import sys, initreg\n"
        "print([initreg.probe(p).claims[0][1].reason for p in sys.argv[1:]])\n"
        "print(sorted({'numpy', 'h5py', 'keras', 'tensorflow'} & set(sys.modules)))\n"
    )
    paths = [path, tmp_path / "m.keras", tmp_path / "m.weights.json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True
    )
    reasons = [
        "has the signature of HDF5",
        "Keras archive: zip with config.json and model.weights.h5",
        "index of HDF5 files: JSON with a weight_map",
    ]
    assert done.stdout.splitlines() == [str(reasons), "[]"]
