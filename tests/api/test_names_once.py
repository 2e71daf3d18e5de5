"""A name is normalised once, wherever it comes from: "a:0:0" and "a" are two names."""

import numpy as np
import pytest

import initreg
from initreg import NothingMatched, RuleError, SmartInit

KEY = "/.ATTRIBUTES/VARIABLE_VALUE"
# Spellings of two names.
PLAIN = ["a", "a:0", f"a{KEY}", f"a{KEY}:0"]
OTHER = ["a:0:0", f"a:0{KEY}", f"a:0{KEY}:0"]


@pytest.mark.parametrize("theirs", PLAIN + OTHER)
@pytest.mark.parametrize("ours", PLAIN + OTHER)
def test_two_names_are_two_names(theirs, ours):
    """An array goes into the variable of its name, in whatever spelling, and into no other one."""
    model = {ours: np.zeros(2)}
    if (theirs in PLAIN) == (ours in PLAIN):
        plan = SmartInit({theirs: np.ones(2)}).init(model)
        assert plan.counts == {"matched": 1}
        assert model[ours].all()
    else:
        with pytest.raises(NothingMatched):
            SmartInit({theirs: np.ones(2)}).init(model)
        assert not model[ours].any()


def test_both_side_by_side():
    """Each goes into its own, and the plan has a row for each."""
    model = {"a": np.zeros(2), "a:0:0": np.zeros(2)}
    plan = SmartInit({"a:0:0": np.ones(2), "a:0": np.full(2, 2.0)}).init(model)
    assert [row.name for row in plan] == ["a", "a:0:0"]
    assert (model["a"].tolist(), model["a:0:0"].tolist()) == ([2, 2], [1, 1])
    with initreg.open(model) as opened:  # a map stands for a model, too
        assert SmartInit({"a:0:0": np.ones(2)}).plan(opened).counts == {
            "matched": 1,
            "only in target": 1,
        }


def test_a_loaded_dict_is_a_source_again():
    """What initreg calls an array is what it is called: nothing is dropped once more."""
    loaded = initreg.load({"a:0:0": np.ones(2), "a": np.zeros(2)})
    model = {"a": np.ones(2), "a:0:0": np.zeros(2)}
    SmartInit(loaded).init(model)
    assert (model["a"].tolist(), model["a:0:0"].tolist()) == ([0, 0], [1, 1])
    with initreg.open(loaded) as opened:
        assert list(initreg.load(dict(opened))) == list(loaded)


SOURCE = {"a:0:0": np.ones(2), "a": np.zeros(2), "p/a:0:0": np.full(2, 2), "p/a": np.full(2, 3)}


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ({"drop": "a:0:0"}, ["a", "p/a:0:0", "p/a"]),
        ({"drop": f"a:0{KEY}"}, ["a", "p/a:0:0", "p/a"]),
        ({"drop": "a:0"}, ["a:0:0", "p/a:0:0", "p/a"]),
        ({"keep": "*a:0:0"}, ["a:0:0", "p/a:0:0"]),
        ({"keep": "p/a:0"}, ["p/a"]),
        ({"keep": ["p/*"], "strip_prefix": "p/"}, ["a:0:0", "a"]),
        ({"keep": ["a", "a:0:0"], "prefix": "q/"}, ["q/a:0:0", "q/a"]),
        ({"rename": {"a:0:0": "b", "a": "c:0"}}, ["b", "c", "p/a:0:0", "p/a"]),
        ({"rename": [("^p/", "q/")]}, ["a:0:0", "a", "q/a:0:0", "q/a"]),
        ({"rename": lambda name: name.upper()}, ["A:0:0", "A", "P/A:0:0", "P/A"]),
        ({"rename": [("^a$", "b:0:0")]}, ["a:0:0", "b:0:0", "p/a:0:0", "p/a"]),
    ],
)
def test_rules_take_and_give_names(rules, names):
    """Patterns match the name that they spell; a renaming does not cut a name that it leaves."""
    values = {name: array.tolist() for name, array in initreg.load(SOURCE, **rules).items()}
    assert list(values) == names
    if set(rules) == {"rename"}:
        assert list(values.values()) == [array.tolist() for array in SOURCE.values()]


