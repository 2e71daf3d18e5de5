"""The npy format: plain arrays, and the pickled dicts of old model zoos."""

import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as nps

import initreg
from initreg import Confidence, DamagedFile, RefusedFile


def test_a_plain_array_is_called_by_its_files_stem(tmp_path):
    """np.save stores no name, so the stem of the file is the name."""
    array = np.asfortranarray(np.random.default_rng(0).random((3, 4)).astype("f4"))
    np.save(tmp_path / "conv1.W.npy", array)
    with initreg.open(tmp_path / "conv1.W.npy") as arrays:
        assert arrays.format == "npy"
        assert list(arrays) == ["conv1.W"]
        assert arrays["conv1.W"].read().tobytes() == array.tobytes()


def test_a_structured_array(tmp_path):
    """A structured dtype is read by numpy, and its length is checked first."""
    array = np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")])
    np.save(tmp_path / "m.npy", array)
    assert initreg.load(tmp_path / "m.npy")["m"] == array
    os.truncate(tmp_path / "m.npy", 130)
    with pytest.raises(DamagedFile, match="holds fewer than the 12 bytes"):
        initreg.open(tmp_path / "m.npy")


def test_a_pickled_dict_is_refused_unless_allowed(tmp_path):
    """The message says what the danger is and what to pass."""
    weights = {"conv1": {"W": np.ones((2, 2), "f4"), "b": np.zeros(2)}, "fc:0": np.arange(3)}
    np.save(tmp_path / "zoo.npy", weights)
    with pytest.raises(RefusedFile, match=r"zoo\.npy: holds a pickle.*pass allow_pickle=True"):
        initreg.open(tmp_path / "zoo.npy")
    found = initreg.load(tmp_path / "zoo.npy", allow_pickle=True)
    assert list(found) == ["conv1/W", "conv1/b", "fc"]
    assert found["conv1/W"].tolist() == [[1, 1], [1, 1]]
    assert found["fc"].tolist() == [0, 1, 2]


def test_smart_init_refuses_and_allows_alike(tmp_path):
    """allow_pickle is an option of SmartInit, too. If the pickle is refused, nothing is written."""
    np.save(tmp_path / "zoo.npy", {"a": np.ones(2)})
    target = {"a": np.zeros(2)}
    with pytest.raises(RefusedFile):
        initreg.SmartInit(tmp_path / "zoo.npy").init(target)
    assert target["a"].tolist() == [0, 0]
    initreg.SmartInit(tmp_path / "zoo.npy", allow_pickle=True).init(target)
    assert target["a"].tolist() == [1, 1]


def _python_2_pickle(values):
    """A 0-d object array around ``{name: float32 array}`` as Python 2's cPickle wrote it: protocol
    2, names and bytes both as its 8-bit ``str`` (opcode ``U`` or ``T``)."""

    def text(data):
        if len(data) < 256:
            return b"U" + bytes([len(data)]) + data
        return b"T" + struct.pack("<I", len(data)) + data

    def array(value):
        return b"".join(
            [
                b"cnumpy.core.multiarray\n_reconstruct\n",
                b"cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R",
                b"(K\x01" + b"(" + b"".join(b"K" + bytes([n]) for n in value.shape) + b"t",
                b"cnumpy\ndtype\n" + text(b"f4") + b"K\x00K\x01\x87R",
                b"(K\x03" + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
                b"\x89" + text(value.tobytes()) + b"tb",
            ]
        )

    items = b"".join(text(name.encode("latin1")) + array(v) for name, v in values.items())
    mapping = b"}(" + items + b"u"
    outer = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\nK\x00\x85"
    outer += text(b"b") + b"\x87R(K\x01)cnumpy\ndtype\n" + text(b"O8") + b"K\x00K\x01\x87R"
    outer += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]" + mapping
    return b"\x80\x02" + outer + b"atb."


