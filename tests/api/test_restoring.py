"""initreg.api.restoring: policies, hints, all or nothing, and what can be planned for."""

import sys
import warnings

import numpy as np
import pytest

import initreg
from initreg import (
    CastWarning,
    MismatchError,
    MissingError,
    MissingWarning,
    NothingMatched,
    PartialRestoreError,
    ReshapeWarning,
    RuleError,
    SmartInit,
    TargetError,
    UnmetWarning,
    UnusedError,
    UnusedWarning,
)


def target(**shapes):
    return {name: np.zeros(shape, "f4") for name, shape in shapes.items()}


# --- policies and expectations ------------------------------------------------------------------


def test_missing_and_unused_may_be_errors_and_nothing_is_written(base):
    """Each has an error of its own, which lists the names and says what to pass."""
    variables = target(w=(2, 3), c=(3,))
    with pytest.raises(MissingError) as caught:
        SmartInit(base, on_missing="error").init(variables)
    assert str(caught.value) == (
        f"{base} -> dict of arrays: 1 variable is supplied by no source, which on_missing='error' "
        "does not allow, and nothing was written:\n"
        "  c  (3,) float32\n"
        'Pass expect_missing=["c"] if that is expected'
    )
    with pytest.raises(UnusedError, match=r'Pass expect_unused=\["b"\]') as caught:
        SmartInit(base, on_unused="error").init(variables)
    assert [row.name for row in caught.value.plan.unused("error")] == ["b"]
    assert not variables["w"].any()


def test_all_that_is_wrong_is_raised_together(base):
    """A mismatch, a missing variable and an unused array are one error that tells all three."""
    variables = target(w=(9,), c=(7,))
    with pytest.raises(MismatchError) as caught:
        SmartInit(base, on_missing="error", on_unused="error").init(variables)
    message = str(caught.value)
    assert "1 array does not fit; 1 variable is supplied by no source" in message
    assert "1 array is taken by no variable, which on_unused='error' does not allow" in message
    for line in ("w: shape (2, 3) does not fit (9,)", "c  (7,) float32", "b  (3,) float32"):
        assert f"\n  {line}\n" in message


