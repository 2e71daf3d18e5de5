"""The npz format, against files that numpy wrote."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import Confidence, DamagedFile, DuplicateName, RefusedFile

SAVERS = [np.savez, np.savez_compressed]
savers = pytest.mark.parametrize("save", SAVERS, ids=["stored", "compressed"])

DTYPES = ["?", "b", "B", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8"]
DTYPES += ["<c16", ">i2", ">i4", ">f4", ">f8", ">c8", "S5", "<U3"]


def same(found, expected):
    """Equal values, dtype (but for the order of bytes) and shape, NaNs bit by bit."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype.newbyteorder("=")
    assert found.tobytes() == expected.astype(found.dtype).tobytes()


@savers
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (2, 3, 4)])
def test_every_dtype_and_shape(tmp_path, save, dtype, shape):
    """Every dtype that numpy writes reads as np.load reads it, 0-d and empty ones too."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2, size=shape).astype(dtype)
    save(tmp_path / "m.npz", a=array)
    with np.load(tmp_path / "m.npz") as reference, initreg.open(tmp_path / "m.npz") as arrays:
        assert arrays["a"].dtype == reference["a"].dtype.newbyteorder("=")
        same(arrays["a"].read(), reference["a"])


@savers
def test_fortran_order(tmp_path, save):
    """An array that was saved in Fortran order has its values in place."""
    array = np.asfortranarray(np.random.default_rng(0).random((5, 7, 3)))
    save(tmp_path / "m.npz", a=array)
    with initreg.open(tmp_path / "m.npz") as arrays:
        same(arrays["a"].read(), array)


@savers
def test_names(tmp_path, save):
    """Names are the members' without '.npy', in the archive's order, of any alphabet."""
    names = ["fc/W", "z", "a.npy", "naïve/сеть/层", "fc/b:0", "with space"]
    save(tmp_path / "m.npz", **{name: np.array(i) for i, name in enumerate(names)})
    with initreg.open(tmp_path / "m.npz") as arrays:
        assert list(arrays) == ["fc/W", "z", "a.npy", "naïve/сеть/层", "fc/b", "with space"]
        assert [int(array[()]) for array in arrays.values()] == list(range(6))


@savers
def test_thousands_of_arrays(tmp_path, save):
    """5,000 arrays are listed and read."""
    expected = {f"layer_{i}/w": np.full(3, i) for i in range(5000)}
    save(tmp_path / "m.npz", **expected)
    found = initreg.load(tmp_path / "m.npz")
    assert list(found) == list(expected)
    assert all((found[name] == expected[name]).all() for name in expected)


@savers
@given(arrays=st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/:."), min_size=1, max_size=5),
    nps.arrays(nps.scalar_dtypes(), nps.array_shapes(min_dims=0, min_side=0)),
    max_size=4,
))  # fmt: skip
@settings(max_examples=50)
def test_round_trip(tmp_path_factory, save, arrays):
    """Whatever numpy saves, initreg reads bit by bit."""
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    with zipfile.ZipFile(path, "w", 8 if save is np.savez_compressed else 0) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    with initreg.open(path, format="npz") as found:
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            if array.dtype.kind not in "mM":
                same(found[name].read(), array)


def test_a_long_npy_header(tmp_path):
    """A structured dtype of many fields, whose header is longer than the first read, is listed."""
    dtype = np.dtype([(f"field_{i}", "<f4") for i in range(100)])
    np.savez(tmp_path / "m.npz", a=np.ones(3, dtype))
    with initreg.open(tmp_path / "m.npz") as arrays:
        assert arrays["a"].shape == (3,)
        assert arrays["a"].read()["field_99"].tolist() == [1, 1, 1]


def test_version_2_and_3_headers(tmp_path):
    """The later .npy headers, with their longer length and their utf-8, read as version 1."""
    array = np.arange(4.0)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        for version in ((2, 0), (3, 0)):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=version)
            archive.writestr(f"v{version[0]}.npy", member.getvalue())
    found = initreg.load(tmp_path / "m.npz")
    assert found["v2"].tolist() == found["v3"].tolist() == [0, 1, 2, 3]


def test_a_python_2_header(tmp_path):
    """Python 2 wrote its long integers as '3L'."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 1L), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "old.npy").write_bytes(data + np.arange(3, dtype="f4").tobytes())
    assert initreg.load(tmp_path / "old.npy")["old"].tolist() == [[0], [1], [2]]


@savers
def test_a_flipped_bit_anywhere_in_the_data_is_found(tmp_path, save):
    """crc32 covers header and values: every flip gives DamagedFile or a header error."""
    save(tmp_path / "m.npz", a=np.arange(20.0))
    whole = (tmp_path / "m.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        member = archive.infolist()[0]
    start = member.header_offset + 30 + len(member.filename)
    for position in range(start + 20, start + 20 + member.compress_size - 20, 7):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        (tmp_path / "bad.npz").write_bytes(flipped)
        with pytest.raises(DamagedFile, match=r"bad\.npz"):
            initreg.load(tmp_path / "bad.npz")


@savers
def test_a_truncated_file_is_damaged_wherever_it_ends(tmp_path, save):
    """A download that was cut off never becomes a model."""
    save(tmp_path / "m.npz", a=np.arange(20.0), b=np.zeros(3))
    whole = (tmp_path / "m.npz").read_bytes()
    for length in range(0, len(whole), 11):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match=r"cut\.npz"):
            initreg.load(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("name", "content", "confidence"),
    [
        ("m.npz", None, Confidence.EXACT),
        ("m.bin", None, Confidence.EXACT),
        ("m.npz", b"", Confidence.NAME),
        ("m.npz", b"hello", Confidence.NAME),
        ("m.bin", b"hello", None),
    ],
)
def test_claims(tmp_path, name, content, confidence):
    """The members decide. The suffix alone is claimed as NAME, so that opening can say what is
    wrong."""
    if content is None:
        member = io.BytesIO()
        np.savez(member, a=np.zeros(3))
        content = member.getvalue()
    (tmp_path / name).write_bytes(content)
    claims = dict(initreg.probe(tmp_path / name).claims)
    assert (claims["npz"].confidence if "npz" in claims else None) == confidence