def test_a_python_2_pickle(tmp_path):
    """In the oldest zoo files, bytes that are not text are kept, and names are str."""
    values = {"conv1_1": np.array([[1.5, -2], [np.nan, 3e38]], "f4"), "caf\xe9": np.zeros(3, "f4")}
    data = _python_2_pickle(values)
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(data)  # it really is of Python 2
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (117 - len(header)) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
    (tmp_path / "vgg.npy").write_bytes(npy)
    found = initreg.load(tmp_path / "vgg.npy", allow_pickle=True)
    assert {name: a.tobytes() for name, a in found.items()} == {
        name: a.tobytes() for name, a in values.items()
    }


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_runs_unless_allowed(tmp_path):
    """Opening, listing and probing a pickle run none of its code."""
    np.save(tmp_path / "evil.npy", np.array(Evil(tmp_path / "pwned")), allow_pickle=True)
    with pytest.raises(RefusedFile):
        initreg.load(tmp_path / "evil.npy")
    assert initreg.probe(tmp_path / "evil.npy").winner == "npy"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a pickled list, not a dict of arrays"),
        ({1: np.zeros(1)}, "names must be str, but this one is 1"),
        ({"a": None}, r"the value of 'a' \(NoneType\) must be an array"),
        (None, "holds a pickled NoneType, not a dict of arrays or a list of them"),
        ({"a": {1: np.zeros(1)}}, "names must be str, but this one is 1"),
    ],
)
def test_a_pickle_of_something_else_is_damaged(tmp_path, value, message):
    """A pickle that is not a dict of arrays is an error with its type."""
    wrapped = np.empty((), dtype=object)
    wrapped[()] = value
    np.save(tmp_path / "m.npy", wrapped, allow_pickle=True)
    with pytest.raises(DamagedFile, match=message):
        initreg.open(tmp_path / "m.npy", allow_pickle=True)


def test_a_broken_pickle_is_damaged(tmp_path):
    """A truncated pickle is one clear error."""
    np.save(tmp_path / "m.npy", {"a": np.zeros(100)})
    os.truncate(tmp_path / "m.npy", 200)
    with pytest.raises(DamagedFile, match="cannot be unpickled"):
        initreg.open(tmp_path / "m.npy", allow_pickle=True)


def test_a_truncated_file_is_damaged_wherever_it_ends(tmp_path):
    """Every length but the whole one is refused."""
    np.save(tmp_path / "m.npy", np.arange(20.0))
    whole = (tmp_path / "m.npy").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match=r"cut\.npy"):
            initreg.load(tmp_path / "cut.npy")


@pytest.mark.parametrize(
    ("name", "content", "confidence"),
    [("m.npy", b"x", Confidence.NAME), ("m.dat", b"\x93NUMPY\x01\x00", Confidence.EXACT)],
)
def test_claims(tmp_path, name, content, confidence):
    """numpy's magic is claimed as EXACT, the suffix alone as NAME."""
    (tmp_path / name).write_bytes(content)
    assert dict(initreg.probe(tmp_path / name).claims)["npy"].confidence == confidence


def test_an_unknown_version_is_named(tmp_path):
    """A later version is refused with its number."""
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x09\x00" + b"\0" * 20)
    with pytest.raises(DamagedFile, match="version 9 is unknown"):
        initreg.open(tmp_path / "m.npy")


@given(array=nps.arrays(nps.scalar_dtypes(), nps.array_shapes(min_dims=0, min_side=0)))
@settings(max_examples=50)
def test_round_trip(tmp_path_factory, array):
    """Whatever numpy saves, initreg reads bit by bit."""
    path = tmp_path_factory.mktemp("npy") / "m.npy"
    np.save(path, array)
    found = initreg.load(path)["m"]
    assert found.shape == array.shape
    assert found.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def _pickled(path, value):
    """What numpy makes of one Python object: an object array without axes."""
    wrapped = np.empty((), dtype=object)
    wrapped[()] = value
    np.save(path, wrapped, allow_pickle=True)
    return path


def _listed(*arrays):
    """An object array with one axis, as np.save(path, model.get_weights()) makes it."""
    found = np.empty(len(arrays), dtype=object)
    found[:] = arrays
    return found