def test_ignored_policies_say_nothing(base):
    """on_missing="ignore" and on_unused="ignore" warn of nothing, and the plan still knows."""
    variables = target(w=(2, 3), c=(3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit(base, on_missing="ignore", on_unused="ignore").init(variables)
    assert plan.counts == {"matched": 1, "only in target": 1, "only in source": 1}


def test_what_is_expected_is_reported_quietly(base):
    """expect_missing and expect_unused: no warning, no error, a section of their own."""
    variables = target(w=(2, 3), head__w=(3,))
    variables["head/w"] = variables.pop("head__w")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit(
            base,
            on_missing="error",
            on_unused="error",
            expect_missing="head/*",
            expect_unused=["b"],
        ).init(variables)
    assert [(row.name, row.expected, row.reason) for row in plan if not row.array] == [
        ("head/w", True, "expect_missing='head/*'")
    ]
    assert "  1 only in the target, as expected\n    head/w  (3,) float32" in str(plan)
    assert "  1 only in the source, as expected\n    b  (3,) float32" in str(plan)
    assert plan.missing("error") == plan.unused("error") == ()


def test_what_nothing_met_is_a_warning(base):
    """An expectation or ignore= that is misspelt, or of what was restored, is told of once."""
    variables = target(w=(2, 3), b=(3,))
    smart_init = SmartInit(base, expect_missing=["hed/*", "w"], expect_unused="x", ignore="y")
    with pytest.warns(UnmetWarning) as caught:
        plan = smart_init.init(variables)
    assert len(caught) == 1
    assert plan.unmet == (
        "expect_missing='hed/*'",
        "expect_missing='w'",
        "expect_unused='x'",
        "ignore='y'",
    )
    assert "nothing matches expect_missing='hed/*', expect_missing='w'" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert "  unmatched pattern: expect_unused='x'" in str(plan)


def test_ignored_names_are_left_alone(base):
    """ignore= restores neither, warns of neither, and shows the array as left out."""
    variables = target(w=(2, 3), b=(3,))
    variables["lr"] = np.full((), 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit([base, {"lr": np.ones(())}], ignore=["b:0", "l*"]).init(variables)
    assert (variables["lr"], variables["b"].tolist()) == (5, [0, 0, 0])
    assert [(r.name, r.source, r.reason) for r in plan.of("dropped")] == [
        ("b", 0, "ignore='b:0'"),
        ("lr", 1, "ignore='l*'"),
    ]


@pytest.mark.parametrize("option", ["on_missing", "on_unused"])
def test_a_policy_is_one_of_three(option):
    """Anything else is an error before anything is opened."""
    with pytest.raises(RuleError, match=f"{option}='eror': give 'warn', 'error' or 'ignore'"):
        SmartInit("no such file", **{option: "eror"})


def test_little_that_matches_is_said_with_a_hint():
    """One of five names matches, the others have a prefix too much: the first warning says so."""
    source = {f"model/w{i}": np.ones(2) for i in range(4)} | {"step": np.ones(())}
    variables = {f"w{i}": np.zeros(2) for i in range(4)} | {"step": np.zeros(())}
    with pytest.warns() as caught:
        plan = SmartInit(source).init(variables)
    assert [w.category for w in caught] == [MissingWarning, UnusedWarning]
    hint = "5 of 5 names match after removing 'model/': SmartInit(source, strip_prefix=\"model/\")"
    assert str(caught[0].message).endswith(f"\n  hint: {hint}")
    assert "hint" not in str(caught[1].message)
    assert [str(hint) for hint in plan.hints] == [hint]


def test_the_link_of_a_chain_that_matches_little_is_named(base, tmp_path):
    """Of two sources the one whose names are off is said, with what it needs."""
    np.savez(tmp_path / "head.npz", **{"net/h": np.ones(2), "net/g": np.ones(2)})
    plan = SmartInit([base, tmp_path / "head.npz"]).plan(target(w=(2, 3), b=(3,), h=(2,), g=(2,)))
    (hint,) = plan.hints
    assert hint.words == f"2 of 2 names of {tmp_path}/head.npz match after removing 'net/'"
    head = f'SmartInit("{tmp_path}/head.npz", strip_prefix="net/")'
    assert hint.code == f'SmartInit(["{base}", {head}])'


def test_a_hint_for_a_source_with_rules_keeps_them():
    """What is typed goes around the SmartInit that is there already."""
    source, model = {"a/model/w": np.ones(2)}, {"w": np.zeros(2)}
    code = SmartInit(source, strip_prefix="a/").plan(model).hints[0].code
    assert code == 'SmartInit(SmartInit(source, strip_prefix="a/"), strip_prefix="model/")'
    eval(code, {"SmartInit": SmartInit, "source": source}).init(model)
    assert model["w"].tolist() == [1, 1]


def test_a_hint_keeps_how_the_source_is_opened(tmp_path):
    """A pickle that the user allowed is allowed in the code, too."""
    np.save(tmp_path / "zoo.npy", {"model/w": np.ones(2)})
    model = {"w": np.zeros(2)}
    code = SmartInit(tmp_path / "zoo.npy", allow_pickle=True).plan(model).hints[0].code
    assert code == f'SmartInit("{tmp_path}/zoo.npy", allow_pickle=True, strip_prefix="model/")'
    assert eval(code, {"SmartInit": SmartInit}).plan(model).ok


def test_a_misspelt_name_among_many_is_found():
    """One variable missing and one array unused that are almost called the same: the rename."""
    names = [f"layer{i}/kernel" for i in range(9)]
    source = {name: np.ones(2) for name in [*names, "hed/kernel"]}
    plan = SmartInit(source).plan({name: np.zeros(2) for name in [*names, "head/kernel"]})
    assert [hint.options for hint in plan.hints] == [{"rename": {"hed/kernel": "head/kernel"}}]


def test_two_layers_are_no_misspelling():
    """Names that differ by numbers alone are different layers, and no hint is given."""
    source = {f"layer{i}/kernel": np.ones(2) for i in range(9)}
    shifted = {f"layer{i}/kernel": np.zeros(2) for i in range(1, 10)}
    assert SmartInit(source).plan(shifted).hints == ()


def test_the_hint_for_transposed_arrays_is_code_that_runs():
    """Mismatches that another order of axes mends come with the rule that does it."""
    source = {"fc/W": np.ones((2, 3)), "conv/W": np.ones((8, 4, 3, 5)), "b": np.ones(2)}
    variables = {"fc/W": np.zeros((3, 2)), "conv/W": np.zeros((3, 5, 4, 8)), "b": np.zeros(2)}
    with pytest.raises(MismatchError) as caught:
        SmartInit(source).init(variables)
    (hint,) = caught.value.plan.hints
    assert str(hint) == (
        "2 arrays would fit with their axes in other orders, as if from PyTorch: "
        'SmartInit(source, transpose=["fc/W"], permute={"conv/W": (2, 3, 1, 0)})'
    )
    assert str(hint) in str(caught.value)
    eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(variables)
    assert all(array.all() for array in variables.values())


def test_what_is_passed_over_and_supplied_by_nobody_is_missing():
    """ignore_mismatch does not get around on_missing="error", and meets an expectation."""
    source = {"w": np.ones(3), "head": np.ones(10)}
    model = {"w": np.zeros(3), "head": np.zeros(2)}
    with pytest.raises(MissingError, match=r"1 variable is supplied by no source"):
        SmartInit(source, ignore_mismatch=True, on_missing="error").init(model)
    assert not model["w"].any()
    expecting = SmartInit(source, ignore_mismatch=True, on_missing="error", expect_missing="head*")
    assert expecting.plan(model).ok
    assert expecting.plan(model).unmet == ()
    base = {"head": np.ones(2)}
    assert SmartInit([base, source], ignore_mismatch=True, on_missing="error").plan(model).ok


def test_nothing_to_restore_is_not_enough_where_nothing_may_be_missing():
    """A filter that emptied the dict is an error if all was demanded, or if a rule is given."""
    model = {"w": np.zeros(3)}
    for nothing in ({}, None, [], [{}]):
        with pytest.raises(MissingError, match="nothing -> dict of arrays: 1 variable is supplied"):
            SmartInit(nothing, on_missing="error").init(model)
    with pytest.raises(RuleError, match="strip_prefix='model/' matches no array"):
        SmartInit({}, strip_prefix="model/")
    assert len(SmartInit(None, strip_prefix="model/").plan(model)) == 0


def test_an_open_map_that_rules_emptied_is_not_nothing(base):
    """It is a source that matches nothing, as it is when SmartInit itself drops everything."""
    with initreg.open(base) as m:
        for emptied in (SmartInit(m.drop("*")), SmartInit(base, drop="*")):
            with pytest.raises(NothingMatched, match="2 arrays dropped by rules or ignore=, and"):
                emptied.init({"w": np.zeros((2, 3))})


def test_everything_ignored_is_said_as_what_it_is(base):
    """Not that no name matches, for they do."""
    with pytest.raises(NothingMatched) as caught:
        SmartInit(base, ignore=["w", "b"]).init({"w": np.zeros((2, 3))})
    assert str(caught.value).startswith(f"no array left in {base} has the name of a variable in")
    assert "2 arrays dropped by rules or ignore=" in str(caught.value)


def test_variables_may_be_the_source_of_themselves():
    """A swap of two live variables reads both before it writes either."""
    tf = pytest.importorskip("tensorflow", reason="of live variables")
    a, b = tf.Variable([1.0], name="a"), tf.Variable([2.0], name="b")
    SmartInit({"a": b, "b": a}).init([a, b])
    assert (a.numpy().tolist(), b.numpy().tolist()) == ([2], [1])


def test_a_step_counter_under_a_rule_for_all_is_still_a_number():
    """transpose="*" gives a variable without axes a value without axes."""
    tf = pytest.importorskip("tensorflow", reason="a dict's array keeps its shape anyway")
    step, w = tf.Variable(np.int64(0), name="step"), tf.Variable(np.zeros((3, 2)), name="w")
    source = {"step": np.int64(7), "w": np.arange(6.0).reshape(2, 3)}
    SmartInit(source, transpose="*").init([step, w])
    assert (step.numpy().shape, int(step.numpy())) == ((), 7)
    assert w.numpy().tolist() == source["w"].T.tolist()


def test_a_rename_of_a_checkpoints_names_wins_over_places(tmp_path):
    """Names of an object-based checkpoint swapped by a rule are swapped in a tf.Module, whose
    places in it are the same."""
    tf = pytest.importorskip("tensorflow", reason="writes the checkpoint")

    class Two(tf.Module):
        def __init__(self, x, y):
            super().__init__()
            self.p = tf.Variable([x], name="left")
            self.q = tf.Variable([y], name="right")

    saved = Two(1.0, 2.0)
    path = tf.train.Checkpoint(p=saved.p, q=saved.q).write(str(tmp_path / "flat"))
    ours = Two(0.0, 0.0)
    SmartInit(path, rename={"left": "right", "right": "left"}).init(ours)
    assert (ours.p.numpy().tolist(), ours.q.numpy().tolist()) == ([2], [1])
    gone = SmartInit(path, rename={"left": "gone"}).plan(ours)
    assert [(row.name, row.kind) for row in gone if row.in_target] == [
        ("left", "only in target"),
        ("right", "matched"),
    ]


def test_exact_names_are_looked_up():
    """drop= of a list of names does not go through the list for each array: ten times as many
    names are ten times the calls, not a hundred times."""

    def calls(count):
        names = [f"x{i}" for i in range(count)]
        source = {name: np.zeros(()) for name in names}
        found = 0

        def note(frame, event, argument):
            nonlocal found
            found += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            plan = SmartInit(source, drop=names[1:]).plan({"x0": np.zeros(())})
        finally:
            sys.setprofile(before)
        assert plan.counts == {"matched": 1, "dropped": count - 1}
        return found

    assert calls(3000) < 20 * calls(300)


def test_a_warning_points_to_the_users_line_through_a_plugin():
    """Though a plugin of the targets draws the array whose cast is warned of."""
    tf = pytest.importorskip("tensorflow", reason="a dict is read as a whole")
    v = tf.Variable(np.zeros(1, "f2"), name="a")
    with pytest.warns(CastWarning) as caught:
        SmartInit({"a": np.full(1, 1e9, "f4")}).init([v])
    assert {w.filename for w in caught} == {__file__}


# --- all or nothing -----------------------------------------------------------------------------


def test_atomic_finds_damage_before_the_first_write(tmp_path):
    """The last array's failed checksum leaves every variable as it was, and is the error itself."""
    tf = pytest.importorskip("tensorflow", reason="a dict is filled when all has been read")
    path = tmp_path / "m.npz"
    count = 200_000  # so that they are not read in one go
    np.savez(path, a=np.full(count, 1.0), b=np.full(count, 1.0))
    data = bytearray(path.read_bytes())
    data[data.rindex(np.float64(1).tobytes() * 8)] ^= 1
    path.write_bytes(data)
    variables = [tf.Variable(np.zeros(count), name=name) for name in "ab"]
    with pytest.raises(initreg.DamagedFile, match="array 'b' fails its crc32"):
        SmartInit(path, atomic=True).init(variables)
    assert not variables[0].numpy().any()
    with pytest.raises(PartialRestoreError, match="With atomic=True, all is read before"):
        SmartInit(path).init(variables)
    assert variables[0].numpy().all()


def test_atomic_restores_what_is_whole(base):
    """With nothing wrong, the result is the same."""
    variables = target(w=(2, 3), b=(3,))
    assert len(SmartInit(base, atomic=True).init(variables).restored) == 2
    assert (variables["w"][0, 0], variables["b"].tolist()) == (2, [3, 3, 3])


def test_a_cast_rule_that_loses_values_is_found_when_they_are_read():
    """An int64 of 2**40 is not wrapped into an int32: RuleError, and nothing is written."""
    variables = {"step": np.zeros((), "i4")}
    with pytest.raises(RuleError, match=r"values from 1099511627776 to .* do not fit into int32"):
        SmartInit({"step": np.array(2**40)}, cast={"step": "int32"}).init(variables)
    assert variables["step"] == 0
    SmartInit({"step": np.array(7)}, cast={"step": "int32"}).init(variables)
    assert variables["step"] == 7


def test_an_array_that_is_reshaped_and_cast_is_told_as_both():
    """It is in both warnings, and what its values lose is in a third one."""
    model = {"w": np.zeros((1, 2), "f2"), "b": np.zeros(2, "f2")}
    with pytest.warns() as caught:
        plan = SmartInit({"w": np.array([1.5, 1e9], "f4"), "b": np.ones(2, "f4")}).init(model)
    assert plan.counts == {"reshaped": 1, "cast": 1}
    assert [w.category for w in caught] == [ReshapeWarning, CastWarning, CastWarning]
    texts = [str(w.message) for w in caught]
    assert "1 reshaped by axes of length 1:\n  w  (2,) float32 -> (1, 2) float16" in texts[0]
    assert "2 cast:\n" in texts[1]
    assert "\n  w  (2,) float32 -> (1, 2) float16" in texts[1]
    assert "\n  b  (2,) float32 -> float16" in texts[1]
    assert texts[2] == "w: 1 value of float32 beyond the range of float16 became infinite"
    assert model["w"].tolist() == [[1.5, np.inf]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, "V2"), r"dtype \|V2 is not cast to float32, because it is raw bytes"),
        (np.zeros(2, "M8[s]"), r"dtype datetime64\[s\] is not cast to float32\n"),
        (np.zeros(2, [("a", "f4")]), r"dtype \[\('a', '<f4'\)\] is not cast to float32\n"),
    ],
)
def test_what_is_no_number_is_restored_as_it_is_or_not_at_all(array, message):
    """Into an array of its own dtype, and into no other."""
    with pytest.raises(MismatchError, match=message):
        SmartInit({"w": array}).init({"w": np.zeros(2, "f4")})
    model = {"w": np.ones(2, "u1").repeat(array.itemsize).view(array.dtype)}
    SmartInit({"w": array}).init(model)
    assert model["w"].tobytes() == array.tobytes()


