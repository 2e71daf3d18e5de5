"""initreg.rules.casting: every cast between two dtypes gives the right values, or says what is
lost."""

import itertools
import math
import re
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import CastWarning, InitregError, RuleError, SmartInit, dtypes
from initreg.rules.casting import cast_values, why_not

# All of numpy's numbers, and all that the installed ml_dtypes has.
NUMPY = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64"
NUMBERS = [*NUMPY.split(), "complex128", np.dtype("longdouble").name, np.dtype("clongdouble").name]
NUMBERS += sorted(
    name
    for name, kind in vars(ml_dtypes).items()
    if isinstance(kind, type) and re.fullmatch(r"b?(float|u?int|complex)\d+(_\w+)?", name)
)
QUANTISED = list(dtypes.QUANTISED)
OTHERS = ["string", "object", "datetime64[D]", "timedelta64[s]", "|V2", "[('a', '<f4')]"]
DTYPES = list(dict.fromkeys([*NUMBERS, *QUANTISED, *OTHERS]))

REALS = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 5.0, 1.5, -7.0, 100.0, 6.0, 6.4, 448.0, 500.0, 65520.0]
REALS += [2.0**-10, 2.0**-26, -(2.0**-26), 2.0**-127, 2.0**-129, 2.0**-148, 2.0**-150, 1e-300]
REALS += [5e-324, 2.0**127, -(2.0**127), 3.5e38, 1e300, 2.0**24 + 1, 2.0**53, 1e18]
REALS += [float("nan"), float("inf"), float("-inf")]


def values_of(name):
    """Values of a dtype: the usual ones as far as it has them, and its limits."""
    dtype = dtypes.to_numpy(name)
    bits = dtypes.integer_bits(name)
    if name == "bool":
        return np.array([True, False, True])
    if bits is not None:
        signed, width = bits
        least, most = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        wanted = (0, 1, -1, 2, 3, 5, 7, 100, 300, 65519, 2**24 + 1, 2**53 + 1, 2**62 + 1)
        kept = [v for v in (*wanted, least, least + 1, most - 1, most) if least <= v <= most]
        return np.array(kept, "i8" if signed else "u8").astype(dtype)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dtypes.is_complex(name):
            parts = [complex(x, 1) for x in REALS] + [complex(1, x) for x in REALS]
            return np.array(parts).astype(dtype)
        largest = np.finfo(dtype).max if dtype.isbuiltin == 1 else ml_dtypes.finfo(dtype).max
        small = (np.finfo if dtype.isbuiltin == 1 else ml_dtypes.finfo)(dtype).smallest_subnormal
        return np.concatenate([np.array(REALS).astype(dtype), np.array([largest, small], dtype)])


def parts(value):
    """The real and imaginary part of a value, exact: an int or a Fraction, or a float if it is
    not finite."""
    if dtypes.is_complex(dtypes.name_of(value.dtype)):
        wide = value.astype(np.clongdouble)
        return [*parts(wide.real), *parts(wide.imag)]
    if value.dtype.kind in "iub" or dtypes.integer_bits(value.dtype.name):
        return [int(value)]
    wide = np.longdouble(value)
    return [Fraction(*wide.as_integer_ratio()) if np.isfinite(wide) else float(wide)]


def is_lost(old, new, want):
    """Whether one real number lost more than the rounding of a float, by exact arithmetic."""
    if isinstance(old, float) and math.isnan(old):
        return not (isinstance(new, float) and math.isnan(new))
    if isinstance(old, float):
        return new != old  # an infinity that became something else
    if isinstance(new, float):
        return True  # it became infinite or NaN
    if isinstance(old, int) or want == "bool" or dtypes.integer_bits(want):
        return new != old
    if (old != 0) != (new != 0) or (old < 0) != (new < 0):
        return True
    limits = (np.finfo if want in NUMPY else ml_dtypes.finfo)(dtypes.to_numpy(want))
    if want.startswith(("float4_", "float6_")):
        return abs(old) > Fraction(float(limits.max))
    return want == "float8_e8m0fnu" and old < Fraction(float(limits.smallest_subnormal))


def reference(array, want):
    """The cast by way of the widest floats, or of integers of 64 bits: there are such casts between
    all dtypes of numbers."""
    have = array.dtype.name
    between = "D" if dtypes.is_complex(have) else "d"
    if array.dtype.kind in "iub" or dtypes.integer_bits(have):
        between = "u8" if array.dtype.kind == "u" else "i8"
    if array.dtype.itemsize > 8 and array.dtype.kind in "fc" and have != "complex128":
        between = array.dtype
    return array.astype(between).astype(dtypes.to_numpy(want))


def same(one, other):
    """Whether arrays have the same bits. Those of numpy's longest floats have unused ones."""
    if one.dtype.char in "gG":
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return one.tobytes() == other.tobytes()