W, B = np.arange(6, dtype="f4").reshape(2, 3), np.arange(3, dtype="f4")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([W, B], {"0": W, "1": B}),
        ((W, B), {"0": W, "1": B}),
        ([B, B], {"0": B, "1": B}),
        ([W, [B, (B,)]], {"0": W, "1/0": B, "1/1/0": B}),
        ({"pnet": [W, B], "rnet": (B,)}, {"pnet/0": W, "pnet/1": B, "rnet/0": B}),
        ({"a": {"b": [{"c": W}]}}, {"a/b/0/c": W}),
        ({"a": _listed(W, B)}, {"a/0": W, "a/1": B}),
        ([[_listed(W)]], {"0/0/0": W}),
        ({"a": [1.0, 2.0], "b": [W]}, {"a": np.array([1.0, 2.0]), "b/0": W}),
        ({"a": [W, 3, "t"]}, {"a/0": W, "a/1": np.array(3), "a/2": np.array("t")}),
        ({"a": [np.float32(1), np.float32(2)]}, {"a": np.array([1, 2], "f4")}),
        ({"a": np.array([[1, 2.5]], object)}, {"a": np.array([[1, 2.5]])}),
    ],
)
def test_lists_of_arrays(tmp_path, value, names):
    """A list or a tuple of arrays gives one array for each, called by its number. A list of numbers
    is an array."""
    found = initreg.load(_pickled(tmp_path / "w.npy", value), allow_pickle=True)
    assert list(found) == list(names)
    for name, expected in names.items():
        assert found[name].dtype.kind in ("O", expected.dtype.kind)
        assert found[name].tolist() == expected.tolist()


def test_get_weights(tmp_path):
    """np.save of a list of arrays, which numpy pickles as an array with one axis."""
    np.save(tmp_path / "w.npy", _listed(W, B), allow_pickle=True)
    found = initreg.load(tmp_path / "w.npy", allow_pickle=True)
    assert {name: array.tolist() for name, array in found.items()} == {
        "0": W.tolist(),
        "1": B.tolist(),
    }
    with pytest.raises(RefusedFile, match="allow_pickle=True"):
        initreg.open(tmp_path / "w.npy")


def test_an_array_of_numbers_that_was_pickled(tmp_path):
    """np.array(weights, dtype=object) of equal shapes holds numbers, and is one array."""
    np.save(tmp_path / "w.npy", np.array([W, W + 1], dtype=object), allow_pickle=True)
    found = initreg.load(tmp_path / "w.npy", allow_pickle=True)
    assert list(found) == ["w"]
    assert found["w"].tolist() == [W.tolist(), (W + 1).tolist()]


@pytest.mark.parametrize(
    "odd", [None, {1, 2}, [[1], [2, 3]], np.array([{}, None]), [None], 2**70, print]
)
def test_what_is_not_an_array_is_listed(tmp_path, odd):
    """The others are read. Reading it is one error that names it, and it fits no variable."""
    path = _pickled(tmp_path / "zoo.npy", {"w": W, "odd": odd})
    with initreg.open(path, allow_pickle=True) as arrays:
        assert list(arrays) == ["w", "odd"]
        assert arrays["w"].read().tolist() == W.tolist()
        assert arrays["odd"].spec.dtype == "object"
        with pytest.raises(DamagedFile, match=r"zoo\.npy: the value of 'odd'"):
            arrays["odd"].read()
    target = {"w": np.zeros_like(W), "odd": np.zeros(2)}
    with pytest.raises(initreg.MismatchError, match="odd: it cannot be read"):
        initreg.SmartInit(path, allow_pickle=True).init(target)
    assert not target["w"].any()


def test_names_that_clash(tmp_path):
    """A key that looks like the name of an element is an error, wherever it is."""
    path = _pickled(tmp_path / "m.npy", {"a/0": W, "a": [B]})
    with pytest.raises(initreg.DuplicateName, match="two arrays are called 'a/0'"):
        initreg.open(path, allow_pickle=True)


def test_structures_without_end(tmp_path):
    """A list that holds itself, and lists that hold each other twice, are one error each, soon."""
    loop = [W]
    loop.append(loop)
    path = _pickled(tmp_path / "loop.npy", loop)
    with pytest.raises(DamagedFile, match=r"loop\.npy: nested more than 100 levels"):
        initreg.open(path, allow_pickle=True)
    many = [B]
    for _ in range(40):
        many = [many, many]
    path = _pickled(tmp_path / "many.npy", {"a": many})
    with pytest.raises(DamagedFile, match=r"many\.npy: holds more than 200,000 arrays"):
        initreg.open(path, allow_pickle=True)
    empty = {}
    for _ in range(60):
        empty = {"a": empty, "b": empty}
    path = _pickled(tmp_path / "empty.npy", [empty, W])
    with pytest.raises(DamagedFile, match=r"empty\.npy: holds more than"):
        initreg.open(path, allow_pickle=True)
