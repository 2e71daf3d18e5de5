"""initreg.rules.changes: what rules do to values, announced before they are read."""

import warnings

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg import CastWarning, RuleError, dtypes
from initreg.rules.changes import Cast, Pad, Permute, Slice, cast_values

X = np.arange(24, dtype="f4").reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("change", "expected", "text"),
    [
        (Permute(None), X.T, "permuted (2, 1, 0) from (2, 3, 4)"),
        (Permute((1, 2, 0)), X.transpose(1, 2, 0), "permuted (1, 2, 0) from (2, 3, 4)"),
        (Slice(1, 1, 3), X[:, 1:3], "sliced from (2, 3, 4)"),
        (Slice(-1, 1, None), X[..., 1:], "sliced from (2, 3, 4)"),
        (Pad(0, 3), np.pad(X, ((0, 1), (0, 0), (0, 0))), "padded from (2, 3, 4)"),
        (Pad(-1, 4, 9), X, "padded from (2, 3, 4)"),
        (
            Pad(1, 5, -1.5),
            np.pad(X, ((0, 0), (0, 2), (0, 0)), constant_values=-1.5),
            "padded from (2, 3, 4)",
        ),
        (
            Pad(0, 3, "mean"),
            np.concatenate([X, X.mean(axis=0, keepdims=True)]),
            "padded from (2, 3, 4)",
        ),
        (Cast("float64"), X.astype("f8"), "cast from float32"),
        (Cast("int16"), X.astype("i2"), "cast from float32"),
        (Cast("float32"), X, ""),
    ],
    ids=str,
)
def test_what_is_announced_is_what_comes_out(change, expected, text):
    """Shape, dtype and values are those of numpy, as announced, in C order and memory of its
    own."""
    assert change.announce(X.shape, "float32") == (expected.shape, dtypes.name_of(expected.dtype))
    assert change.text(X.shape, "float32") == text
    found = change.apply(X.copy(), "x")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("change", "shape", "dtype", "message"),
    [
        (Permute((0, 1)), (2, 3, 4), "float32", r"\(0, 1\) are not the axes of shape \(2, 3, 4\)"),
        (Permute((0, 0)), (2, 3), "float32", "are not the axes"),
        (Slice(2, 0, 1), (2, 3), "float32", r"shape \(2, 3\) has no axis 2"),
        (
            Slice(0, 0, 3),
            (2, 3),
            "float32",
            r"slice 0:3 is empty or out of range for axis 0 of shape \(2, 3\)",
        ),
        (Slice(0, 1, 1), (2, 3), "float32", "slice 1:1 is empty"),
        (Slice(0, -1, 2), (2, 3), "float32", "slice -1:2 is empty or out of range"),
        (Pad(0, 1), (2, 3), "float32", "already longer than 1: shorten it with slice="),
        (Pad(0, 3), (2,), "string", "an array of string cannot be padded"),
        (
            Pad(0, 3, "mean"),
            (2,),
            "int32",
            r"an array of int32 of shape \(2,\) cannot be padded with its mean",
        ),
        (Pad(0, 3, "mean"), (0,), "float32", "cannot be padded with its mean"),
        (Pad(0, 3), (), "float32", r"shape \(\) has no axis 0"),
        (Cast("float32"), (2,), "string", "string cannot be cast to float32"),
        (Cast("string"), (2,), "float32", "float32 cannot be cast to string"),
        (Cast("float32"), (2,), "complex64", "would lose its imaginary part"),
    ],
    ids=str,
)
def test_what_does_not_apply_is_known_before_reading(change, shape, dtype, message):
    """A change that cannot be applied is an error for the shape and dtype alone, with the
    reason."""
    with pytest.raises(ValueError, match=message):
        change.announce(shape, dtype)


def test_a_slice_does_not_keep_what_it_leaves_out():
    """The result is a copy, not a view that holds the whole array."""
    found = Slice(0, 0, 1).apply(X.copy(), "x")
    assert found.base is None


@pytest.mark.parametrize(
    ("fill", "dtype"),
    [
        (0.5, "int32"),
        (300, "uint8"),
        (-1, "uint8"),
        (1e30, "int8"),
        (float("nan"), "int32"),
        (2, "bool"),
        (0.5, "bool"),
        (1e30, "float16"),
        (1e30, "float8_e4m3fn"),
        (1j, "float32"),
    ],
)
def test_a_filling_that_the_dtype_does_not_have_is_known_before_reading(fill, dtype):
    """An integer array is not padded with half a number, and nothing becomes infinite."""
    with pytest.raises(ValueError, match=r"cannot pad .* which is not a value of this dtype"):
        Pad(0, 3, fill).announce((2,), dtype)