def cast(array, want):
    """What cast_values gives, and the number of values that its warnings count."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = cast_values(array, dtypes.to_numpy(want), "the/name")
    assert all(w.category is CastWarning for w in caught)
    assert len(caught) <= 1
    text = str(caught[0].message) if caught else ""
    assert not text or text.startswith("the/name: ")
    counts = re.findall(rf"([\d,]+) values? of {re.escape(array.dtype.name)} ", text)
    return found, sum(int(count) for count in counts)


@pytest.mark.newest
@pytest.mark.parametrize("have", NUMBERS)
def test_every_cast_of_numbers_is_right_or_says_what_is_lost(have):
    """To each dtype of numbers: the values of the reference, with one warning that counts exactly
    those that lost more than the rounding of a float, or a RuleError."""
    values = values_of(have)
    for want in NUMBERS:
        kept = [value for value in values if fits(value, want)]
        array = np.array(kept, dtypes.to_numpy(have)) if kept else values[:0]
        if have != want and dtypes.is_complex(have) and not dtypes.is_complex(want):
            with pytest.raises(RuleError, match="would lose its imaginary part"):
                cast_values(array, dtypes.to_numpy(want), "x")
            continue
        found, told = cast(array, want)
        assert found.dtype == dtypes.to_numpy(want)
        with np.errstate(all="ignore"):
            assert same(found, reference(array, want)), (have, want)
        alone = sum(cast(array[n : n + 1], want)[1] for n in range(len(array)))
        assert alone == told, (have, want)
        component = want
        if dtypes.is_complex(want):
            component = found[:0].astype("G" if "256" in want else "D").real.dtype.name
            component = {"complex64": "float32", "complex32": "float16"}.get(want, component)
            component = {"bcomplex32": "bfloat16"}.get(want, component)
        expected = [
            (old, new)
            for old, new in zip(array, found, strict=True)
            if any(is_lost(a, b, component) for a, b in zip(parts(old), parts(new), strict=False))
        ]
        assert told == len(expected), (have, want, told, expected)
        for refused in values:
            if not fits(refused, want):
                with pytest.raises(RuleError, match=f"do not fit into {want}"):
                    cast_values(np.array([refused], values.dtype), dtypes.to_numpy(want), "x")


def fits(value, want):
    """Whether an integer or bool dtype has the value, without its fraction."""
    bits = dtypes.integer_bits(want) or (False, 1)
    if not dtypes.integer_bits(want) and want != "bool":
        return True
    real = parts(value)[0]
    if isinstance(real, float):
        return False
    if want == "bool":
        return real in (0, 1)
    low, high = (-(1 << bits[1] - 1), 1 << bits[1] - 1) if bits[0] else (0, 1 << bits[1])
    return low <= math.trunc(real) < high


@pytest.mark.newest
@pytest.mark.parametrize(
    ("values", "have", "want", "message"),
    [
        (
            [np.nan, 1, np.nan],
            "float32",
            "float4_e2m1fn",
            "2 values of float32 changed from NaN to a number, because float4_e2m1fn has no NaN",
        ),
        (
            [0, -0.0, -1, -np.inf, 2.0**-149, 3e38, 1],
            "float32",
            "float8_e8m0fnu",
            "1 value of float32 beyond the range of float8_e8m0fnu became NaN; "
            "1 value of float32 too small for float8_e8m0fnu became its smallest value; "
            "2 values of float32 changed from 0 to NaN, because float8_e8m0fnu has no 0; "
            "2 values of float32 below 0 became NaN, because float8_e8m0fnu has no negative "
            "numbers",
        ),
        (
            [2.0**-127, 2.0**127, 1],
            "float8_e8m0fnu",
            "float16",
            "1 value of float8_e8m0fnu beyond the range of float16 became infinite; "
            "1 value of float8_e8m0fnu too small for float16 became 0",
        ),
        (
            [1e-3, 1e-8, -1e-9, 0, np.nan, 1e6],
            "float32",
            "float16",
            "1 value of float32 beyond the range of float16 became infinite; "
            "2 values of float32 too small for float16 became 0",
        ),
        (
            [np.inf, 1e6, 100, 7],
            "float64",
            "float6_e3m2fn",
            "3 values of float64 beyond the range of float6_e3m2fn became its largest value",
        ),
        (
            [np.inf, 449, 448],
            "float32",
            "float8_e4m3fn",
            "1 value of float32 beyond the range of float8_e4m3fn became NaN",
        ),
        (
            [1e30 + 1e30j, 1 + 1e30j, 1e-30, 1j],
            "complex64",
            "complex32",
            "2 values of complex64 beyond the range of complex32 became infinite; "
            "1 value of complex64 too small for complex32 became 0",
        ),
        (
            [0, 7, 5, 1],
            "int8",
            "float4_e2m1fn",
            "1 value of int8 beyond the range of float4_e2m1fn became its largest value; "
            "1 value of int8 are not exact in float4_e2m1fn",
        ),
        (
            [2**64 - 1, 2**63, 1],
            "uint64",
            "float64",
            "1 value of uint64 are not exact in float64",
        ),
    ],
)
def test_each_loss_is_told_in_words(values, have, want, message):
    """One warning for an array: its name, what is lost, and how many values."""
    array = np.array(values, dtypes.to_numpy(have))
    with pytest.warns(CastWarning) as caught:
        cast_values(array, dtypes.to_numpy(want), "fc/W")
    assert [str(w.message) for w in caught] == [f"fc/W: {message}"]


def test_rounding_is_no_loss():
    """A subnormal, a rounded number, and the sign of zero: a cast without a word, of an array of
    more than one chunk, too."""
    values = np.tile(np.array([0.1, 6e-8, -0.0, 65519], "f4"), 200_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cast_values(values, np.dtype("f2"), "x")
    assert found.tobytes() == values.astype("f2").tobytes()
    values[-1] = 1e9
    with pytest.warns(CastWarning, match="x: 1 value of float32 beyond"):
        cast_values(values, np.dtype("f2"), "x")


@pytest.mark.newest
def test_casts_of_nothing():
    """An empty array is cast between any two dtypes of numbers, without a word."""
    for have, want in itertools.product(NUMBERS, NUMBERS):
        if dtypes.is_complex(have) and not dtypes.is_complex(want):
            continue
        found, told = cast(np.zeros((0, 3), dtypes.to_numpy(have)), want)
        assert (found.shape, found.dtype, told) == ((0, 3), dtypes.to_numpy(want), 0)


def given(name):
    """A source with an array of any dtype, and what a target of it is made of."""
    if name == "string":
        return np.array(["a", "b"])
    if name == "object":
        return np.array([{}, 1], object)
    if name.startswith("["):
        return np.zeros(2, [("a", "<f4")])
    if name in OTHERS:
        return np.zeros(2, name)
    return np.ones(2).astype(dtypes.to_numpy(name))


class Values:
    """A target with one variable of any dtype, which remembers what it was given."""

    label = "values"

    def __init__(self, dtype, shape=(2,)):
        self.dtype, self.shape, self.written = dtype, shape, None

    def variables(self):
        return [initreg.VariableSpec("w", self.shape, self.dtype)]

    def write(self, arrays):
        for spec, array in arrays:
            self.written = array
            yield spec.name


class Typed:
    """An array whose dtype is one of TensorFlow's, as a tf.Variable has it."""

    def __init__(self, name):
        self.values = np.ones(2, dtypes.QUANTISED[name])
        self.dtype, self.shape = name, (2,)

    def __array__(self, dtype=None, copy=None):
        return self.values


