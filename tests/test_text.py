"""initreg.text: shapes, sizes, code, folded names, as people read them."""

import pytest

from initreg import text


def test_ten_thousand_names_stay_one_screen():
    """Names that differ by numbers fold; those that do not are cut, and the rest is counted."""
    names = [(f"encoder/layer_{i}/kernel", "(3,)") for i in range(10_000)]
    assert text.names_text(names) == ["encoder/layer_{0..9999}/kernel  10000 x (3,)"]
    odd = [(f"{i}/{i * i}", "") for i in range(10_000)]
    lines = text.names_text(odd)
    assert len(lines) == 21
    assert lines[-1] == "... and 9,980 names more: plan.to_text(limit=None) shows them all"
    assert len(text.names_text(odd, limit=None)) == 10_000


def test_a_transformer():
    """Layers and projections of one shape are one line, in the order of their names."""
    names = [f"encoder/layer_{i}/attention/{p}/kernel" for i in range(12) for p in "qkv"]
    assert text.names_text((name, "(768, 768)") for name in names) == [
        "encoder/layer_{0..11}/attention/{q,k,v}/kernel  36 x (768, 768)"
    ]


def test_different_notes_never_fold_together():
    """A fold says one thing of all its names."""
    entries = [("l0", "(2,)"), ("l1", "(2,)"), ("l2", "(3,)")]
    assert text.names_text(entries) == ["l{0,1}  2 x (2,)", "l2  (3,)"]


def test_control_characters_are_spelt_out():
    """A name of a stranger's file cannot forge lines or colours."""
    name = "a\x1b[31mred\n7 arrays faké"
    (line,) = text.names_text([(name, "(3,)")])
    assert line == "a\\x1b[31mred\\n7 arrays faké  (3,)"


def test_a_huge_name_is_cut_unless_all_is_shown():
    """A name of a megabyte does not fill the screen, and is whole where nothing may be lost."""
    name = "x" * 1_000_000
    (line,) = text.names_text([(name, "(3,)")])
    assert len(line) < 500
    assert text.names_text([(name, "(3,)")], limit=None) == [f"{name}  (3,)"]


def test_names_of_which_nothing_is_said():
    """No number and no gap dangle behind them."""
    assert text.names_text([("a0", ""), ("a1", "")]) == ["a{0,1}"]
    assert text.names_text([("b ", "")]) == ["b\\ "]


def test_sizes():
    """Sizes are in powers of 1000, and unknown ones are marked."""
    sizes = [0, 999, 1000, 4_000_000_000, 5e15, None]
    texts = ["0 B", "999 B", "1.0 kB", "4.0 GB", "5000.0 TB", "?"]
    assert [text.size_text(size) for size in sizes] == texts


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
    ],
)
def test_code(value, code):
    """Values as Python code that gives them back, in double quotes."""
    assert text.code_text(value) == code
    assert eval(code) == value
