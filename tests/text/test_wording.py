"""initreg.text.wording: shapes, sizes, code, folded names, as people read them."""

import functools
import math
import re
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from initreg.text import wording


def test_ten_thousand_names_stay_one_screen():
    """Names that differ by numbers fold; those that do not are cut, and the rest is counted."""
    names = [(f"encoder/layer_{i}/kernel", "(3,)") for i in range(10_000)]
    assert wording.names_text(names) == ["encoder/layer_{0..9999}/kernel  10000 x (3,)"]
    odd = [(f"{i}/{i * i}", "") for i in range(10_000)]
    lines = wording.names_text(odd)
    assert len(lines) == 21
    assert lines[-1] == "... and 9,980 names more: plan.to_text(limit=None) shows them all"
    assert len(wording.names_text(odd, limit=None)) == 10_000


def test_a_transformer():
    """Layers and projections of one shape are one line, in the order of their names."""
    names = [f"encoder/layer_{i}/attention/{p}/kernel" for i in range(12) for p in "qkv"]
    assert wording.names_text((name, "(768, 768)") for name in names) == [
        "encoder/layer_{0..11}/attention/{q,k,v}/kernel  36 x (768, 768)"
    ]


def test_different_notes_never_fold_together():
    """Names with different notes are not folded together."""
    entries = [("l0", "(2,)"), ("l1", "(2,)"), ("l2", "(3,)")]
    assert wording.names_text(entries) == ["l{0,1}  2 x (2,)", "l2  (3,)"]


def test_control_characters_are_spelt_out():
    """Control characters in a name are escaped, so that it cannot fake lines or colours."""
    name = "a\x1b[31mred\n7 arrays faké"
    (line,) = wording.names_text([(name, "(3,)")])
    assert line == "a\\x1b[31mred\\n7 arrays faké  (3,)"


def test_a_huge_name_is_cut_unless_all_is_shown():
    """A name of a megabyte is cut, unless limit=None asks for everything."""
    name = "x" * 1_000_000
    (line,) = wording.names_text([(name, "(3,)")])
    assert len(line) < 500
    assert wording.names_text([(name, "(3,)")], limit=None) == [f"{name}  (3,)"]


def test_names_of_which_nothing_is_said():
    """Names without notes have no number and no gap behind them."""
    assert wording.names_text([("a0", ""), ("a1", "")]) == ["a{0,1}"]
    assert wording.names_text([("b ", "")]) == ["b\\ "]


def test_sizes():
    """Sizes are in powers of 1000, and unknown ones are marked."""
    sizes = [0, 999, 1000, 4_000_000_000, 5e15, None]
    texts = ["0 B", "999 B", "1.0 kB", "4.0 GB", "5000.0 TB", "?"]
    assert [wording.size_text(size) for size in sizes] == texts


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("model/", '"model/"'),
        ('a"b', '"a\\"b"'),
        (r"^a\.b", r'r"^a\.b"'),
        ("a\\", '"a\\\\"'),
        ("\n", r"'\n'"),
        ("é", '"é"'),
        (["a", ("^x", "")], '["a", ("^x", "")]'),
        ({"conv*": (2, 3, 1, 0)}, '{"conv*": (2, 3, 1, 0)}'),
        ((1,), "(1,)"),
        (0.5, "0.5"),
        (math.inf, 'float("inf")'),
        (b"a", "b'a'"),
        (None, "None"),
    ],
)
def test_code(value, code):
    """Values as Python code that gives them back, in double quotes."""
    assert wording.code_text(value) == code
    assert eval(code) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (np.dtype("float64"), '"float64"'),
        (np.dtype(ml_dtypes.bfloat16), '"bfloat16"'),
        (np.float16, '"float16"'),
        (float, '"float"'),
        (np.str_("model/"), '"model/"'),
        (np.str_("\n"), r"'\n'"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "True"),
        (np.array([2, 3, 1, 0]), "[2, 3, 1, 0]"),
        (np.array(["a", "b"]), '["a", "b"]'),
        (np.array("a"), '"a"'),
        ({"b", "a"}, '["a", "b"]'),
        (frozenset({1}), "[1]"),
        ((name for name in "ab"), '["a", "b"]'),
        ({"a": np.dtype("i4")}.values(), '["int32"]'),
        ({np.str_("w"): np.array([1, 0])}, '{"w": [1, 0]}'),
        (Path("/tmp/m.npz"), '"/tmp/m.npz"'),
        ([(re.compile(r"^a\."), "")], r'[(r"^a\.", "")]'),
        (re.compile("a", re.IGNORECASE | re.MULTILINE), '"(?im)a"'),
        (re.compile("(?i)a", re.DOTALL), '"(?is)a"'),
        (test_code, "test_code"),
        (str.lower, "str.lower"),
        (len, "len"),
        (lambda name: name, "..."),
        (functools.partial(len), "..."),
        ("a".join, "..."),
    ],
)
def test_code_of_what_others_have_made(value, code):
    """Dtypes, scalars and arrays of numpy, sets, iterators, paths, regexes and functions become
    code that needs no import."""
    assert wording.code_text(value) == code
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eval(code)


def test_names_that_are_sorted_are_in_natural_order():
    """Below one note, a/2 comes before a/10 if the names were sorted. Any other order is kept."""
    entries = [(name, "(2,)") for name in ("a/1/x", "a/10/y", "a/2/z")]
    assert wording.names_text(entries) == ["a/1/x  (2,)", "a/2/z  (2,)", "a/10/y  (2,)"]
    entries = [(name, "(2,)") for name in ("b/w", "a/10/y", "a/2/z")]
    assert wording.names_text(entries) == ["b/w  (2,)", "a/10/y  (2,)", "a/2/z  (2,)"]
