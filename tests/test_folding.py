"""initreg.folding: long lists of names in few lines, without losing one."""

import string
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from initreg import folding
from initreg.folding import expand, fold


def texts(names):
    return [line.text for line in fold(names)]


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["a"], ["a"]),
        (["l0/w", "l1/w", "l2/w"], ["l{0..2}/w"]),
        (["l0/w", "l2/w"], ["l{0,2}/w"]),
        (["l0/w", "l1/w"], ["l{0,1}/w"]),
        (["x/kernel", "x/bias"], ["x/{kernel,bias}"]),
        (["l08/w", "l09/w", "l10/w"], ["l{08..10}/w"]),
        (["b2", "b10", "b9", "b1"], ["b{1,2,9,10}"]),
        ([f"l{i}/{p}" for i in range(3) for p in "kb"], ["l{0..2}/{k,b}"]),
        (["l0/a", "l1/a", "l1/b"], ["l{0,1}/a", "l1/b"]),
        (["v1.5", "v1.6"], ["v1.{5,6}"]),
        (["odd{1}", "odd{2}"], [r"odd\{{1,2}\}"]),
        (["", "a"], ["", "a"]),
        (["a\nb", "\x1b[31m"], [r"a\nb", r"\x1b[31m"]),
        (["a  b"], [r"a\ \ b"]),
        ([" c "], [r"\ c\ "]),
        (["\\n"], [r"\\n"]),
    ],
)
def test_folds(names, lines):
    """Ranges have no gaps, products are complete, and special characters are escaped."""
    assert texts(names) == lines


def test_a_transformer_is_a_few_lines():
    """12 layers of 16 variables each fold to a screen, and the counts add up."""
    parts = [f"attention/{p}/{w}" for p in ("query", "key", "value") for w in ("kernel", "bias")]
    names = [f"encoder/layer_{i}/{part}" for i in range(12) for part in parts]
    lines = fold(names)
    assert [line.text for line in lines] == [
        "encoder/layer_{0..11}/attention/{query,key,value}/{kernel,bias}"
    ]
    assert lines[0].count == 72


segments = st.text(string.ascii_lowercase + "{},\\é_", min_size=1, max_size=3)
numbers = st.integers(0, 30).map(str) | st.sampled_from(["00", "01", "007"])
names = st.lists(st.tuples(segments, numbers, segments).map("/".join), max_size=40, unique=True)


def test_a_long_line_is_split_where_it_has_a_brace():
    """A line longer than the width is split at a brace, and no name is lost."""
    names = [f"p/{word * 3}/{part}" for word in string.ascii_lowercase for part in "kb"]
    lines = fold(names, 40)
    assert max(len(line.text) for line in lines) <= 40
    assert len(lines) == 4
    assert [name for line in lines for name in expand(line.text)] == names
    assert fold(["x" * 50, "y" * 50], 20)[0].text == "x" * 50


@given(
    names | st.lists(st.text(max_size=6), unique=True, max_size=30), st.none() | st.integers(1, 30)
)
@example(["0", "00", "1", "01"], None)
@example(["\u0663", "\u0664", "\u0665"], None)
@example(["a..b", "a..c"], None)
@example(["1..3", "1..4"], None)
@example(["\n", "\\n", "\\", "x0a", "\x0a1"], None)
def test_expanding_gives_back_exactly_the_names(names, width):
    """For any names, the lines expand to exactly these names, each once."""
    lines = fold(names, width)
    expanded = [name for line in lines for name in expand(line.text)]
    assert sorted(expanded) == sorted(names)
    assert [line.count for line in lines] == [len(expand(line.text)) for line in lines]


def test_names_of_strangers_are_told_whole_and_at_once():
    """Extremely long names, which took minutes, get lines of their own at once."""
    odd = ["/".join("ab") * 20_000 + str(i) for i in range(50)]
    odd += ["1" * 5_000, "2" * 5_000, " " * 600, "{" * 513, "\n" * 513]
    lines = fold([*odd, "l0/w", "l1/w"], 120)
    assert [line.count for line in lines] == [1] * 55 + [2]
    assert lines[-1].text == "l{0,1}/w"
    assert [name for line in lines[:-1] for name in expand(line.text)] == odd


def test_merging_ends_where_there_is_too_much_to_compare(monkeypatch):
    """Names that are not merged have their own lines, and none is lost."""
    monkeypatch.setattr(folding, "_COMPARED", 1_000)
    names = [f"{a}/{b}" for a in range(30) for b in string.ascii_lowercase]
    lines = fold(names)
    assert len(lines) > 1
    assert [name for line in lines for name in expand(line.text)] == names


def test_the_first_lines_come_without_the_others():
    """The first line of very many takes only the memory of its own text, not 4 MB."""
    names = [f"{i:03}" + "\n" * 20_000 for i in range(100)]
    tracemalloc.start()
    try:
        found = folding.lines(names)
        first = next(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first == folding.Folded("000" + r"\n" * 20_000, 1)
    assert next(found).text.startswith(r"001\n")
    assert peak < 3_000_000
