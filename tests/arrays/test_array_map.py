"""initreg.arrays.array_map: the lazy map and its arrays."""

import numpy as np
import pytest

import initreg
from initreg.arrays.array_map import RuledMap
from initreg.errors import DamagedFile, DuplicateName, InitregError
from initreg.rules.keywords import Rules
from initreg.specs import ArraySpec


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc/W:0": np.arange(12.0).reshape(3, 4), "s": np.int8(7)})
    return tmp_path / "m.npz"


def test_a_map_is_a_mapping(path):
    """Names are normalised, on the way in and when asked for."""
    with initreg.open(path) as arrays:
        assert list(arrays) == ["fc/W", "s"]
        assert len(arrays) == 2
        assert "fc/W" in arrays
        assert "fc/W:0" in arrays
        assert 3 not in arrays
        assert arrays["fc/W:0"] is arrays["fc/W"]
        assert repr(arrays) == f"<ArrayMap {path}: 2 arrays, format 'npz'>"
        assert arrays.specs() == [ArraySpec("fc/W", (3, 4), "float64"), ArraySpec("s", (), "int8")]
        with pytest.raises(KeyError, match=r"has no array 'fc/b'\. Did you mean 'fc/W'\?"):
            arrays["fc/b"]
        with pytest.raises(KeyError, match=r"has no array 'zzz'$"):
            arrays["zzz"]
        assert arrays.get("fc/b") is None


def test_an_array_tells_its_shape_and_dtype_unread(path):
    """Shape, dtype, ndim, length and size are known before any value is."""
    with initreg.open(path) as arrays:
        weight = arrays["fc/W"]
        assert (weight.name, weight.shape, weight.dtype, weight.ndim, len(weight)) == (
            "fc/W",
            (3, 4),
            np.float64,
            2,
            3,
        )
        assert weight.spec.nbytes == 96
        assert repr(weight) == "<'fc/W' (3, 4) float64>"
        with pytest.raises(TypeError, match="0-d"):
            len(arrays["s"])


@pytest.mark.newest
def test_an_array_is_read_by_asarray_and_by_slices(path):
    """np.asarray, np.array with a dtype, read() and slices give the values."""
    expected = np.arange(12.0).reshape(3, 4)
    with initreg.open(path) as arrays:
        weight = arrays["fc/W"]
        np.testing.assert_array_equal(np.asarray(weight), expected)
        np.testing.assert_array_equal(weight.read(), expected)
        np.testing.assert_array_equal(weight[1:, ::2], expected[1:, ::2])
        assert weight[2, 3] == 11.0
        assert np.asarray(weight, dtype="f4").dtype == np.float32
        assert arrays["s"][()] == 7
        with pytest.raises(ValueError, match="not in memory"):
            np.asarray(weight, copy=False)


def test_every_read_is_memory_of_its_own(path):
    """Two reads share no memory, and both arrays can be written to."""
    with initreg.open(path) as arrays:
        first, second = arrays["fc/W"].read(), arrays["fc/W"].read()
    first[:] = 0
    assert second[2, 3] == 11.0


def test_a_read_from_a_dict_never_shares_the_users_memory():
    """What the user holds is copied: editing the one leaves the other."""
    mine = np.zeros(3)
    with initreg.open({"a": mine}) as arrays:
        read, converted = arrays["a"].read(), np.asarray(arrays["a"])
    mine[:] = 1
    assert read.tolist() == converted.tolist() == [0, 0, 0]


def test_a_closed_map_keeps_what_was_read_and_reads_no_more(path):
    """After closing, names, shapes and read arrays stay, and another read is an error."""
    with initreg.open(path) as arrays:
        weight = arrays["fc/W"].read()
    arrays.close()
    assert weight[2, 3] == 11.0
    assert arrays["fc/W"].shape == (3, 4)
    with pytest.raises(InitregError, match="is closed: read 'fc/W' inside its 'with'"):
        np.asarray(arrays["fc/W"])


def public(value):
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize(
    "rules",
    [{}, {"prefix": "x/"}, {"drop": "s"}, {"cast": "float16"}, {"slice": {"*W": (0, 0, 2)}}],
)
def test_maps_and_arrays_under_rules_have_all_that_others_have(path, rules):
    """The same public attributes, each of which works, and the same state."""
    with initreg.open(path) as base:
        ruled = base.apply(**rules) if rules else RuledMap(base, Rules.of())
        assert public(ruled) == public(base)
        assert vars(ruled).keys() >= vars(base).keys()
        for name in public(ruled):
            getattr(ruled, name)
        weight = next(array for name, array in ruled.items() if name.endswith("fc/W"))
        assert public(weight) == public(base["fc/W"])
        for name in public(weight):
            getattr(weight, name)
        assert weight.owner is ruled
        assert ruled.reader_of(weight) is base.reader_of(base["fc/W"])
    with pytest.raises(InitregError, match="is closed"):
        ruled.reader_of(weight)


def test_names_that_normalise_to_one_are_an_error():
    """'a' and 'a:0' in one source are an error."""
    with pytest.raises(DuplicateName, match="two arrays are called 'a'"):
        initreg.open({"a": np.zeros(1), "a:0": np.ones(1)})


def test_a_size_is_unknown_where_elements_have_none():
    """The size of an array of strings is not known before it is read."""
    assert ArraySpec("a", (2,), "string").nbytes is None
    assert ArraySpec("a", (2, 3), "bfloat16").nbytes == 12


def test_a_value_without_shape_is_the_formats_fault(tmp_path):
    """A mapping whose values are no arrays is refused when it is opened."""
    from initreg.arrays.array_map import ArrayMap
    from initreg.arrays.reader import Reader

    with pytest.raises(DamagedFile, match="'x' has no usable shape"):
        ArrayMap({"x": 3}, label="f", format="t", reader=Reader("f"))
