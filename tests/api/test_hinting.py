"""initreg.api.hinting: the code of a hint is what the user typed, and what mends it."""

from __future__ import annotations

import numpy as np
import pytest

import initreg
from initreg import SmartInit


def ones(*names, shape=(2,)):
    return {name: np.ones(shape, "f4") for name in names}


def zeros(*names, shape=(2,)):
    return {name: np.zeros(shape, "f4") for name in names}


def run(code, **names):
    return eval(code, {"SmartInit": SmartInit, **names})


def test_the_code_repeats_the_options_of_the_call():
    """Policies, expectations and atomic stay, or the code would do less than was asked for."""
    source, model = ones("model/w", "model/b", "extra"), zeros("w", "b", "head/w")
    options = {
        "ignore_mismatch": True,
        "on_missing": "error",
        "on_unused": "error",
        "expect_missing": "head/*",
        "expect_unused": ["extra"],
        "ignore": ["nothing"],
        "atomic": True,
    }
    (hint,) = SmartInit(source, **options).plan(model).hints
    assert hint.code == (
        'SmartInit(source, strip_prefix="model/", ignore_mismatch=True, on_missing="error", '
        'on_unused="error", expect_missing="head/*", expect_unused=["extra"], ignore=["nothing"], '
        "atomic=True)"
    )
    assert hint.options == {"strip_prefix": "model/"}
    with pytest.warns(initreg.UnmetWarning, match="ignore='nothing'"):
        run(hint.code, source=source).init(model)
    assert (model["w"][0], model["head/w"][0]) == (1, 0)


def test_defaults_are_not_repeated():
    """What was not typed is not in the code."""
    source = ones("model/w", "model/b")
    options = {"on_missing": "warn", "atomic": False, "ignore": (), "expect_missing": []}
    (hint,) = SmartInit(source, **options).plan(zeros("w", "b")).hints
    assert hint.code == 'SmartInit(source, strip_prefix="model/")'


@pytest.mark.parametrize(
    "given",
    [iter(["head/*"]), {"head/*"}, np.array(["head/*"])],
    ids=["iterator", "set", "array"],
)
def test_expectations_may_be_any_iterable(given):
    """They are read once, and both used and repeated."""
    (hint,) = (
        SmartInit(ones("model/w", "model/b"), expect_missing=given).plan(zeros("w", "b")).hints
    )
    assert hint.code.endswith(', expect_missing=["head/*"])')


def test_rules_and_policies_of_the_call_around_a_hint():
    """Rules stay with the source, before the new one, and policies are those of the whole call."""
    source, model = ones("a/model/w", "a/model/b", "x"), zeros("w", "b", "head")
    smart_init = SmartInit(
        source, drop="x", strip_prefix="a/", on_missing="error", expect_missing="head"
    )
    hint = smart_init.plan(model).hints[0]
    assert hint.code == (
        'SmartInit(SmartInit(source, drop="x", strip_prefix="a/"), strip_prefix="model/", '
        'on_missing="error", expect_missing="head")'
    )
    run(hint.code, source=source).init(model)
    assert model["w"].tolist() == [1, 1]


def test_an_inner_one_keeps_its_own_options():
    """Those that belong to one source stay there, and those of the whole chain are outside."""
    source, model = ones("model/w", "model/b", "old"), zeros("w", "b")
    inner = SmartInit(source, expect_unused="old")
    (hint,) = SmartInit(inner, on_unused="error").plan(model).hints
    code = 'SmartInit(SmartInit(source, expect_unused="old"), strip_prefix="model/"'
    assert hint.code == f'{code}, on_unused="error")'
    run(hint.code, source=source).init(model)
    assert model["b"].tolist() == [1, 1]


def test_a_hint_for_one_source_of_a_chain_is_code_for_the_chain(tmp_path):
    """The other sources stay, in order, and a dict is called by its place in what was passed."""
    np.savez(tmp_path / "base.npz", **ones("net/w", "net/b"))
    chain = [tmp_path / "base.npz", ones("b"), SmartInit(ones("head/w"), prefix="x/")]
    model = zeros("w", "b", "x/head/w")
    (hint,) = SmartInit(chain, on_missing="error").plan(model).hints
    assert hint.code == (
        f'SmartInit([SmartInit("{tmp_path}/base.npz", strip_prefix="net/"), source[1], '
        'SmartInit(source[2].source, prefix="x/")], on_missing="error")'
    )
    run(hint.code, source=chain).init(model)
    assert all(array.all() for array in model.values())


