"""initreg.plan.matching: what becomes of every name, on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.errors import AmbiguousNames, DuplicateName
from initreg.names import Patterns
from initreg.plan.expectations import SourceSpecs
from initreg.plan.judging import judge
from initreg.plan.matching import match
from initreg.plan.rows import RESTORED, Kind
from initreg.specs import ArraySpec, VariableSpec
from initreg_formats.tf_checkpoint.slots import slots


def array(name, shape=(2, 3), dtype="float32", *aliases):
    return ArraySpec(name, shape, dtype, aliases)


def variable(name, shape=(2, 3), dtype="float32", *aliases):
    return VariableSpec(name, shape, dtype, aliases)


def plan_of(sources, variables, **options):
    specs = [SourceSpecs(f"s{i}", arrays, **options) for i, arrays in enumerate(sources)]
    return match(specs, variables, "target", slots=slots)


def kinds(plan):
    return [(row.kind.value, row.name, row.source) for row in plan]


@pytest.mark.parametrize(
    ("have", "want", "kind"),
    [
        ((2, 3), (2, 3), Kind.MATCHED),
        ((), (), Kind.MATCHED),
        ((), (1,), Kind.RESHAPED),
        ((1, 1), (), Kind.RESHAPED),
        ((1, 2, 3), (2, 1, 3), Kind.RESHAPED),
        ((1, 0), (0,), Kind.RESHAPED),
        ((2, 3), (3, 2), Kind.MISMATCHED),
        ((6,), (2, 3), Kind.MISMATCHED),
        ((0, 2), (2, 0), Kind.MISMATCHED),
        ((2, 3), (2, 4), Kind.MISMATCHED),
        ((2, 3), None, Kind.MATCHED),
        ((2, 3), (None, 3), Kind.MATCHED),
        ((2, 4), (None, 3), Kind.MISMATCHED),
    ],
)
def test_shapes_are_equal_or_differ_by_axes_of_length_1(have, want, kind):
    """Nothing but axes of length 1 is reshaped; None takes any length, or any shape."""
    assert judge(array("x", have), variable("x", want))[0] is kind


@pytest.mark.parametrize(
    ("have", "want", "kind"),
    [
        ("float64", "float32", Kind.CAST),
        ("bfloat16", "float8_e5m2", Kind.CAST),
        ("int32", "int64", Kind.CAST),
        ("int64", "int32", Kind.MISMATCHED),
        ("int32", "float32", Kind.MISMATCHED),
        ("string", "string", Kind.MATCHED),
        ("string", "float32", Kind.MISMATCHED),
    ],
)
def test_dtypes_are_equal_or_cast_within_their_kind(have, want, kind):
    """Floats are cast, integers widened, and every other difference is a mismatch."""
    assert judge(array("x", dtype=have), variable("x", dtype=want))[0] is kind


def test_a_mismatch_says_both_shapes_and_both_dtypes():
    """The reason names everything that is wrong."""
    _, reason = judge(array("x", (2, 3), "int32"), variable("x", (3, 2), "float32"))
    assert reason == "shape (2, 3) does not fit (3, 2) and dtype int32 is not cast to float32"


def test_names_are_compared_exactly_after_one_normalisation():
    """':0' and the attribute suffix are dropped on both sides; nothing else is guessed."""
    arrays = [array("a:0"), array("b/.ATTRIBUTES/VARIABLE_VALUE"), array("C"), array("d:1")]
    variables = [variable("a"), variable("b:0"), variable("c"), variable("d")]
    plan = plan_of([arrays], variables)
    assert [row.name for row in plan.restored] == ["a", "b"]
    assert [row.name for row in plan.of("only in target")] == ["c", "d"]
    assert [row.name for row in plan.of("only in source")] == ["C", "d:1"]


def test_the_last_source_that_has_the_name_supplies_the_variable():
    """The last source wins, and the earlier ones are recorded as overridden."""
    plan = plan_of([[array("a"), array("b")], [array("a")], [array("a")]], [variable("a")])
    assert kinds(plan) == [
        ("matched", "a", 2),
        ("overridden", "a", 1),
        ("overridden", "a", 0),
        ("only in source", "b", 0),
    ]
    assert [row.by for row in plan.of("overridden")] == [2, 2]


def test_what_is_overridden_is_not_checked():
    """An overridden array with another shape is not a mismatch."""
    plan = plan_of([[array("head", (9,))], [array("head")]], [variable("head")])
    assert kinds(plan) == [("matched", "head", 1), ("overridden", "head", 0)]


def test_a_later_mismatch_is_a_mismatch_even_if_an_earlier_source_fits():
    """Without ignore_mismatch, only the last source counts, even if it does not fit."""
    plan = plan_of([[array("a")], [array("a", (9,))]], [variable("a")])
    assert kinds(plan) == [("mismatched", "a", 1), ("overridden", "a", 0)]


def test_ignore_mismatch_falls_back_to_the_last_source_that_fits():
    """An array that does not fit is skipped, and an earlier source that fits supplies the
    variable."""
    sources = [[array("a")], [array("a", (1, 2, 3))], [array("a", (9,))]]
    plan = plan_of(sources, [variable("a")], ignore_mismatch=True)
    assert kinds(plan) == [
        ("reshaped", "a", 1),
        ("passed over", "a", 2),
        ("overridden", "a", 0),
    ]


def test_ignore_mismatch_of_all_leaves_the_variable():
    """If no array fits, all are skipped and the variable is not restored."""
    plan = plan_of([[array("a", (9,))], [array("a", (8,))]], [variable("a")], ignore_mismatch=True)
    assert kinds(plan) == [("passed over", "a", 1), ("passed over", "a", 0)]
    assert plan.restored == ()


def test_slots_of_restored_variables_are_a_kind_of_their_own():
    """<variable>/Adam is a slot only if <variable> is restored, on either side."""
    arrays = [
        array("w"),
        array("w/Adam"),
        array("w/Adam_1"),
        array("w/.OPTIMIZER_SLOT/optimizer/m"),
        array("other/Adam"),
        array("w/Adamant"),
    ]
    plan = plan_of([arrays], [variable("w"), variable("w/Momentum"), variable("lost/RMSProp")])
    assert [(row.name, row.in_target) for row in plan.of("optimiser slot")] == [
        ("w/Momentum", True),
        ("w/Adam", False),
        ("w/Adam_1", False),
        ("w/.OPTIMIZER_SLOT/optimizer/m", False),
    ]
    assert [row.name for row in plan.of("only in source")] == ["other/Adam", "w/Adamant"]
    assert [row.name for row in plan.of("only in target")] == ["lost/RMSProp"]


def test_slots_are_rows_as_any_others_unless_somebody_knows_them():
    """Planning itself knows no optimiser: what the names mean is handed in."""
    specs = [SourceSpecs("s", [array("w"), array("w/Adam"), array("w.m")])]
    plan = match(specs, [variable("w")], "target")
    assert [row.name for row in plan.of("only in source")] == ["w/Adam", "w.m"]
    asked = []

    def mine(names, variables):
        asked.append((set(names), set(variables)))
        return {"w.m": "w"}

    plan = match(specs, [variable("w")], "target", slots=mine)
    assert asked == [({"w/Adam", "w.m"}, {"w"})]
    assert [(row.name, row.reason) for row in plan.of("optimiser slot")] == [("w.m", "of w")]
    assert [row.name for row in plan.of("only in source")] == ["w/Adam"]


def test_slots_of_partitioned_variables():
    """Slots of partitioned variables are recognised: variable, end of its name, part, slot."""
    arrays = [
        array("dnn/hidden/kernel"),
        array("dnn/hidden/kernel/idden/kernel/part_0/RMSProp_1"),
        array("dnn/hidden/kernel/part_12/Adam"),
        array("dnn/other/kernel/part_0/Adam"),
    ]
    plan = plan_of([arrays], [variable("dnn/hidden/kernel")])
    assert [(row.name, row.reason) for row in plan.of("optimiser slot")] == [
        ("dnn/hidden/kernel/idden/kernel/part_0/RMSProp_1", "of dnn/hidden/kernel"),
        ("dnn/hidden/kernel/part_12/Adam", "of dnn/hidden/kernel"),
    ]
    assert [row.name for row in plan.of("only in source")] == ["dnn/other/kernel/part_0/Adam"]


def test_names_that_look_like_slots_of_slots_do_not_hold_up_the_plan():
    """Names with thousands of parts or nested slots, which took minutes, are matched fast."""
    odd = ["a/" * 50_000 + f"b{i}/part_0/Adam" for i in range(10)]
    odd += ["x/.OPTIMIZER_SLOT/" * 5_500 + f"\n{i}" for i in range(10)]
    plan = plan_of([[array(name) for name in ["w\n", "w\n/Adam", *odd]]], [variable("w\n")])
    assert [row.name for row in plan.of(Kind.SLOT)] == ["w\n/Adam"]
    assert len(plan.of(Kind.ONLY_IN_SOURCE)) == 20


def test_a_slot_on_both_sides_is_restored_like_any_variable():
    """A slot that both sides have is restored, as it is when a training goes on."""
    plan = plan_of([[array("w"), array("w/Adam")]], [variable("w"), variable("w/Adam")])
    assert [row.kind for row in plan] == [Kind.MATCHED, Kind.MATCHED]


def test_an_alias_matches_on_either_side():
    """Aliases of arrays and of variables match what the primary names left over."""
    arrays = [array("key/0", (2,), "float32", "full/name"), array("layers/dense/vars/0")]
    variables = [
        variable("full/name", (2,)),
        variable("dense/kernel", (2, 3), "float32", "layers/dense/vars/0"),
    ]
    plan = plan_of([arrays], variables)
    assert [(row.name, row.array) for row in plan.restored] == [
        ("full/name", "key/0"),
        ("dense/kernel", "layers/dense/vars/0"),
    ]


def test_a_first_name_goes_before_an_alias():
    """An array whose primary name matches is not given to a variable by an alias."""
    arrays = [array("a", (2, 3), "float32", "b")]
    plan = plan_of([arrays], [variable("b"), variable("a")])
    assert kinds(plan) == [("only in target", "b", None), ("matched", "a", 0)]


def test_a_place_in_the_model_goes_before_a_numbered_name():
    """A key that is an alias of the variable wins over a numbered weight name.

    In a model that is made later, the next layer has the weight names of the saved model.
    """
    arrays = [array(f"layer-{i}/w", (2, 3), "float32", f"dense_{i}/w") for i in range(3)]
    variables = [variable(f"dense_{i + 1}/w", (2, 3), "float32", f"layer-{i}/w") for i in range(3)]
    plan = match([SourceSpecs("ckpt", arrays)], variables, "model")
    assert [(row.name, row.array) for row in plan.restored] == [
        ("dense_1/w", "layer-0/w"),
        ("dense_2/w", "layer-1/w"),
        ("dense_3/w", "layer-2/w"),
    ]
    assert len(plan) == 3


def test_what_each_side_says_of_the_other_goes_before_names():
    """Pairs whose primary names are aliases of each other come before equal names."""
    arrays = [array("w", (2, 3), "float32", "b"), array("b", (2, 3), "float32", "w")]
    variables = [variable("b", (2, 3), "float32", "w"), variable("w", (2, 3), "float32", "b")]
    plan = plan_of([arrays], variables)
    assert [(row.name, row.array) for row in plan.restored] == [("b", "w"), ("w", "b")]


def test_names_and_aliases_that_contradict_each_other_are_an_error():
    """If two arrays may be meant for a variable without aliases, it is an error."""
    arrays = [array("w", (2, 3), "float32", "b"), array("b", (2, 3), "float32", "w")]
    with pytest.raises(AmbiguousNames, match=r"meant for 'w': .* alias 'b', and the array 'b'"):
        plan_of([arrays], [variable("w"), variable("b")])
    assert len(plan_of([arrays], [variable("c"), variable("d")]).restored) == 0
    plain = [array("w", (2, 3), "float32"), array("b", (2, 3), "float32", "w")]
    assert [row.array for row in plan_of([plain], [variable("w")]).restored] == ["w"]


def test_an_alias_of_two_arrays_is_nobodys():
    """An alias that two arrays have matches nothing."""
    arrays = [array("x", (2, 3), "float32", "v"), array("y", (2, 3), "float32", "v")]
    plan = plan_of([arrays], [variable("v")])
    assert plan.restored == ()


@pytest.mark.parametrize("side", ["source", "target"])
def test_two_equal_names_on_one_side_are_an_error(side):
    """Names that differ only by ':0' on one side are an error."""
    arrays, variables = [array("a")], [variable("a")]
    if side == "source":
        arrays.append(array("a:0"))
    else:
        variables.append(variable("a:0"))
    with pytest.raises(DuplicateName, match="'a'"):
        plan_of([arrays], variables)


def test_what_the_rules_dropped_has_rows():
    """Arrays that rules dropped have rows in the plan."""
    specs = [SourceSpecs("s", [array("a")], dropped=[array("b")])]
    plan = match(specs, [variable("a")], "t")
    assert kinds(plan) == [("matched", "a", 0), ("dropped", "b", 0)]


def test_rows_say_what_the_source_calls_the_array_and_what_is_done_to_it():
    """The origin and the changes of a ruled array are in its row."""
    spec = ArraySpec("w", (3, 2), "float32", (), "model/w", ("permuted (1, 0) from (2, 3)",))
    row = plan_of([[spec]], [variable("w", (3, 2))])[0]
    assert (row.name, row.array, row.changes) == ("w", "model/w", spec.changes)
    assert row.to_dict()["changes"] == ["permuted (1, 0) from (2, 3)"]


def test_expectations_mark_rows_and_count_as_met():
    """Patterns match by any name on either side, and those that match nothing are listed."""
    arrays = [array("a"), array("key", (2, 3), "float32", "full"), array("other")]
    source = SourceSpecs("s", arrays, expected=Patterns(["full", "no*"], "expect_unused"))
    plan = match(
        [source],
        [variable("a"), variable("head/w"), variable("x")],
        "t",
        expect_missing=Patterns(["head/*", "a"], "expect_missing"),
    )
    assert {row.name: row.expected for row in plan} == {
        "a": False,
        "head/w": True,
        "x": False,
        "key": True,
        "other": False,
    }
    assert plan.unmet == ("expect_missing='a'", "expect_unused='no*'")


def test_ignored_pairs_are_not_pairs():
    """ignore= matches names of arrays and variables, and an earlier source may supply the
    variable."""
    late = SourceSpecs("late", [array("a"), array("b")], ignored=Patterns("a", "ignore"))
    plan = match([SourceSpecs("early", [array("a")]), late], [variable("a"), variable("b")], "t")
    assert kinds(plan) == [("matched", "a", 0), ("matched", "b", 1), ("dropped", "a", 1)]
    alone = match([late], [variable("a"), variable("b")], "t")
    assert [(row.kind, row.expected) for row in alone if row.in_target] == [
        ("only in target", True),
        ("matched", False),
    ]


def test_an_array_is_ignored_by_the_name_of_its_variable():
    """ignore= with the name of a variable leaves out its array, whatever the array is called."""
    source = SourceSpecs(
        "s", [array("k", (2, 3), "float32", "v")], ignored=Patterns("v*", "ignore")
    )
    plan = match([source], [variable("v")], "t")
    assert kinds(plan) == [("only in target", "v", None), ("dropped", "k", 0)]
    assert plan.unmet == ()


short = st.text("ab", min_size=1, max_size=2)
shapes = st.sampled_from([(2, 3), (3, 2), (1, 2, 3)])
arrays_of = st.dictionaries(short, shapes, max_size=5)


@given(st.lists(arrays_of, max_size=3), arrays_of, st.booleans())
def test_every_name_has_its_rows_and_no_variable_is_written_twice(chain, target, ignore):
    """For any names, each array has one row and each variable is restored at most once."""
    sources = [[array(name, shape) for name, shape in arrays.items()] for arrays in chain]
    variables = [variable(name, shape) for name, shape in target.items()]
    plan = plan_of(sources, variables, ignore_mismatch=ignore)
    in_rows = sorted((row.source, row.array) for row in plan if row.source is not None)
    assert in_rows == sorted((i, name) for i, arrays in enumerate(chain) for name in arrays)
    restored = [row.name for row in plan.restored]
    assert len(restored) == len(set(restored))
    assert {row.name for row in plan if row.in_target} == set(target)
    for row in plan:
        if row.kind in RESTORED:
            later = chain[row.source + 1 :]
            fits = [judge(array("x", a[row.name]), variable("x", row.shape))[0]
                    for a in later if row.name in a]  # fmt: skip
            assert all(kind is Kind.MISMATCHED for kind in fits)
            assert ignore or not fits
    if ignore:
        assert not plan.of("mismatched")


def test_a_hundred_thousand_names_are_matched():
    """Of 100,000 names on each side half match, and each name has its row."""
    arrays = [array(f"l{i}/w") for i in range(100_000)]
    plan = plan_of([arrays], [variable(f"l{i}/w") for i in range(50_000, 150_000)])
    counts = {"matched": 50_000, "only in target": 50_000, "only in source": 50_000}
    assert {kind.value: count for kind, count in plan.counts.items()} == counts
