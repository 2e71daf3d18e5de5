"""The mapping format: dicts, nested dicts, and other things that are mappings."""

import types
from collections import ChainMap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import initreg
from initreg import DamagedFile, DuplicateName


def test_a_dict_of_arrays():
    """Values, shapes and dtypes are those of the dict."""
    with initreg.open({"a": np.arange(3, dtype=">i2"), "b": np.asfortranarray(np.eye(2))}) as m:
        assert m.format == "mapping"
        assert [(s.name, s.shape, s.dtype) for s in m.specs()] == [
            ("a", (3,), "int16"),
            ("b", (2, 2), "float64"),
        ]
        assert m["a"].read().tolist() == [0, 1, 2]
        assert m["a"].read().dtype.isnative
        assert m["b"].read().flags.c_contiguous


def test_nested_dicts_join_their_keys():
    """{'fc': {'W': w}} is fc/W, however deep."""
    nested = {"a": {"b": {"c": np.zeros(1)}, "d": np.zeros(2)}, "e": np.zeros(3), "empty": {}}
    found = initreg.load(nested)
    assert {name: array.shape for name, array in found.items()} == {
        "a/b/c": (1,),
        "a/d": (2,),
        "e": (3,),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], np.array([1, 2])),
        (2.5, np.array(2.5)),
        ([[True], [False]], np.array([[True], [False]])),
        ((), np.zeros(0)),
        ("text", np.array("text")),
        (b"bytes", np.array(b"bytes")),
        (np.float32(3), np.float32(3)),
        (range(3), np.arange(3)),
        (memoryview(b"ab"), np.array([97, 98], "u1")),
    ],
)
def test_anything_that_asarray_takes_is_a_value(value, expected):
    """Lists, scalars and buffers become arrays."""
    (found,) = initreg.load({"x": value}).values()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_lists_of_arrays_join_their_numbers():
    """{'pnet': [w, b]} is pnet/0 and pnet/1, whatever the shapes. A list of numbers is an array."""
    w, b = np.ones((2, 3)), np.zeros(3)
    found = initreg.load({"pnet": [w, b], "same": (b, b), "deep": [[w], {"x": b}], "one": [1, 2]})
    assert {name: array.shape for name, array in found.items()} == {
        "pnet/0": (2, 3),
        "pnet/1": (3,),
        "same/0": (3,),
        "same/1": (3,),
        "deep/0/0": (2, 3),
        "deep/1/x": (3,),
        "one": (2,),
    }
    with pytest.raises(DuplicateName, match="'a/0'"):
        initreg.open({"a": [b], "a/0": b})
    with pytest.raises(DamagedFile, match=r"the value of 'a/1' \(NoneType\)"):
        initreg.open({"a": [b, None]})


def test_a_list_of_lazy_arrays_reads_none(tmp_path):
    """Arrays of an open map in a list are arrays, too, and stay lazy."""
    np.savez(tmp_path / "m.npz", a=np.ones(2), b=np.zeros(3))
    opened = initreg.open(tmp_path / "m.npz")
    arrays = initreg.open({"x": [opened["a"], opened["b"]]})
    opened.close()
    assert [(name, array.shape) for name, array in arrays.items()] == [("x/0", (2,)), ("x/1", (3,))]
    with pytest.raises(initreg.InitregError, match="is closed"):
        arrays["x/0"].read()


def test_strings_are_strings_even_as_objects():
    """An object array of str or bytes is a string array. Other objects are refused."""
    with initreg.open({"s": np.array([b"a", b"long\0"], dtype=object)}) as arrays:
        assert arrays["s"].spec.dtype == "string"
        assert arrays["s"].read().tolist() == [b"a", b"long\0"]
    with pytest.raises(
        DamagedFile, match=r"the value of 'o' \(ndarray\) must be an array of numbers"
    ):
        initreg.open({"o": np.array([{}], dtype=object)})


@pytest.mark.parametrize("value", [None, {1, 2}, object(), [[1], [2, 3]]])
def test_what_is_no_array_is_refused_by_name(value):
    """The message names the key and the type."""
    with pytest.raises(
        DamagedFile, match=rf"'x' \({type(value).__name__}\) (is not|must be) an array"
    ):
        initreg.open({"x": value})


def test_a_mask_is_not_lost(tmp_path):
    """An array with masked values is refused by name, and nothing is saved or restored. One whose
    mask hides nothing is an array."""
    hidden = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    target = {"fc": {"w": np.zeros(3)}}
    for act in (
        lambda: initreg.save(tmp_path / "m.npz", {"fc": {"w": hidden}}),
        lambda: initreg.SmartInit({"fc": {"w": hidden}}).init(target),
    ):
        with pytest.raises(DamagedFile, match="'fc/w' is a masked array that hides 1 of 3 values"):
            act()
    assert not any(tmp_path.iterdir())
    assert not target["fc"]["w"].any()
    path = initreg.save(tmp_path / "m.npz", {"w": np.ma.array([1.0, 2.0]), "v": hidden.filled(0)})
    assert {n: a.tolist() for n, a in initreg.load(path).items()} == {"w": [1, 2], "v": [1, 0, 3]}


def test_a_name_is_a_str():
    """Other keys are refused, not converted to text."""
    with pytest.raises(DamagedFile, match="names must be str, but this one is 3"):
        initreg.open({3: np.zeros(1)})


def test_paths_that_join_to_one_name_are_an_error():
    """{'a/b': x, 'a': {'b': y}} names a/b twice."""
    with pytest.raises(DuplicateName, match="'a/b'"):
        initreg.open({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}})


