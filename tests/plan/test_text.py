"""initreg.plan.text: plans and listings as people read them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from initreg.folding import expand
from initreg.names import normalise
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.rows import Kind
from initreg.plan.text import _TITLES, plan_text, row_note
from initreg.specs import ArraySpec, VariableSpec
from initreg.text.wording import listing_text
from initreg_formats.tf_checkpoint.slots import slots


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
    text = plan_text(match(sources, variables, "TF1 session", slots=slots))
    assert text.splitlines() == [
        "base.npz + dict of 2 -> TF1 session: cannot be carried out: 1 array does not fit; "
        "nothing is written",
        "  1 mismatched",
        "    bad  shape (4, 5) does not fit (5, 4) and dtype int32 is not cast to "
        "float32 (the shape is the transpose)  [base.npz]",
        "  1 matched",
        "    w  (2,) float32  [dict of 2]",
        "  1 matched, reshaped by axes of length 1",
        "    b  (1, 3) float64 -> (3,) float32  [base.npz]",
        "  1 matched, cast",
        "    c  (4,) float64 -> float32  [base.npz]",
        "  1 mismatched, skipped",
        "    o  shape (9,) does not fit (None, 2)  [dict of 2]",
        "  1 overridden by a later source",
        "    w  (2,) float32  by dict of 2  [base.npz]",
        "  1 optimiser slot of a matched variable, on one side only",
        "    .../Adam  only in the source",
        "  2 only in the target, not restored",
        "    new_{0,1}  2 x <any shape> string",
        "  1 only in the source, not used",
        "    old  () int8  [base.npz]",
    ]


def test_two_slots_are_a_plural():
    """The title of the slots agrees with their number."""
    found = [ArraySpec(f"w/{n}", (2,), "float32") for n in ("Adam", "Adam_1")]
    base = SourceSpecs("base.npz", [ArraySpec("w", (2,), "float32"), *found])
    plan = match([base], [VariableSpec("w", (2,), "float32")], "t", slots=slots)
    assert "  2 optimiser slots of matched variables, on one side only" in str(plan).splitlines()


def test_two_sources_of_one_label_are_numbered():
    """Sources with equal labels are numbered."""
    sources = [SourceSpecs("dict of 1", [ArraySpec(n, (), "int8")]) for n in "ab"]
    plan = match(sources, [VariableSpec("a", (), "int8")], "t")
    assert "a  () int8  [dict of 1 (#1)]" in str(plan)


def test_a_listing():
    """Names, shapes, dtypes and sizes in columns, then the totals."""
    specs = [ArraySpec("fc/W", (300, 1000), "float32"), ArraySpec("names", (2,), "string")]
    assert listing_text(specs).splitlines() == [
        "fc/W   (300, 1000)  float32  1.2 MB",
        "names  (2,)         string        ?",
        "2 arrays, 300,000 numbers, 1.2 MB",
    ]


def test_an_empty_listing():
    """A source without arrays is listed as such."""
    one = listing_text([ArraySpec("step", (), "int64")])
    assert one.splitlines()[-1] == "1 array, 1 number, 8 B"
    assert listing_text([]) == "0 arrays, 0 numbers, 0 B"


def test_a_listing_of_what_cannot_be_read():
    """The reasons follow the totals, and then what is not an array, twenty of each."""
    specs = [ArraySpec("a", (2,), "int8")]
    specs += [ArraySpec(f"w{i}", (), "unknown", unreadable=f"is no. {i}") for i in range(22)]
    lines = listing_text(specs, ["a.txt", "b\x1b.txt"]).splitlines()
    assert lines[1] == "w0   ()    unknown    ?  cannot be read"
    assert lines[23:25] == ["23 arrays, 2 numbers, 2 B", "22 arrays cannot be read:"]
    assert lines[25] == "  w0: is no. 0"
    assert lines[45:] == [
        "  ... and 2 more: --json lists all",
        "not arrays, but other members of the archive: 2",
        "  a.txt",
        "  b\\x1b.txt",
    ]


def test_control_characters_in_a_path_are_spelt_out():
    """Control characters in a path are escaped."""
    plan = match([SourceSpecs("a\x1b[31m.npz", [ArraySpec("w", (), "int8")])], [], "t\n")
    for text in (str(plan), str(plan.error()), plan.verdict):
        assert "\x1b" not in text
        assert r"a\x1b[31m.npz" in text


def test_a_listing_spells_control_characters_out():
    """Control characters in a name are escaped, so that it cannot fake a line."""
    name = "a\x1b[31mred\n7 arrays faké"
    assert listing_text([ArraySpec(name, (), "int8")]).count("\n") == 1


def text_of(arrays, variables, **options):
    return match([SourceSpecs("s", arrays, **options)], variables, "t").to_text()


def test_where_an_array_was_renamed_the_plan_says_from_what():
    """The plan says where a name comes from, without the common end, so that names fold."""
    arrays = [
        *(ArraySpec(f"net/l{i}/w", (2,), "int8", (), f"model/l{i}/w") for i in range(3)),
        ArraySpec("b", (), "int8", (), "net/b"),
        ArraySpec("net/c", (), "int8", (), "c"),
        ArraySpec("d", (), "int8", (), "key"),
        ArraySpec("layer1/w", (), "int8", (), "xlayer1/w"),
    ]
    variables = [VariableSpec(a.name, a.shape, a.dtype) for a in arrays]
    assert text_of(arrays, variables).splitlines()[2:] == [
        "    net/l{0..2}/w  3 x (2,) int8, from model/*",
        "    b  () int8, from net/*",
        "    net/c  () int8, from the name without 'net/'",
        "    d  () int8, from key",
        "    layer1/w  () int8, from x*",
    ]


def test_many_arrays_under_another_name_still_fold():
    """If many names differ in different ways, the text only says that they do, and they fold."""
    arrays = [ArraySpec(f"l{i}/w", (), "int8", (), f"key-{i * i}/v") for i in range(20)]
    variables = [VariableSpec(a.name, a.shape, a.dtype) for a in arrays]
    assert "    l{0..19}/w  20 x () int8, under another name" in text_of(arrays, variables)
    arrays = [ArraySpec(f"l{i}/w", (), "int8", (), f"l{i}.w") for i in range(20)]
    assert "    l{0..19}/w  20 x () int8, under another name" in text_of(arrays, variables)


def test_changes_and_drops_are_in_the_text():
    """Changes to values are beside the shape, and dropped arrays have a section."""
    changed = ArraySpec("w", (3, 2), "float16", (), "w", ("permuted (1, 0) from (2, 3)",))
    text = text_of(
        [changed], [VariableSpec("w", (3, 2), "float16")], dropped=[ArraySpec("x", (), "int8")]
    )
    assert "    w  (3, 2) float16, permuted (1, 0) from (2, 3)\n" in text
    assert text.endswith("  1 dropped, as requested\n    x  () int8")


def test_mismatches_fold_in_the_error_and_none_is_left_out():
    """A thousand layers with one wrong width are one line; thirty different ones are thirty
    lines."""
    arrays = [ArraySpec(f"l{i}/w", (2,), "int8") for i in range(1000)]
    arrays += [ArraySpec(f"odd{i}", (i,), "int8") for i in range(30)]
    variables = [VariableSpec(a.name, (99,), "int8") for a in arrays]
    error = match([SourceSpecs("s", arrays)], variables, "t").error()
    lines = str(error).splitlines()
    assert lines[0] == "s -> t: 1,030 arrays do not fit, and nothing was written:"
    assert lines[1] == "  l{0..999}/w: 1000 x shape (2,) does not fit (99,)"
    assert len([line for line in lines if line.startswith("  odd")]) == 30


names = st.lists(
    st.lists(st.text("ab1/. {},\\\n", min_size=1, max_size=4), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda name: name == normalise(name)),
    max_size=12,
    unique=True,
)
shapes = st.sampled_from([(2,), (3,), (1, 2)])
kinds = st.sampled_from(["float32", "int8"])


def specs_of(draw, kind):
    return [kind(name, draw(shapes), draw(kinds)) for name in draw(names)]


@given(st.data())
def test_expanding_the_text_gives_back_exactly_the_names(data):
    """to_text(limit=None) has exactly the names of the rows, each with its kind, and its
    shape and dtype or what differs."""
    arrays = specs_of(data.draw, ArraySpec)
    variables = specs_of(data.draw, VariableSpec)
    arrays += [ArraySpec(v.name, v.shape, v.dtype) for v in variables if data.draw(st.booleans())]
    arrays = list({spec.name: spec for spec in arrays}.values())
    plan = match([SourceSpecs("s", arrays)], variables, "t")
    told = []
    title = ""
    for line in plan.to_text(limit=None).splitlines()[1:]:
        if not line.startswith("    "):
            title = line.split(maxsplit=1)[1]
            continue
        folded, note = re.fullmatch(r"    (.*?)  (?:\d+ x )?(\S.*)", line).groups()
        told += [(title, name, note) for name in expand(folded)]
    expected = [
        (_TITLES[row.kind.value, row.expected], row.name, row_note(row, plan)) for row in plan
    ]
    assert sorted(told) == sorted(expected)
    for row in plan:
        note = row_note(row, plan)
        shapes = {str(shape) for shape in (row.shape, row.array_shape) if shape is not None}
        dtypes = {dtype for dtype in (row.dtype, row.array_dtype) if dtype is not None}
        if row.kind is Kind.MISMATCHED:  # what fits, or would but for axes of length 1, is left out
            shapes = shapes if shapes - {"(2,)", "(1, 2)"} and len(shapes) > 1 else set()
            dtypes = dtypes if len(dtypes) > 1 else set()
        assert [fact for fact in shapes | dtypes if fact not in note] == []