def source(name):
    return {"w": Typed(name) if name in QUANTISED else given(name)}


@pytest.mark.newest
@pytest.mark.parametrize("have", [name for name in DTYPES if name != "int1"])  # it has no 1
def test_every_pair_of_dtypes_is_restored_or_refused(have):
    """Into a variable, and by the rule: the plan says which; what it allows is carried out, with a
    warning, and what it does not is one InitregError that names the array and both dtypes."""
    if have == "object":
        with pytest.raises(InitregError, match=r"'w' .* must be an array of numbers or strings"):
            initreg.open(source(have))
        return
    for want in DTYPES:
        if want in ("object", "int1"):
            continue
        target = Values(want)
        if dtypes.can_cast(have, want):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                SmartInit(source(have)).init(target)
            assert target.written.dtype == dtypes.to_numpy(want)
            assert [w.category for w in caught] == [CastWarning] * (have != want)
            if have in NUMBERS:
                assert target.written.astype(complex).tolist() == [1, 1]
        else:
            with pytest.raises(
                initreg.MismatchError, match=r"w: dtype .* is not cast to "
            ) as error:
                SmartInit(source(have)).init(target)
            assert f"dtype {have} is not cast to {want}" in str(error.value)
            assert target.written is None
        if want.startswith("["):
            continue  # nobody can type it
        clause = re.escape(f"cast={{'w': {want!r}}}")
        if why_not(have, want):
            with pytest.raises(RuleError, match=f"{clause}: array 'w': ") as error:
                initreg.load(source(have), cast={"w": want})
            assert have in str(error.value)
            assert want in str(error.value)
        elif want in (*NUMBERS, *QUANTISED):
            found = initreg.load(source(have), cast={"w": want})["w"]
            assert found.dtype == dtypes.to_numpy(want)
            assert found.astype(complex).tolist() == [1, 1]
