"""initreg.SaverRestore, ChainInit, ...: the names of tensorpack, without tensorpack."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import (
    ChainInit,
    DictRestore,
    InitregError,
    JustCurrentSession,
    MismatchError,
    MismatchWarning,
    MissingError,
    MissingWarning,
    PartialRestoreError,
    RefusedFile,
    RuleError,
    SaverRestore,
    SaverRestoreRelaxed,
    SmartInit,
    SourceNotFound,
    UnknownFormat,
    UnmetWarning,
    get_model_loader,
)


def full(value: float, *names: str, size: int = 2) -> dict[str, Any]:
    return {name: np.full(size, value, "f4") for name in names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a, all 1, and b, all 2."""
    return initreg.save(tmp_path / "m.npz", {**full(1, "a"), **full(2, "b")})


# --- at once ------------------------------------------------------------------------------------

MAKERS: dict[str, Any] = {
    "SaverRestore": SaverRestore,
    "SaverRestoreRelaxed": SaverRestoreRelaxed,
    "DictRestore": DictRestore,
    "get_model_loader": get_model_loader,
    "ChainInit": lambda source, **options: ChainInit([source], **options),
    "check": lambda source, **options: SmartInit(source, **options).check(),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@each_maker
def test_a_missing_file_is_an_error_at_once(make: Any, tmp_path: Path) -> None:
    """Not only when a session is at hand. The error names the file."""
    with pytest.raises(SourceNotFound, match=r"typo\.npz: no such file"):
        make(tmp_path / "typo.npz")


@each_maker
def test_what_cannot_be_opened_is_an_error_at_once(make: Any, tmp_path: Path) -> None:
    """An unknown format, a pickle that is refused, a state file that points to nothing."""
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UnknownFormat):
        make(tmp_path / "notes.txt")
    np.save(tmp_path / "zoo.npy", {"a": np.zeros(1)})
    with pytest.raises(RefusedFile, match="allow_pickle=True"):
        make(tmp_path / "zoo.npy")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone-1"\n')
    with pytest.raises(SourceNotFound, match="gone-1"):
        make(tmp_path / "checkpoint")


@each_maker
def test_a_wrong_rule_is_an_error_at_once(make: Any, path: Path) -> None:
    """One that matches nothing, and one of the wrong type."""
    with pytest.raises(RuleError, match="drop='c' matches no array"):
        make(path, drop="c")
    with pytest.raises(RuleError, match="rename"):
        make(path, rename=3)


def test_smartinit_itself_looks_at_its_source_only_when_asked(tmp_path: Path) -> None:
    """So that it can be made before its file is."""
    init = SmartInit(tmp_path / "later.npz")
    with pytest.raises(SourceNotFound):
        init.check()
    initreg.save(tmp_path / "later.npz", full(3, "a"))
    init.check()
    model = full(0, "a")
    init.init(model)
    assert model["a"].tolist() == [3, 3]


def test_a_file_may_be_replaced_in_between(path: Path) -> None:
    """What it holds at the time of the restore counts."""
    init = SaverRestore(path)
    path.unlink()
    initreg.save(path, full(7, "a", "c"))
    model = full(0, "a", "c")
    init.init(model)
    assert (model["a"].tolist(), model["c"].tolist()) == ([7, 7], [7, 7])