def test_structured_arrays_of_other_fields_do_not_fit():
    """Though their elements have as many bytes: numpy would copy field by field."""
    model = {"w": np.zeros(2, [("b", "i4")])}
    with pytest.raises(MismatchError, match=r"dtype \[\('a', '<f4'\)\] is not cast to"):
        SmartInit({"w": np.ones(2, [("a", "f4")])}).init(model)
    assert not model["w"]["b"].any()


# --- what can be planned for ----------------------------------------------------------------------


def test_an_open_map_can_be_planned_for_and_not_written(base):
    """Its names, shapes and dtypes stand for a model's; init says what to give instead."""
    with initreg.open({"w": np.zeros((2, 3), "f4"), "c": np.zeros(1)}) as m:
        plan = SmartInit(base).plan(m)
        with pytest.raises(TargetError, match="can be planned for, but not written"):
            SmartInit({"w": np.zeros((2, 3), "f4"), "c": np.zeros(1)}).init(m)
    assert [(row.kind, row.name) for row in plan] == [
        ("matched", "w"),
        ("only in target", "c"),
        ("only in source", "b"),
    ]


def test_a_target_of_ones_own_is_a_target(base):
    """Whatever has a label, variables() and write() needs no plugin."""

    class Printer:
        label = "printer"
        written = []

        def variables(self):
            return [initreg.VariableSpec("b", (3,), "float32")]

        def write(self, arrays):
            for spec, array in arrays:
                self.written.append((spec.name, array.tolist()))
                yield spec.name

    SmartInit(base, on_unused="ignore").init(Printer())
    assert Printer.written == [("b", [3, 3, 3])]