@pytest.mark.parametrize(
    ("fill", "dtype", "value"),
    [
        (1, "bool", True),
        (0.3, "float16", 0.3),
        (float("nan"), "float32", float("nan")),
        (-8, "int4", -8),
    ],
)
def test_a_filling_that_the_dtype_has(fill, dtype, value):
    """A fill value may be rounded to a float dtype."""
    change = Pad(0, 3, fill)
    assert change.announce((2,), dtype) == ((3,), dtype)
    last = change.apply(np.ones(2, dtypes.to_numpy(dtype)), "x")[-1]
    np.testing.assert_allclose(float(last), value, rtol=1e-3)


@pytest.mark.newest
@pytest.mark.parametrize(
    ("fill", "dtype"),
    [
        (0, "float8_e8m0fnu"),
        (-1, "float8_e8m0fnu"),
        (float("nan"), "float4_e2m1fn"),
        (100, "float4_e2m1fn"),
        (1e-9, "float16"),
        (1e30j, "complex32"),
    ],
)
def test_a_filling_is_not_lost_either(fill, dtype):
    """What a cast would warn of is no filling: a zero where there is none, a NaN that becomes 0."""
    with pytest.raises(ValueError, match=r"cannot pad .* which is not a value of this dtype"):
        Pad(0, 3, fill).announce((2,), dtype)


@pytest.mark.parametrize(
    ("have", "want", "message"),
    [
        ("|V2", "bfloat16", r"\|V2 cannot be cast to bfloat16: the array holds raw bytes"),
        ("|V2", "int32", r"numpy writes bfloat16 and float8 so\. .* is, with view='bfloat16'"),
        ("datetime64[D]", "int32", "the array holds dates or times"),
        ("timedelta64[s]", "float32", "the array holds dates or times"),
        ("string", "float32", "the array holds strings"),
        ("float32", "datetime64[D]", r"datetime64\[D\] is not a dtype of numbers"),
        ("float32", "|V2", r"\|V2 is not a dtype of numbers"),
        ("float32", "string", "string is not a dtype of numbers"),
        ("bcomplex32", "float32", "would lose its imaginary part"),
        ("int16", "qint8", "qint8 has a scale that the array does not record. Only int8, "),
        ("qint8", "float32", "qint8 has a scale that the array does not record. Only int8, "),
    ],
)
def test_the_side_that_is_wrong_is_blamed(have, want, message):
    """The array, if it does not hold numbers, or else the dtype that was asked for."""
    with pytest.raises(ValueError, match=message):
        Cast(want).announce((2,), have)


@pytest.mark.parametrize(("have", "want"), [("int8", "qint8"), ("quint16", "uint16")])
def test_quantised_integers_are_taken_as_they_are(have, want):
    """The rule says that they mean the same, and no bit changes."""
    change = Cast(want)
    assert change.announce((3,), have) == ((3,), want)
    assert change.text((3,), have) == f"cast from {have}"
    values = np.array([1, 2, 100], dtypes.to_numpy(have))
    assert change.apply(values, "x").tobytes() == values.tobytes()


def test_an_array_without_axes_keeps_to_have_none():
    """transpose="*" leaves a scalar such as a step counter a scalar."""
    assert Permute(None).announce((), "int64") == ((), "int64")
    assert Permute(None).apply(np.array(7), "step").shape == ()


def test_negative_axes_count_from_the_end():
    """Negative axes count from the end, as for numpy's transpose."""
    assert Permute((-1, 0, 1)).announce(X.shape, "float32") == ((4, 2, 3), "float32")
    assert Permute((-1, 0, 1)).apply(X, "x").tobytes() == X.transpose(-1, 0, 1).tobytes()


# --- casts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype", "result", "message"),
    [
        ([1.5, 2.0], "int32", [1, 2], "1 value of float64 cast to int32 lost their fraction"),
        ([1e9, 1.0], "float16", [np.inf, 1], "1 value of float64 beyond .* became infinite"),
        ([2**53 + 1, 1], "float64", [2.0**53, 1], "1 value of int64 are not exact in float64"),
    ],
)
def test_values_that_change_are_said(values, dtype, result, message):
    """Values that become infinite, lose a fraction or are rounded give one CastWarning with
    a count."""
    with pytest.warns(CastWarning, match=f"x: {message}"):
        found = cast_values(np.array(values), np.dtype(dtype), "x")
    assert found.tolist() == result