def test_a_dict_that_holds_itself_is_refused():
    """Nesting without end is one error, not a RecursionError."""
    loop = {}
    loop["a"] = loop
    with pytest.raises(DamagedFile, match="nested more than 100 levels"):
        initreg.open(loop)


def test_other_mappings(tmp_path):
    """A mapping proxy, an open npz and an open map of initreg are mappings, too."""
    assert list(initreg.load(types.MappingProxyType({"a": 1}))) == ["a"]
    np.savez(tmp_path / "m.npz", a=np.ones(2))
    with np.load(tmp_path / "m.npz") as opened:
        assert initreg.load(opened)["a"].tolist() == [1, 1]
    with initreg.open(tmp_path / "m.npz") as opened:
        renamed = {f"new/{name}": array for name, array in opened.items()}
        assert initreg.load(renamed)["new/a"].tolist() == [1, 1]


def test_a_lazy_value_is_not_read_before_it_is_needed(tmp_path):
    """Opening a dict of lazy arrays reads none of them."""
    np.savez(tmp_path / "m.npz", a=np.ones(2))
    opened = initreg.open(tmp_path / "m.npz")
    arrays = initreg.open({"b": opened["a"]})
    opened.close()
    assert arrays["b"].shape == (2,)
    with pytest.raises(initreg.InitregError, match="is closed"):
        arrays["b"].read()


class Called:
    """An array that knows other names, as a format may return it."""

    dtype = np.dtype("f4")
    shape = (3,)
    aliases = ("dense/kernel", "layers/dense/vars/0")

    def __array__(self, dtype=None, copy=None):
        return np.full(3, 7, "f4")


@pytest.fixture
def opened():
    """An open map of one array with aliases, and one of strings."""
    with initreg.open({"layer": Called(), "words": np.array(["a", "b"])}) as arrays:
        assert arrays["layer"].aliases == Called.aliases
        yield arrays


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda m: {"backup": m["layer"]}, "backup"),
        (lambda m: {"a": {"layer": m["layer"]}}, "a/layer"),
        (lambda m: {"a": m}, "a/layer"),
        (lambda m: ChainMap({}, {"backup": m["layer"]}), "backup"),
        (lambda m: {"backup": m.cast("float16", "layer")["layer"]}, "backup"),
        (lambda m: {"layer": m.rename({"layer": "z"})["z"]}, "layer"),
        (lambda m: {"b": initreg.open({"a": m["layer"]})["a"]}, "b"),
        (lambda m: initreg.open({"backup": m["layer"]}), "backup"),
    ],
)
def test_an_array_under_a_new_name_is_called_only_that(opened, make, name, tmp_path):
    """What the user calls an array of an open map is not what else it was called: it goes into no
    variable of its old names, no rule finds it by them, and no file has them."""
    source = make(opened)
    with initreg.open(source) as arrays:
        assert arrays[name].aliases == ()
        assert arrays[name].read().tolist() == [7, 7, 7]
    with pytest.raises(initreg.RuleError, match="matches no array"):
        initreg.load(source, drop="dense/*")
    model = {"dense/kernel": np.zeros(3, "f4"), "layers/dense/vars/0": np.zeros(3, "f4")}
    with pytest.raises(initreg.NothingMatched):
        initreg.SmartInit(source).init(model)
    assert not any(array.any() for array in model.values())
    with initreg.open(initreg.save(tmp_path / "m.ckpt", source)) as saved:
        assert (name in saved, saved[name].aliases) == (True, ())


def test_an_array_under_its_own_name_keeps_its_others(opened):
    """A copy of an open map as a dict is what the map is."""
    for source in (dict(opened), ChainMap({}, opened), {"layer:0": opened["layer"]}):
        model = {"dense/kernel": np.zeros(3, "f4")}
        initreg.SmartInit(source, on_unused="ignore").init(model)
        assert model["dense/kernel"].tolist() == [7, 7, 7]


def test_strings_of_an_open_map_are_strings(opened):
    """They have a dtype in a dict, too, and are not read before it is needed."""
    with initreg.open({"w": opened["words"]}) as arrays:
        assert arrays["w"].spec.dtype == "string"
        assert arrays["w"].read().tolist() == ["a", "b"]


class Odd:
    """A value with a shape and a dtype, as numpy's arrays have them, and nothing else."""

    dtype = np.dtype(object)
    shape = (2,)

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.values, Exception):
            raise self.values
        return np.array(self.values, object)


def test_a_strangers_array_of_objects():
    """Its elements are looked at, and they are strings, or the error names the array."""
    assert initreg.load({"x": Odd(["a", b"b"])})["x"].tolist() == ["a", b"b"]
    with pytest.raises(DamagedFile, match=r"the value of 'x' \(Odd\) must be an array of numbers"):
        initreg.open({"x": Odd([{}, 1])})
    with pytest.raises(DamagedFile, match=r"'x' \(Odd\) is not an array: KeyError: 'gone'"):
        initreg.open({"x": Odd(KeyError("gone"))})


trees = st.recursive(
    nps.arrays(nps.integer_dtypes(), nps.array_shapes(min_dims=0, min_side=0)),
    lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.text("cd", min_size=1, max_size=3), trees, max_size=4))
def test_round_trip(tree):
    """Every leaf of a nested dict comes back under its path, with its values."""

    def leaves(value, path):
        if not isinstance(value, dict):
            return {path: value}
        return {k: v for key in value for k, v in leaves(value[key], f"{path}/{key}").items()}

    expected = {k: v for key in tree for k, v in leaves(tree[key], key).items()}
    found = initreg.load(tree)
    assert list(found) == list(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
        assert not np.shares_memory(array, expected[name])