def test_rules_of_a_chain_are_repeated_where_they_match():
    """A rule of the chain that matches in one source only would be an error for the others."""
    chain = [ones("net/w", "net/b", "old"), ones("head", "extra/1")]
    model = zeros("w", "b", "top")
    options = {"drop": ["old", "extra/*"], "rename": {"head": "top"}, "on_unused": "error"}
    (hint,) = SmartInit(chain, **options).plan(model).hints
    assert hint.code == (
        'SmartInit([SmartInit(SmartInit(source[0], drop=["old"]), strip_prefix="net/"), '
        'SmartInit(source[1], drop=["extra/*"], rename={"head": "top"})], on_unused="error")'
    )
    run(hint.code, source=chain).init(model)
    assert all(array.all() for array in model.values())


def test_a_source_that_keep_leaves_nothing_of_is_left_out():
    """It supplies nothing, and keep= for it alone would be an error."""
    chain = [ones("net/w", "net/b"), ones("other")]
    model = zeros("w", "b")
    hint = next(h for h in SmartInit(chain, keep="net/*").plan(model).hints if h.options)
    inner = 'SmartInit(source[0], keep="net/*")'
    assert hint.code == f'SmartInit({inner}, strip_prefix="net/")'
    run(hint.code, source=chain).init(model)
    assert model["w"].all()


def test_a_source_of_a_chain_keeps_how_it_is_opened(tmp_path):
    """The options of opening are those of its own SmartInit."""
    np.save(tmp_path / "zoo.npy", {"net/w": np.ones(2), "net/b": np.ones(2)})
    initreg.save(tmp_path / "a.npz", ones("b"))
    chain = [SmartInit(tmp_path / "zoo.npy", allow_pickle=True), tmp_path / "a.npz"]
    model = zeros("w", "b")
    (hint,) = SmartInit(chain).plan(model).hints
    zoo = f'SmartInit("{tmp_path}/zoo.npy", allow_pickle=True, strip_prefix="net/")'
    assert hint.code == f'SmartInit([{zoo}, "{tmp_path}/a.npz"])'
    with pytest.warns(initreg.CastWarning):
        run(hint.code).init(model)
    assert model["w"].all()
    hints = SmartInit([ones("net/w", "net/b"), chain[0]]).plan(zeros("w", "b", "net/x")).hints
    zoo = f'SmartInit("{tmp_path}/zoo.npy", allow_pickle=True)'
    assert hints[0].code == f'SmartInit([SmartInit(source[0], strip_prefix="net/"), {zoo}])'


def test_the_last_rename_of_each_sort_is_repeated():
    """Pairs, functions and dicts of one rename= are restricted to those that matched."""
    chain = [ones("net.w", "net.b"), ones("h-x")]
    model = zeros("w", "b", "h_x")
    options = {"rename": [(r"\.", "/"), ("-", "_")]}
    (hint,) = SmartInit(chain, **options).plan(model).hints
    assert hint.code == (
        'SmartInit([SmartInit(SmartInit(source[0], rename=[(r"\\.", "/")]), strip_prefix="net/"), '
        'SmartInit(source[1], rename=[("-", "_")])])'
    )
    run(hint.code, source=chain).init(model)
    assert all(array.all() for array in model.values())


def test_a_hint_about_axes_keeps_the_call():
    """The order of axes is one more rule of the user's call."""
    source = {"fc/kernel": np.ones((2, 3), "f4"), "x": np.ones(1)}
    model = {"fc/kernel": np.zeros((3, 2), "f4")}
    smart_init = SmartInit(source, drop="x", on_missing="error")
    (hint,) = smart_init.plan(model).hints
    assert hint.code == (
        'SmartInit(SmartInit(source, drop="x"), transpose=["fc/kernel"], on_missing="error")'
    )
    run(hint.code, source=source).init(model)
    assert model["fc/kernel"].all()


def test_the_plan_of_init_is_carried_out_and_that_of_plan_is_not():
    """What init returns says what was restored; what plan returns says what will be."""
    source, model = ones("w"), zeros("w", "v")
    plan = SmartInit(source, on_missing="ignore").plan(model)
    assert str(plan).splitlines()[0].endswith("1 of 2 variables will be restored")
    done = SmartInit(source, on_missing="ignore").init(model)
    assert str(done).splitlines()[0].endswith("1 of 2 variables restored")
    assert "  1 only in the target, not restored" in str(done).splitlines()