@pytest.mark.newest
@pytest.mark.parametrize(
    ("value", "have", "want", "what"),
    [
        (1e200, "complex128", "complex64", "became infinite"),
        (1e200, "float64", "complex64", "became infinite"),
        (70_000, "int64", "float16", "became infinite"),
        (1_000, "int64", "float8_e4m3fn", "became NaN"),
        (1_000.0, "float64", "float4_e2m1fn", "became its largest"),
        (2**24 + 1, "int64", "complex64", "are not exact in complex64"),
    ],
)
def test_each_loss_is_told_as_what_it_is(value, have, want, what):
    """Each sort of loss has its own text, and none is silent."""
    array = np.array([value, 1], dtypes.to_numpy(have))
    with pytest.warns(CastWarning, match=f"1 value of {have} .*{what}"):
        cast_values(array, dtypes.to_numpy(want), "x")


NAMES = (
    *("bool", "int8", "uint16", "int64", "float16", "float64", "complex64"),
    *("bfloat16", "int2", "int4", "uint4", "float8_e4m3fn", "float8_e8m0fnu", "float6_e2m3fn"),
)


@pytest.mark.newest
@pytest.mark.parametrize("have", NAMES)
@pytest.mark.parametrize("want", NAMES)
def test_what_is_announced_can_be_cast(have, want):
    """Every cast that a plan allows works, also between dtypes of ml_dtypes."""
    array = np.ones(2).astype(dtypes.to_numpy(have))
    try:
        Cast(want).announce((2,), have)
    except ValueError:
        assert have == "complex64"
        return
    found = cast_values(array, dtypes.to_numpy(want), "x")
    assert found.dtype == dtypes.to_numpy(want)
    assert found.astype(complex).tolist() == [1, 1]


def test_a_float8_without_infinity_gives_nan_and_says_so():
    """Values that are too large for float8_e4m3fn become NaN, and the warning says so."""
    with pytest.warns(CastWarning, match="beyond the range of float8_e4m3fn became NaN"):
        found = cast_values(np.array([1e6, 1.0], "f4"), np.dtype(ml_dtypes.float8_e4m3fn), "x")
    assert np.isnan(found.astype("f4")).tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([300], "uint8"),
        ([-1], "uint32"),
        ([2**40], "int32"),
        ([1e20], "int64"),
        ([float("nan")], "int32"),
        ([float("-inf"), 1.0], "int32"),
        ([0.5], "bool"),
        ([2], "bool"),
    ],
)
def test_values_that_an_integer_does_not_have_are_refused(values, dtype):
    """Values out of the range of an integer dtype are refused, and so is NaN."""
    with pytest.raises(RuleError, match=f"do not fit into {dtype}"):
        cast_values(np.array(values), np.dtype(dtype), "x")


@pytest.mark.parametrize(
    ("values", "have", "want"),
    [
        ([1, 0], "int64", "bool"),
        ([True, False], "bool", "float32"),
        ([255.0, -0.0], "float32", "uint8"),
        ([-128, 127], "int64", "int8"),
        ([np.inf, np.nan, 1], "float64", "float32"),
        ([1, 2], "bfloat16", "int8"),
        ([], "float32", "int8"),
    ],
)
def test_values_that_fit_are_cast_without_a_word(values, have, want):
    """Values that fit are cast without a warning; infinities and NaNs stay."""
    array = np.array(values, dtypes.to_numpy(have))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cast_values(array, dtypes.to_numpy(want), "x")
    assert found.dtype == dtypes.to_numpy(want)
    np.testing.assert_array_equal(found.astype("f8"), array.astype("f8"))


@given(st.lists(st.floats(width=64), max_size=8), st.sampled_from(["int8", "uint16", "int64"]))
def test_a_cast_to_an_integer_never_makes_a_number_up(values, dtype):
    """A cast to an integer cuts off the fraction and changes nothing else, or it is a RuleError."""
    array = np.array(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CastWarning)
        try:
            found = cast_values(array, np.dtype(dtype), "x")
        except RuleError:
            info = np.iinfo(dtype)
            assert any(not (info.min - 1 < v < info.max + 1) for v in values)
        else:
            assert [int(v) for v in found] == [int(v) for v in values]