def test_an_empty_npz(tmp_path):
    """np.savez without arrays writes an archive without members, which holds no arrays."""
    np.savez(tmp_path / "m.npz")
    assert initreg.load(tmp_path / "m.npz") == {}


def test_another_zip_is_not_claimed(tmp_path):
    """A zip archive of other things is not claimed."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert initreg.probe(tmp_path / "m.zip").winner is None


def test_pickled_objects_are_listed_and_refused_when_read(tmp_path):
    """The other arrays of the file are read. The pickle needs allow_pickle=True."""
    np.savez(tmp_path / "m.npz", good=np.ones(2), bad=np.array([{"a": 1}], dtype=object))
    with initreg.open(tmp_path / "m.npz") as arrays:
        assert arrays["good"].read().tolist() == [1, 1]
        assert arrays["bad"].spec.dtype == "object"
        with pytest.raises(RefusedFile, match=r"'bad\.npy': holds a pickle.*allow_pickle=True"):
            arrays["bad"].read()
    with initreg.open(tmp_path / "m.npz", allow_pickle=True) as arrays:
        assert arrays["bad"].read().tolist() == [{"a": 1}]


def test_pickles_of_lists_and_dicts(tmp_path):
    """An allowed object array that holds arrays is all of them, below the name of its member."""
    listed = np.empty(2, object)
    listed[:] = [np.ones((2, 3)), np.zeros(3)]
    config = np.array({"w": np.arange(3), "name": None, "layers": [np.ones(1)]}, object)
    np.savez_compressed(tmp_path / "m.npz", good=np.ones(2), weights=listed, config=config)
    with initreg.open(tmp_path / "m.npz") as arrays:
        assert list(arrays) == ["good", "weights", "config"]
        with pytest.raises(RefusedFile, match=r"'weights\.npy': holds a pickle"):
            arrays["weights"].read()
    with initreg.open(tmp_path / "m.npz", allow_pickle=True) as arrays:
        assert list(arrays) == [
            *("good", "weights/0", "weights/1"),
            *("config/w", "config/name", "config/layers/0"),
        ]
        assert arrays["weights/0"].read().tolist() == np.ones((2, 3)).tolist()
        assert arrays["config/w"].read().tolist() == [0, 1, 2]
        with pytest.raises(DamagedFile, match=r"m\.npz: member 'config\.npy'.*'config/name'"):
            arrays["config/name"].read()


def test_pickles_that_clash(tmp_path):
    """A member with the name of an element of another is an error."""
    listed = np.empty(1, object)
    listed[:] = [np.ones(2)]
    np.savez(tmp_path / "m.npz", **{"a/0": np.ones(2), "a": listed})
    with pytest.raises(DuplicateName, match="'a/0'"):
        initreg.open(tmp_path / "m.npz", allow_pickle=True)


def test_two_members_of_one_name_are_an_error(tmp_path):
    """A zip archive may have a name twice, and neither is chosen."""
    member = io.BytesIO()
    np.save(member, np.zeros(1))
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("a.npy", member.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", member.getvalue())
    with pytest.raises(DuplicateName, match="two members are called 'a'"):
        initreg.open(tmp_path / "m.npz")


def test_other_compressions_are_named(tmp_path):
    """A member that is packed in a way that Python cannot unpack is refused with its number."""
    np.savez(tmp_path / "m.npz", a=np.zeros(1))
    data = bytearray((tmp_path / "m.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = 93
    (tmp_path / "m.npz").write_bytes(data)
    with pytest.raises(DamagedFile, match="packed by method 93"):
        initreg.open(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
        b"{'descr': '<f4', 'fortran_order': 1, 'shape': (1,), }",
        b"{'descr': 7, 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': [('a', '<f4', -1)], 'fortran_order': False, 'shape': (1,), }",
        b"__import__('os').system('true')",
        b"{" * 5000,
        b"\xff\xfe",
        b"",
    ],
)
def test_lying_headers_are_damaged_files(tmp_path, header):
    """No header makes initreg allocate, evaluate or crash."""
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 4
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("a.npy", data)
    (tmp_path / "m.npy").write_bytes(data)
    for name in ("m.npz", "m.npy"):
        with pytest.raises(DamagedFile, match=name):
            initreg.load(tmp_path / name)


def test_a_member_has_one_name(tmp_path):
    """The archive's directory and the member's own header must have the same name, as for numpy.
    One flipped bit would give the array to another variable."""
    np.savez(tmp_path / "m.npz", ab=np.zeros(3))
    data = (tmp_path / "m.npz").read_bytes()
    for at in (data.index(b"ab.npy"), data.rindex(b"ab.npy")):
        (tmp_path / "bad.npz").write_bytes(data[:at] + b"ac" + data[at + 2 :])
        with pytest.raises(DamagedFile, match=r"is called 'a[bc]\.npy' where its bytes are"):
            initreg.open(tmp_path / "bad.npz")
