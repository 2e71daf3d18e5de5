"""initreg.arrays.value_texts: values as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as shapes

from initreg.arrays.value_texts import csv_pieces, json_pieces, plain_values
from initreg.dtypes import name_of
from initreg.errors import InitregError

FLOATS = ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


@pytest.mark.parametrize("name", FLOATS)
@given(bits=shapes.arrays("u1", 16))
def test_floats_come_back_bit_by_bit(name: str, bits: np.ndarray[Any, Any]) -> None:
    """From JSON and from CSV, infinities and -0.0 too. NaN comes back as NaN."""
    values = bits.view(dtype_of(name))
    texts = json.loads("".join(json_pieces(values, name)))
    rows = [row for [row] in csv.reader(io.StringIO("".join(csv_pieces(values, name, "w"))))]
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        nan = np.isnan(values.astype("f8"))
    for found in (texts, rows):
        back = np.array([float(each) for each in found]).astype(dtype_of(name))
        ours, theirs = (each.view("u1").reshape(len(values), -1) for each in (values, back))
        assert ((ours == theirs).all(axis=1) | nan).all()
        np.testing.assert_array_equal(np.isnan(back.astype("f8")), nan)


def test_floats_are_short() -> None:
    """They have the digits of their own precision, not those of a double."""
    assert "".join(json_pieces(np.float32([0.1, 1e20, 3]), "float32")) == "[0.1, 1e+20, 3.0]"
    assert plain_values(np.array(0.1, "f2"), "float16") == 0.1


def test_what_json_lacks_is_a_text() -> None:
    """NaN, infinities, complex numbers and dates are texts, bytes that are not text base64."""
    found = plain_values(np.array([np.nan, np.inf, -np.inf]), "float64")
    assert found == ["nan", "inf", "-inf"]
    assert plain_values(np.array([1 + 2j, -1j]), "complex128") == ["1+2j", "-0-1j"]
    assert plain_values(np.array(["2020-01-02"], "M8[D]"), "datetime64[D]") == ["2020-01-02"]
    strings = np.array([b"\xc3\xa9\n", b"\xff", "text"], object)
    assert plain_values(strings, "string") == ["é\n", {"base64": "/w=="}, "text"]


def test_integers_and_bools() -> None:
    """uint64 keeps all of its digits, and int4 is a number."""
    assert plain_values(np.array([2**64 - 1], "u8"), "uint64") == [2**64 - 1]
    assert plain_values(np.array([[True], [False]]), "bool") == [[True], [False]]
    small = np.array([-8, 7]).astype(ml_dtypes.int4)
    assert plain_values(small, name_of(small.dtype)) == [-8, 7]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (2, 3, 4), (40_000,), (2, 20_000)])
def test_the_shape_is_that_of_the_lists(shape: tuple[int, ...]) -> None:
    """Also of long rows, which are written in blocks."""
    values = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    assert plain_values(values, "int32") == values.tolist()


def test_csv_is_a_table() -> None:
    """One row for each index of the first axis, and strings are quoted where they must be."""
    assert "".join(csv_pieces(np.arange(6).reshape(2, 3), "int64", "w")) == "0,1,2\n3,4,5\n"
    assert "".join(csv_pieces(np.array(5), "int64", "w")) == "5\n"
    text = "".join(csv_pieces(np.array([b'a,"b"', "é"], object), "string", "w"))
    assert list(csv.reader(io.StringIO(text))) == [['a,"b"'], ["é"]]


def test_what_csv_cannot_hold() -> None:
    """More than two axes, and strings that are not text. The error says what to type."""
    with pytest.raises(InitregError, match=r"w has 4 axes, and CSV has two.*w\[0, 0\]"):
        list(csv_pieces(np.zeros((1, 1, 1, 1)), "float64", "w"))
    with pytest.raises(InitregError, match="not UTF-8"):
        list(csv_pieces(np.array([b"\xff"], object), "string", "w"))
    with pytest.raises(InitregError, match=r"values of \|V2 cannot be written as JSON"):
        plain_values(np.zeros(2, "V2"), "|V2")
