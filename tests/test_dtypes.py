"""initreg.dtypes: names of dtypes, and which are cast."""

import ml_dtypes
import numpy as np
import pytest

from initreg import dtypes

NUMPY = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"]
NUMPY += ["uint32", "uint64", "bool", "complex64", "complex128"]
ML = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "int4"]


@pytest.mark.parametrize("name", NUMPY + ML)
def test_name_and_numpy_dtype_are_inverse(name):
    """to_numpy and name_of are inverse, and the item sizes agree."""
    dtype = dtypes.to_numpy(name)
    assert dtypes.name_of(dtype) == name
    assert dtypes.itemsize(name) == dtype.itemsize


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("order", "<>")
def test_type_strings_name_the_dtype_without_its_byte_order(name, order):
    """'<f4' and '>f4' are both float32."""
    assert dtypes.name_of_descr(np.dtype(name).newbyteorder(order).str) == name


def test_a_dtype_without_a_kind_goes_by_its_name():
    """A dtype of another library is known by its name, and is not a string."""

    class DType:
        name = "float32"

    assert dtypes.name_of(DType()) == "float32"


def test_strings_of_any_width_are_one_dtype():
    """'S5' and 'U7' are both 'string'; python objects and raw bytes are not."""
    assert dtypes.name_of(np.dtype("S5")) == dtypes.name_of(np.dtype("<U7")) == "string"
    assert dtypes.name_of_descr("|S5") == dtypes.name_of_descr("<U7") == "string"
    assert dtypes.name_of_descr("|O") == dtypes.name_of(np.dtype(object)) == "object"
    assert dtypes.name_of_descr("|V2") == dtypes.name_of_descr("<V2") == "|V2"
    assert dtypes.name_of_descr(">V2") is None  # of which no reader knows the order
    assert dtypes.name_of_descr("rubbish") is None
    assert dtypes.name_of_descr("|b9") is dtypes.name_of_descr("<f" + "9" * 5000) is None


@pytest.mark.parametrize(
    "given",
    ["V2", "M8[D]", "m8[ns]", "M8", [("a", "f4")], [("a", "f4"), ("b", "i2")], [("a", "f4", (2,))]],
)
def test_what_is_not_numbers_has_a_name_of_its_own(given):
    """The name gives the dtype again, and is not that of another dtype of as many bytes."""
    dtype = np.dtype(given)
    name = dtypes.name_of(dtype)
    assert dtypes.to_numpy(name) == dtype
    assert name not in (dtypes.name_of(np.dtype("V4")), dtypes.name_of(np.dtype([("c", "f4")])))
    assert not dtypes.is_number(name)
    if dtype.kind in "mM":
        assert dtypes.name_of_descr(dtype.str) == name


@pytest.mark.parametrize("name", dtypes.QUANTISED)
def test_quantised_integers_are_dtypes_of_their_own(name):
    """In memory they are plain integers. They match only themselves, and are not cast."""
    plain = dtypes.QUANTISED[name]
    assert dtypes.to_numpy(name) == np.dtype(plain)
    assert dtypes.itemsize(name) == dtypes.stored_itemsize(name) == np.dtype(plain).itemsize
    assert dtypes.can_cast(name, name)
    assert not any(dtypes.can_cast(*pair) for pair in ((name, plain), (plain, name)))
    assert not dtypes.is_number(name)
    assert dtypes.integer_bits(name) is None


@pytest.mark.newest
def test_which_dtypes_are_numbers():
    """All of numpy and ml_dtypes that can be cast; the complex ones are known as such."""
    for name in (*NUMPY, *ML, "float128", "complex32", "bcomplex32", "int1", "float8_e8m0fnu"):
        assert dtypes.is_number(name)
        assert dtypes.is_complex(name) == ("complex" in name)
    for name in ("string", "object", "datetime64[s]", "timedelta64[D]", "|V2", "qint8", "variant"):
        assert not dtypes.is_number(name)


def _range(name):
    if name == "bool":
        return None
    if name.startswith("int4"):
        return -8, 7
    info = np.iinfo(name)
    return info.min, info.max


@pytest.mark.parametrize("source", [n for n in NUMPY + ML if "int" in n])
@pytest.mark.parametrize("target", [n for n in NUMPY + ML if "int" in n])
def test_integers_are_cast_where_every_value_fits(source, target):
    """An integer dtype is cast to those that have all of its values, and to no other."""
    (low, high), (to_low, to_high) = _range(source), _range(target)
    assert dtypes.can_cast(source, target) == (to_low <= low and high <= to_high)


FLOATS = ["float16", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", FLOATS)
def test_every_float_is_cast_to_every_float(source, target):
    """Floats are cast in both directions, bfloat16 and float8 included."""
    assert dtypes.can_cast(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("int32", "float32"),
        ("float32", "int32"),
        ("bool", "int8"),
        ("uint8", "bool"),
        ("complex64", "complex128"),
        ("float32", "complex64"),
        ("string", "float32"),
        ("object", "string"),
    ],
)
def test_nothing_else_is_cast(source, target):
    """Nothing is cast between floats, integers and other kinds."""
    assert not dtypes.can_cast(source, target)


def test_unknown_names_are_no_dtype():
    """A name that neither numpy nor ml_dtypes has raises TypeError and has no item size."""
    with pytest.raises(TypeError, match="float9"):
        dtypes.to_numpy("float9_e1")
    assert dtypes.itemsize("nonsense") is None
    assert dtypes.itemsize("string") is None


def test_ml_dtypes_is_what_tensorflow_uses():
    """TensorFlow uses the bfloat16 of ml_dtypes, so that it takes the arrays as they are."""
    assert dtypes.to_numpy("bfloat16").type is ml_dtypes.bfloat16