class Noted:
    """Makes a file when it is unpickled."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def __reduce__(self) -> Any:
        return Path.touch, (self.note,)


def test_a_pickle_is_not_opened_twice(tmp_path: Path) -> None:
    """It is claimed at once, and unpickled when it is restored. Its rules are checked then."""
    array = np.empty((), object)
    array[()] = Noted(tmp_path / "note")
    np.save(tmp_path / "zoo.npy", array, allow_pickle=True)
    init = SaverRestore(tmp_path / "zoo.npy", allow_pickle=True, drop="nope")
    assert not (tmp_path / "note").exists()
    with pytest.raises(InitregError):
        init.init(full(0, "a"))
    assert (tmp_path / "note").exists()
    np.save(tmp_path / "zoo.npy", full(1, "a"), allow_pickle=True)
    with pytest.raises(RuleError, match="drop='nope' matches no array"):
        init.init(full(0, "a"))


def test_a_path_must_not_be_empty() -> None:
    """SaverRestore("") would restore nothing."""
    for empty in ("", None):
        with pytest.raises(SourceNotFound, match="the path is empty"):
            SaverRestore(empty)


# --- each of them -------------------------------------------------------------------------------


def test_what_they_restore(path: Path) -> None:
    """The file, what fits of it, a dict, whatever SmartInit takes, nothing."""
    wrong = {**full(0, "a"), **full(0, "b", size=3)}
    with pytest.raises(MismatchError):
        SaverRestore(path).init(wrong)
    with pytest.warns(MismatchWarning):
        SaverRestoreRelaxed(path).init(wrong)
    assert (wrong["a"].tolist(), wrong["b"].tolist()) == ([1, 1], [0, 0, 0])
    for init in (
        SaverRestore(path),
        DictRestore({"a:0": np.ones(2), "b": np.full(2, 2.0)}, cast="float32"),
        get_model_loader([path, {}]),
    ):
        model = full(0, "a", "b")
        init.init(model)
        assert (model["a"].tolist(), model["b"].tolist()) == ([1, 1], [2, 2])
    model = full(0, "a")
    assert len(JustCurrentSession().init(model)) == 0
    assert model["a"].tolist() == [0, 0]


def test_names_that_are_not_restored(path: Path) -> None:
    """ignore, with or without a prefix, and what else they are given stay as they are."""
    for ignore in ("b", ["b:0"], ("b",)):
        model = full(0, "a", "b")
        SaverRestore(path, ignore=ignore).init(model)
        assert (model["a"].tolist(), model["b"].tolist()) == ([1, 1], [0, 0])
        model = full(0, "net/a", "net/b")
        SaverRestore(path, "net", ignore).init(model)
        assert (model["net/a"].tolist(), model["net/b"].tolist()) == ([1, 1], [0, 0])


# --- prefix -------------------------------------------------------------------------------------


def test_a_prefix_is_a_scope(path: Path) -> None:
    """Variables in it lose it. All others go by their own names."""
    model = full(0, "net/a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SaverRestore(path, prefix="net").init(model)
    assert (model["net/a"].tolist(), model["b"].tolist()) == ([1, 1], [2, 2])


def test_a_variable_that_merely_begins_like_the_scope(tmp_path: Path) -> None:
    """network/a is not in the scope net, with or without a slash at the end of the prefix."""
    path = initreg.save(tmp_path / "m.npz", {**full(1, "a"), **full(2, "network/a")})
    for prefix in ("net", "net/"):
        model = full(0, "net/a", "network/a")
        SaverRestore(path, prefix=prefix).init(model)
        assert (model["net/a"].tolist(), model["network/a"].tolist()) == ([1, 1], [2, 2])


def test_a_name_that_has_the_scope_already(tmp_path: Path) -> None:
    """The variable net/a is never restored from an array net/a, but from a."""
    path = initreg.save(tmp_path / "m.npz", {**full(1, "a"), **full(2, "net/a")})
    model = full(0, "net/a", "net/net/a")
    SaverRestore(path, prefix="net").init(model)
    assert (model["net/a"].tolist(), model["net/net/a"].tolist()) == ([1, 1], [2, 2])


def test_an_array_for_two_variables(path: Path) -> None:
    """The error shows both and what to type, which works. Nothing is written."""
    model = full(0, "net/a", "a")
    for make in (SaverRestore, SaverRestoreRelaxed):
        with pytest.raises(
            RuleError, match=r"'a' may be meant for the variable 'net/a' or for"
        ) as e:
            make(path, prefix="net").init(model)
        assert "ignore=['a']" in str(e.value)
        assert "SmartInit, with prefix='net/'" in str(e.value)
    assert not any(array.any() for array in model.values())
    with pytest.raises(initreg.NothingMatched):
        SaverRestore(path, prefix="net", ignore=["a"], drop="b").init(model)
    with pytest.warns(MissingWarning, match="a  "):
        SmartInit(path, prefix="net/", drop="b").init(model)
    assert (model["net/a"].tolist(), model["a"].tolist()) == ([1, 1], [0, 0])


def test_a_scope_without_variables(path: Path) -> None:
    """It is likely misspelt: a warning. The values are those of tensorpack."""
    model = full(0, "a", "b")
    with pytest.warns(UnmetWarning, match=r"prefix='nte': no variable begins with 'nte/'"):
        SaverRestore(path, prefix="nte").init(model)
    assert (model["a"].tolist(), model["b"].tolist()) == ([1, 1], [2, 2])


def test_a_scope_in_a_chain(path: Path) -> None:
    """Each part has its own, rules of the part come before it, and those of the chain after it."""
    model = full(0, "g/a", "d/x", "b")
    chain = ChainInit(
        [SaverRestore(path, "g", drop="b"), SaverRestore(path, "d", rename={"a": "y"})],
        rename={"d/y": "d/x"},
    )
    chain.init(model)
    assert [array.tolist() for array in model.values()] == [[1, 1], [1, 1], [2, 2]]


def test_a_scope_without_a_target(path: Path) -> None:
    """initreg.load puts it before each name."""
    assert sorted(initreg.load(SaverRestore(path, "net"))) == ["net/a", "net/b"]


def test_a_hint_repeats_the_scope(path: Path) -> None:
    """The code of a hint runs, and restores what it says."""
    model = full(0, "net/x/a", "net/x/b")
    plan = SaverRestore(path, "net").plan(model)
    assert plan.hints
    code = next(hint.code for hint in plan.hints)
    assert 'prefix="net"' in code
    eval(code, {"SmartInit": SmartInit, "SaverRestore": SaverRestore}).init(model)
    assert (model["net/x/a"].tolist(), model["net/x/b"].tolist()) == ([1, 1], [2, 2])


# --- chains -------------------------------------------------------------------------------------


def test_a_chain_takes_the_options_of_a_chain(path: Path) -> None:
    """on_missing, expect_missing, atomic, and rules for all parts."""
    model = full(0, "a", "b", "c")
    parts = [SaverRestore(path), DictRestore(full(3, "m/a"))]
    with pytest.raises(MissingError, match="c "):
        ChainInit(parts, on_missing="error", strip_prefix="m/").init(model)
    assert not model["a"].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chain = ChainInit(parts, expect_missing="c", atomic=True, strip_prefix="m/")
        chain.init(model)
    assert chain.atomic
    assert [array.tolist() for array in model.values()] == [[3, 3], [2, 2], [0, 0]]


def test_options_about_the_target_that_the_parts_have(path: Path) -> None:
    """The strictest on_missing counts, unless the chain has one. The names that are expected are
    joined. One atomic part makes the chain atomic."""
    quiet, loud = DictRestore(full(1, "a"), on_missing="ignore"), DictRestore(full(1, "b"))
    strict = DictRestore(full(1, "b"), on_missing="error")
    model = full(0, "a", "b", "c")
    with pytest.warns(MissingWarning):
        ChainInit([quiet, loud]).init(model)
    with pytest.warns(MissingWarning):
        ChainInit([quiet, {"b": np.zeros(2, "f4")}]).init(model)
    with pytest.raises(MissingError):
        ChainInit([quiet, strict]).init(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChainInit([quiet, quiet, JustCurrentSession()]).init(model)
        ChainInit([strict, loud], on_missing="ignore").init(model)
        ChainInit([ChainInit([loud], on_missing="ignore"), quiet]).init(model)
        ChainInit([DictRestore(full(1, "a"), expect_missing="b"), loud], expect_missing="c").plan(
            model
        )
    assert ChainInit([quiet, DictRestore(full(1, "a"), atomic=True)]).atomic
    assert not ChainInit([quiet]).atomic


def test_chains_inside_are_planned_as_one(path: Path) -> None:
    """Nothing is written if the last part of the innermost chain does not fit."""
    model = full(0, "a", "b")
    inner = ChainInit([[SaverRestore(path)], SmartInit([full(3, "a"), full(4, "b", size=9)])])
    with pytest.raises(MismatchError, match="nothing was written"):
        ChainInit([full(5, "a"), inner]).init(model)
    assert not any(array.any() for array in model.values())
    ChainInit([inner, full(6, "b")]).init(model)
    assert (model["a"].tolist(), model["b"].tolist()) == ([3, 3], [6, 6])


# --- initialisers that are not ours -------------------------------------------------------------


class Foreign:
    """Multiplies all variables by ten, or raises."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.ran = 0

    def init(self, model: Any) -> None:
        self.ran += 1
        if self.fails:
            raise KeyError("no such thing")
        for array in model.values():
            array *= 10