def test_patterns_of_the_plan():
    """ignore=, expect_missing= and expect_unused= tell the two names apart."""
    model = {"a": np.zeros(2), "a:0:0": np.zeros(2)}
    plan = SmartInit({"a:0:0": np.ones(2), "a": np.ones(2)}, ignore="a:0:0").plan(model)
    assert [(row.name, row.kind) for row in plan if row.in_target] == [
        ("a", "matched"),
        ("a:0:0", "only in target"),
    ]
    plan = SmartInit({"a": np.ones(2), "b:0:0": np.ones(2)}, expect_missing="a:0:0").plan(model)
    assert [row.name for row in plan if row.expected] == ["a:0:0"]
    plan = SmartInit({"a": np.ones(2), "b:0:0": np.ones(2)}, expect_unused="b:0").plan(model)
    assert plan.unmet == ("expect_unused='b:0'",)


def test_what_does_not_match_is_an_error_that_shows_the_names():
    """A rule for the one name where only the other one exists."""
    with pytest.raises(RuleError, match=r"drop='a:0' matches no array.*'a:0:0'"):
        initreg.load({"a:0:0": np.ones(2)}, drop="a:0")


# --- TensorFlow ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow", reason="names its variables with ':0'")


def test_variables_of_a_session(tf):
    """Names of variables end in ':0': {"a:0": ...} is meant for a, and {"a:0:0": ...} is not."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("a", initializer=np.zeros(2))
        session.run(variable.initializer)
        with pytest.raises(NothingMatched):
            SmartInit({"a:0:0": np.ones(2)}).init(session)
        SmartInit({variable.name: np.ones(2)}).init(session)
        assert session.run(variable).tolist() == [1, 1]


@pytest.mark.parametrize("key", ["a:0", "a:0:0", "a"])
def test_names_of_a_saver(tf, tmp_path, key):
    """A key that a Saver was given is the name of the array, with one ':0' dropped."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("w", initializer=np.ones(2))
        session.run(variable.initializer)
        path = v1.train.Saver({key: variable}).save(session, str(tmp_path / "m"))
    model = {"a": np.zeros(2), "a:0:0": np.zeros(2)}
    SmartInit(path, on_missing="ignore").init(model)
    assert [name for name, array in model.items() if array.any()] == (
        ["a:0:0"] if key == "a:0:0" else ["a"]
    )


def test_a_variable_whose_name_ends_so(tf):
    """tf.Variable(name="a:0") calls itself "a:0:0", and that is its name."""
    v, w = tf.Variable([0.0], name="a:0"), tf.Variable([0.0], name="a")
    assert (v.name, w.name) == ("a:0:0", "a:0")
    SmartInit({"a:0:0": np.ones(1, "f4"), "a": np.full(1, 2, "f4")}).init([v, w])
    assert (v.numpy().tolist(), w.numpy().tolist()) == ([1], [2])


def test_places_that_end_so(tf, tmp_path):
    """A dict of variables by their names, as {"dense/kernel:0": v}, is restored from an
    object-based checkpoint as TensorFlow restores it."""

    class Held(tf.Module):
        def __init__(self, values):
            super().__init__()
            # All are called "Variable", so that only their places are left.
            self.by_name = {name: tf.Variable(value) for name, value in values.items()}

    saved = Held({"dense/kernel:0": [1.0], "dense/kernel": [2.0], "x": [3.0]})
    path = tf.train.Checkpoint(saved).write(str(tmp_path / "m"))
    ours, theirs = (
        Held({"dense/kernel:0": [10.0], "dense/kernel": [20.0], "x": [30.0]}) for _ in range(2)
    )
    tf.train.Checkpoint(theirs).read(path).assert_consumed()
    plan = SmartInit(path, on_missing="error", on_unused="error").init(ours)
    assert len(plan.restored) == 3
    for name, variable in ours.by_name.items():
        assert variable.numpy().tolist() == theirs.by_name[name].numpy().tolist()
    assert [v.numpy().tolist() for v in ours.by_name.values()] == [[1], [2], [3]]
