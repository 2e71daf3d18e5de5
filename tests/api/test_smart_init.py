"""initreg.api.smart_init: a chain of sources, a plan, and writes."""

import logging
import warnings

import numpy as np
import pytest

import initreg
from initreg import (
    CastWarning,
    MismatchError,
    MismatchWarning,
    MissingWarning,
    NothingMatched,
    PartialRestoreError,
    ReshapeWarning,
    SmartInit,
    SourceNotFound,
    TargetError,
    UnknownTarget,
    UnusedWarning,
)


def target(**shapes):
    return {name: np.zeros(shape, "f4") for name, shape in shapes.items()}


def test_the_main_job(base):
    """Each variable gets the array of its name, and the plan is returned."""
    variables = target(w=(2, 3), b=(3,))
    plan = SmartInit(base).init(variables)
    assert variables["w"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert variables["b"].tolist() == [3, 3, 3]
    assert [row.name for row in plan.restored] == ["w", "b"]


def test_a_chain_is_one_plan(base, tmp_path):
    """Later sources win, each variable is written once, and no link warns of what another has."""
    np.savez(tmp_path / "head.npz", h=np.full(4, 7, "f4"))
    variables = target(w=(2, 3), b=(3,), h=(4,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit([base, [str(tmp_path / "head.npz")], {"b": np.full(3, 9, "f4")}]).init(
            variables
        )
    assert variables["w"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert variables["b"].tolist() == [9, 9, 9]
    assert variables["h"].tolist() == [7, 7, 7, 7]
    assert [(row.name, row.source, row.by) for row in plan.of("overridden")] == [("b", 0, 2)]


@pytest.mark.parametrize("nothing", [None, "", [], {}, (), [None, [""], {}]])
def test_nothing_does_nothing_and_says_so(nothing, caplog):
    """No source restores nothing: the log says it, no error is raised, the plan is empty."""
    variables = target(w=(2,))
    with caplog.at_level(logging.WARNING, logger="initreg"):
        plan = SmartInit(nothing).init(variables)
    assert len(plan) == 0
    assert variables["w"].tolist() == [0, 0]
    assert "nothing is restored" in caplog.text
    assert len(SmartInit(nothing).plan(variables)) == 0


def test_nothing_in_a_chain_is_passed_over(base):
    """[None, source] is [source]."""
    variables = target(w=(2, 3), b=(3,))
    SmartInit([None, base, "", {}]).init(variables)
    assert variables["b"].tolist() == [3, 3, 3]


def test_a_link_may_be_a_smart_init_with_options_of_its_own(tmp_path, base):
    """Options given to a link hold for it alone."""
    np.save(tmp_path / "zoo.npy", {"b": np.full(3, 5.0, "f4"), "w": np.zeros(99)})
    link = SmartInit(tmp_path / "zoo.npy", allow_pickle=True, ignore_mismatch=True)
    variables = target(w=(2, 3), b=(3,))
    with pytest.warns(MismatchWarning, match="1 mismatched, skipped"):
        SmartInit([base, link]).init(variables)
    assert variables["w"][0, 0] == 2
    assert variables["b"][0] == 5


def test_an_open_map_is_a_source_and_stays_open(base):
    """What the caller opened, the caller closes."""
    with initreg.open(base) as arrays:
        variables = target(w=(2, 3), b=(3,))
        SmartInit(arrays).init(variables)
        SmartInit([arrays, {"b": np.ones(3, "f4")}]).init(variables)
        assert arrays["w"].read()[0, 0] == 2
    assert variables["b"].tolist() == [1, 1, 1]


def test_the_format_can_be_named(tmp_path, base):
    """format= decides where the source does not show it; an unknown one is named."""
    plain = base.rename(tmp_path / "base.bin")
    variables = target(w=(2, 3), b=(3,))
    SmartInit(plain, format="npz").init(variables)
    assert variables["w"][0, 0] == 2
    with pytest.raises(initreg.UnknownFormat, match="no format is called 'zip'; installed are"):
        SmartInit(plain, format="zip").init(variables)


def test_plan_writes_nothing_and_is_what_init_returns(base):
    """The plan made beforehand is the plan that is carried out."""
    variables = target(w=(1, 2, 3), b=(3,))
    plan = SmartInit(base).plan(variables)
    assert not variables["w"].any()
    with pytest.warns(ReshapeWarning):
        assert SmartInit(base).init(variables).to_dict() == plan.to_dict()


def test_a_plan_that_fails_is_returned_by_plan_and_raised_by_init(base):
    """plan() shows the mismatch; init() raises it."""
    plan = SmartInit(base).plan(target(w=(9,), b=(3,)))
    assert [row.name for row in plan.of("mismatched")] == ["w"]


def test_all_mismatches_are_raised_together_and_nothing_is_written(base):
    """One MismatchError lists every one of them, with the transpose, and holds the plan."""
    variables = target(w=(3, 2), b=(4,), c=(1,))
    variables["ok"] = np.zeros(1)
    source = [base, {"ok": np.ones(1)}]
    with pytest.raises(MismatchError) as caught:
        SmartInit(source).init(variables)
    message = str(caught.value)
    start = f"{base} + dict of 1 -> dict of arrays: 2 arrays do not fit, and nothing was written"
    assert message.startswith(start)
    assert "w: shape (2, 3) does not fit (3, 2)" in message
    assert "the shape is the transpose" in message
    assert "b: shape (3,) does not fit (4,)" in message
    assert "ignore_mismatch=True" in message
    assert [row.name for row in caught.value.plan.of("mismatched")] == ["w", "b"]
    assert not any(array.any() for array in variables.values())


def test_ignore_mismatch_restores_the_others(base):
    """What does not fit is passed over with a warning that names it."""
    variables = target(w=(3, 2), b=(3,))
    with pytest.warns(MismatchWarning, match=r"w  shape \(2, 3\) does not fit \(3, 2\)"):
        SmartInit(base, ignore_mismatch=True).init(variables)
    assert not variables["w"].any()
    assert variables["b"].tolist() == [3, 3, 3]


def test_casts_and_reshapes_warn_once_each():
    """Each kind is in one warning, what is both is in both, and the values are as announced."""
    source = {"f": np.array([[1.5, 2.5]]), "i": np.array([7], "i4"), "j": np.array([8], "u1")}
    variables = {"f": np.zeros(2, "f4"), "i": np.zeros(1, "i8"), "j": np.zeros((), "i2")}
    with pytest.warns() as caught:
        SmartInit(source).init(variables)
    assert [w.category for w in caught] == [ReshapeWarning, CastWarning]
    assert "2 reshaped by axes of length 1" in str(caught[0].message)
    assert "f  (1, 2) float64 -> (2,) float32" in str(caught[0].message)
    assert "3 cast" in str(caught[1].message)
    assert "i  (1,) int32 -> int64" in str(caught[1].message)
    assert "f  (1, 2) float64 -> (2,) float32" in str(caught[1].message)
    assert variables["f"].tolist() == [1.5, 2.5]
    assert (variables["i"].tolist(), int(variables["j"])) == ([7], 8)


def test_names_on_one_side_only_warn_once_a_side(base):
    """Folded, with shapes, and pointing to the line of the caller."""
    variables = target(w=(2, 3), h0=(1,), h1=(1,), h2=(1,))
    with pytest.warns() as caught:
        SmartInit(base).init(variables)
    assert [w.category for w in caught] == [MissingWarning, UnusedWarning]
    assert str(caught[0].message) == (
        f"{base} -> dict of arrays: 3 only in the target, not restored:\n"
        "  h{0..2}  3 x (1,) float32"
    )
    assert "1 only in the source, not used:\n  b  (3,) float32" in str(caught[1].message)
    assert {w.filename for w in caught} == {__file__}


def test_slots_do_not_warn(base):
    """Optimiser slots of restored variables are counted in the plan and not complained of."""
    variables = target(w=(2, 3), b=(3,))
    variables["w/Adam"] = np.zeros((2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit(base).init(variables)
    assert [row.name for row in plan.of("optimiser slot")] == ["w/Adam"]


def test_nothing_matched_is_an_error_with_hints(base):
    """The wrong model is refused, and the message ends in code that mends it."""
    variables = target(**{"model/w": (2, 3), "model/b": (3,)})
    with pytest.raises(NothingMatched) as caught:
        SmartInit(str(base)).init(variables)
    message = str(caught.value)
    assert (
        f"no array in {base} has the name of a variable in dict of arrays, and nothing" in message
    )
    assert "2 of 2 names match after adding 'model/'" in message
    assert f'SmartInit("{base}", prefix="model/")' in message
    assert "the source has w (2, 3), b (3,); the target has model/w (2, 3), model/b (3,)" in message
    assert len(caught.value.plan.of("only in source")) == 2


def test_an_empty_target_matches_nothing(base):
    """A target without variables is an error that says so, not a silent success."""
    with pytest.raises(NothingMatched, match="the target has no variables"):
        SmartInit(base).init({})


def test_a_missing_source_is_a_file_not_found(tmp_path):
    """Both InitregError and FileNotFoundError catch it, and nothing is written."""
    with pytest.raises(FileNotFoundError, match="no such file"):
        SmartInit(tmp_path / "no.npz").init(target(w=(1,)))
    with pytest.raises(SourceNotFound):
        SmartInit([{"w": np.ones(1)}, tmp_path / "no.npz"]).init(target(w=(1,)))


def test_an_unknown_target_names_what_can_be_given(base):
    """Anything else is refused with the list of targets."""
    with pytest.raises(UnknownTarget, match=r"writes into a builtins\.int.*TF1 session"):
        SmartInit(base).init(3)


def test_a_read_only_target_is_refused_before_anything_is_written(base):
    """A dict with one read-only array is not half filled."""
    variables = target(w=(2, 3), b=(3,))
    variables["b"].flags.writeable = False
    with pytest.raises(TargetError, match="'b' is read-only"):
        SmartInit(base).init(variables)
    assert not variables["w"].any()


@pytest.mark.parametrize("damaged", [0, 1], ids=["the first", "the second"])
def test_damage_found_midway_says_what_was_written(tmp_path, damaged):
    """A failed checksum after the first write is a PartialRestoreError; before it, itself."""
    tf = pytest.importorskip("tensorflow", reason="a dict is filled when all has been read")
    path = tmp_path / "m.npz"
    count = 200_000  # so that they are not read in one go
    np.savez(path, a=np.full(count, 1.0), b=np.full(count, 1.0))
    data = bytearray(path.read_bytes())
    value = np.float64(1).tobytes() * 8
    first = data.index(value)
    data[first if damaged == 0 else data.index(value, first + 8 * count)] ^= 1
    path.write_bytes(data)
    variables = [tf.Variable(np.zeros(count), name=name) for name in "ab"]
    arrays = {name: np.zeros(count) for name in "ab"}
    with pytest.raises(initreg.DamagedFile, match=f"array '{'ab'[damaged]}' fails its crc32"):
        SmartInit(path).init(arrays)
    assert not any(array.any() for array in arrays.values())
    if damaged == 0:
        with pytest.raises(initreg.DamagedFile, match="array 'a' fails its crc32"):
            SmartInit(path).init(variables)
        assert not variables[1].numpy().any()
    else:
        with pytest.raises(PartialRestoreError, match="1 variable written, then") as caught:
            SmartInit(path).init(variables)
        assert (caught.value.written, caught.value.not_written) == (("a",), ("b",))
        assert isinstance(caught.value.__cause__, initreg.DamagedFile)
    SmartInit(path, verify=False).init(variables)
    assert (variables[1 - damaged].numpy() == 1).all()


def test_what_the_user_holds_is_never_shared():
    """Editing either side after a restore does not change the other."""
    mine = {"a": np.ones(3, "f4")}
    variables = {"a": np.zeros(3, "f4")}
    SmartInit(mine).init(variables)
    mine["a"][:] = 5
    assert variables["a"].tolist() == [1, 1, 1]
    variables["a"][:] = 7
    assert mine["a"].tolist() == [5, 5, 5]


def test_progress_is_logged(base, caplog):
    """'Restoring ...' goes through logging, with the number and the source."""
    with caplog.at_level(logging.INFO, logger="initreg"):
        SmartInit(base).init(target(w=(2, 3), b=(3,)))
    assert f"Restoring 2 variables from {base}" in caplog.messages


def test_a_cast_that_overflows_says_so():
    """Values that the variable cannot hold become infinite, with a warning of ours that counts
    them, and with no other one."""
    source = {"x": np.array([1e300, -1e300, np.inf, 1.0])}
    variables = {"x": np.zeros(4, "f4")}
    with pytest.warns(CastWarning) as caught:
        SmartInit(source).init(variables)
    assert variables["x"].tolist() == [np.inf, -np.inf, np.inf, 1]
    assert "x: 2 values of float64 beyond the range of float32 became infinite" in str(
        caught[1].message
    )
    assert {w.category for w in caught} == {CastWarning}


def test_the_hint_for_a_dict_is_code_that_runs():
    """A dict has no path to type again, so the code calls it source."""
    source, variables = {"model/w": np.ones(2)}, {"w": np.zeros(2)}
    with pytest.raises(NothingMatched) as caught:
        SmartInit(source).init(variables)
    (hint,) = caught.value.plan.hints
    assert hint.code == 'SmartInit(source, strip_prefix="model/")'
    assert str(hint) in str(caught.value)
    eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(variables)
    assert variables["w"].tolist() == [1, 1]


def test_load(base):
    """load gives real arrays, a chain merged, nothing of nothing."""
    found = initreg.load([base, {"b": [1.0]}])
    assert {name: a.tolist() for name, a in found.items()} == {"w": [[2] * 3] * 2, "b": [1.0]}
    assert found["w"].flags.writeable
    assert initreg.load(None) == {}


def test_repr():
    """A SmartInit shows what it was given."""
    assert repr(SmartInit(["a.npz", None])) == "SmartInit(['a.npz', None])"