def test_a_foreign_part_runs_in_its_place() -> None:
    """After what comes before it was written, before what comes after it. Nested chains count."""
    model = full(0, "a", "b", "c")
    chain = ChainInit([full(1, "a"), ChainInit([full(2, "b"), Foreign(), full(3, "c")]), Foreign()])
    plan = chain.init(model)
    assert [array.tolist() for array in model.values()] == [[100, 100], [200, 200], [30, 30]]
    assert len(plan.restored) == 3


def test_a_plan_that_fails_runs_no_foreign_part() -> None:
    """Neither before nor after it."""
    model, foreign = full(1, "a", "b"), Foreign()
    with pytest.raises(MismatchError) as caught:
        ChainInit([foreign, full(1, "a"), foreign, full(2, "b", size=9), foreign]).init(model)
    assert "(which Foreign initialises, too)" in str(caught.value)
    assert foreign.ran == 0
    assert all(array.tolist() == [1, 1] for array in model.values())


def test_a_foreign_part_that_fails() -> None:
    """What was written until then is listed, and what was not. First in the chain, its own error
    is raised."""
    model = full(0, "a", "b")
    with pytest.raises(KeyError, match="no such thing"):
        ChainInit([Foreign(fails=True), full(1, "a", "b")]).init(model)
    with pytest.raises(PartialRestoreError) as caught:
        ChainInit([full(1, "a"), Foreign(fails=True), full(2, "b")]).init(model)
    assert caught.value.written == ("a",)
    assert caught.value.not_written == ("b",)
    assert "1 variable written, then: Foreign failed: KeyError: 'no such thing'" in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, KeyError)
    assert (model["a"].tolist(), model["b"].tolist()) == ([1, 1], [0, 0])


