"""The literals of .npy headers are what Python itself makes of them, without its warnings."""

from __future__ import annotations

import ast
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg_formats.shared.literals import literal

leaves: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.text(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_what_python_writes_is_read(value: Any) -> None:
    """Every value of these types comes back from its ``repr``, with its type."""
    assert repr(literal(repr(value))) == repr(value)


@given(st.text("{}[]()'\",: 0123uTrueFalsNo\\xn-", max_size=20))
def test_what_is_accepted_is_what_python_reads(text: str) -> None:
    """Other text is refused, or means what Python says."""
    try:
        found = literal(text)
    except ValueError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(found) == repr(ast.literal_eval(text.strip()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(3L, 4L)", (3, 4)),
        ("{u'descr': '|O', 'shape': (), }", {"descr": "|O", "shape": ()}),
        ("[('a', '<f4'), ('\\xe9', '<i4', (2,))]", [("a", "<f4"), ("é", "<i4", (2,))]),
        (" ( 1 , ) ", (1,)),
        ("((1))", 1),
    ],
)
def test_python_2_and_odd_spaces(text: str, value: Any) -> None:
    """Long integers and texts of Python 2, and spaces anywhere."""
    assert literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "(1if 1else 2,)",  # SyntaxWarning: invalid decimal literal
        "'\\d'",  # SyntaxWarning: invalid escape sequence
        "(0x1for x in 2)",
        "'a' is 'b'",
        "1.5",
        "1e5",
        "b'x'",
        "{'a': 1, 'a': 2}",
        "{1: 2}",
        "(1, 2",
        "(1 2)",
        "(,)",
        "'\\U99999999'",
        "__import__('os')",
        "9" * 5000,
        "(" * 40 + ")" * 40,
        "",
    ],
)
def test_what_numpy_never_writes_is_refused(text: str) -> None:
    """One ValueError, and none of the warnings that Python's parser would print."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"\w"):
            literal(text)


@pytest.mark.parametrize(
    "text", ["(" * 65_000, "1," * 32_000, "'" + "\\" * 65_000, "-" * 65_000, "{'a':" * 12_000]
)
def test_long_headers_take_no_time(text: str) -> None:
    """Headers of 64 kB are read or refused at once, however they are made."""
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"\w"):
        literal(text)
    assert time.perf_counter() - start < 1