# --- targets that break their contract ------------------------------------------------------------


class Dict:
    """A target over a dict of arrays."""

    label = "a dict"

    def __init__(self, values):
        self.values = values

    def variables(self):
        return [
            initreg.VariableSpec(name, value.shape, value.dtype.name)
            for name, value in self.values.items()
        ]

    def write(self, arrays):
        for variable, array in arrays:
            self.values[variable.name][...] = array
            yield variable.name


class StopsEarly(Dict):
    def write(self, arrays):
        for number, name in enumerate(super().write(arrays)):
            yield name
            if number == 0:
                return


class NamesNone(Dict):
    def write(self, arrays):
        for _ in super().write(arrays):
            yield "nope"


def zeros():
    return {name: np.zeros(2) for name in "abc"}


def test_a_target_that_stops_early_has_not_restored_all():
    """The error lists what was written and what was not, as after any other failure."""
    values = zeros()
    with pytest.raises(
        initreg.PartialRestoreError, match="stopped before it had written"
    ) as caught:
        initreg.SmartInit({name: np.ones(2) for name in "abc"}).init(StopsEarly(values))
    assert (caught.value.written, caught.value.not_written) == (("a",), ("b", "c"))
    assert [values[name].tolist() for name in "abc"] == [[1, 1], [0, 0], [0, 0]]


def test_a_target_that_names_other_variables_has_restored_none():
    """What it yields are the names of what it was given, or nothing is known to be written."""
    with pytest.raises(initreg.PluginError, match="had written 3 variables"):
        initreg.SmartInit({name: np.ones(2) for name in "abc"}).init(NamesNone(zeros()))


def test_a_target_that_cannot_list_its_variables():
    """One TargetError that names it, for what it raises and for what is not a VariableSpec."""

    class Raises(Dict):
        def variables(self):
            raise RuntimeError("not built")

    class Odd(Dict):
        def variables(self):
            return [5]

    for target, message in (
        (Raises({}), "a dict: cannot list its variables: RuntimeError: not built"),
        (Odd({}), "a dict: lists 5, which is not a VariableSpec"),
    ):
        with pytest.raises(initreg.TargetError, match=message):
            initreg.SmartInit({"a": np.ones(2)}).plan(target)