def test_a_file_that_fails_after_a_foreign_part(path: Path) -> None:
    """It is not said that nothing was written."""
    data = bytearray(path.read_bytes())
    at = data.index(np.full(2, 2, "f4").tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    model = full(1, "a", "b")
    with pytest.raises(PartialRestoreError, match="0 variables written and Foreign was run, then"):
        ChainInit([Foreign(), SmartInit(path, keep="b")], on_missing="ignore").init(model)
    assert model["a"].tolist() == [10, 10]


def test_missing_variables_beside_a_foreign_part() -> None:
    """The warning says that another part writes, too."""
    model = full(1, "a", "b")
    with pytest.warns(MissingWarning, match=r"dict of arrays \(which Foreign initialises, too\)"):
        ChainInit([full(2, "a"), Foreign()]).init(model)
    assert (model["a"].tolist(), model["b"].tolist()) == ([20, 20], [10, 10])


def test_only_foreign_parts() -> None:
    """They are run, in order."""
    model = full(1, "a")
    ChainInit([Foreign(), Foreign()]).init(model)
    assert model["a"].tolist() == [100, 100]


def test_a_foreign_part_is_no_source() -> None:
    """initreg.load and an outer SmartInit say so, rather than leaving it out."""
    chain = ChainInit([full(2, "a"), Foreign()])
    for use in (initreg.load, SmartInit):
        with pytest.raises(RuleError, match=r"also runs Foreign.*init\(\) of a ChainInit"):
            use(chain)
