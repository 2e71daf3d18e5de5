"""initreg.report: plans and listings as people read them."""

from initreg import report
from initreg.arrays import ArraySpec
from initreg.matching import SourceSpecs, match
from initreg.target import VariableSpec


def test_a_whole_plan():
    """Every kind of row has its section, with names, shapes, dtypes and sources."""
    sources = [
        SourceSpecs(
            "base.npz",
            [
                ArraySpec("w", (2,), "float32"),
                ArraySpec("w/Adam", (2,), "float32"),
                ArraySpec("b", (1, 3), "float64"),
                ArraySpec("c", (4,), "float64"),
                ArraySpec("bad", (4, 5), "int32"),
                ArraySpec("old", (), "int8"),
            ],
        ),
        SourceSpecs(
            "dict of 2",
            [ArraySpec("w", (2,), "float32"), ArraySpec("o", (9,), "int8")],
            ignore_mismatch=True,
        ),
    ]
    variables = [
        VariableSpec("w", (2,), "float32"),
        VariableSpec("b", (3,), "float32"),
        VariableSpec("c", (4,), "float32"),
        VariableSpec("bad", (5, 4), "float32"),
        VariableSpec("o", (None, 2), "int8"),
        VariableSpec("new_0", None, "string"),
        VariableSpec("new_1", None, "string"),
    ]
    text = report.plan_text(match(sources, variables, "TF1 session"))
    assert text.splitlines() == [
        "base.npz + dict of 2 -> TF1 session: 3 of 7 variables restored",
        "  1 not fitting",
        "    bad  shape (4, 5) does not fit (5, 4) and dtype int32 is not cast to "
        "float32  [base.npz]",
        "  1 restored as in the source",
        "    w  (2,) float32  [dict of 2]",
        "  1 restored, reshaped by axes of length 1",
        "    b  (1, 3) float64 -> (3,) float32  [base.npz]",
        "  1 restored, cast",
        "    c  (4,) float64 -> float32  [base.npz]",
        "  1 not fitting, passed over",
        "    o  shape (9,) does not fit (None, 2)  [dict of 2]",
        "  1 overridden by a later source",
        "    w  (2,) float32  by dict of 2  [base.npz]",
        "  1 optimiser slots of restored variables, on one side only",
        "    1 x .../Adam, only in the source",
        "  2 only in the target, left unchanged",
        "    new_{0,1}  2 x <any shape> string",
        "  1 only in the source, not used",
        "    old  () int8  [base.npz]",
    ]


def test_two_sources_of_one_label_are_numbered():
    """Two dicts in a chain can be told apart."""
    sources = [SourceSpecs("dict of 1", [ArraySpec(n, (), "int8")]) for n in "ab"]
    plan = match(sources, [VariableSpec("a", (), "int8")], "t")
    assert "a  () int8  [dict of 1 (#1)]" in str(plan)


def test_ten_thousand_names_stay_one_screen():
    """Names that differ by numbers fold; those that do not are cut, and the rest is counted."""
    names = [(f"encoder/layer_{i}/kernel", "(3,)") for i in range(10_000)]
    assert report.names_text(names) == ["encoder/layer_{0..9999}/kernel  10000 x (3,)"]
    odd = [(f"{i}/{i * i}", "") for i in range(10_000)]
    lines = report.names_text(odd)
    assert len(lines) == 21
    assert lines[-1] == "... and 9,980 names more: plan.to_dict() has them all"


def test_different_shapes_never_fold_together():
    """A fold says one thing of all its names."""
    entries = [("l0", "(2,)"), ("l1", "(2,)"), ("l2", "(3,)")]
    assert report.names_text(entries) == ["l{0,1}  2 x (2,)", "l2  (3,)"]


def test_a_listing():
    """Names, shapes, dtypes and sizes in columns, then the totals."""
    specs = [ArraySpec("fc/W", (300, 1000), "float32"), ArraySpec("names", (2,), "string")]
    assert report.listing_text(specs).splitlines() == [
        "fc/W   (300, 1000)  float32  1.2 MB",
        "names  (2,)         string        ?",
        "2 arrays, 300,000 numbers, 1.2 MB",
    ]


def test_an_empty_listing():
    """A source without arrays is listed as such."""
    assert report.listing_text([]) == "0 arrays, 0 numbers, 0 B"


def test_sizes():
    """Sizes are in powers of 1000, and unknown ones are marked."""
    sizes = [0, 999, 1000, 4_000_000_000, 5e15, None]
    texts = ["0 B", "999 B", "1.0 kB", "4.0 GB", "5000.0 TB", "?"]
    assert [report.size_text(size) for size in sizes] == texts


def test_control_characters_are_spelt_out():
    """A name of a stranger's file cannot forge lines or colours."""
    name = "a\x1b[31mred\n7 arrays faké"
    (line,) = report.names_text([(name, "(3,)")])
    assert line == "a\\x1b[31mred\\n7 arrays faké  (3,)"
    assert report.listing_text([ArraySpec(name, (), "int8")]).count("\n") == 1
