"""initreg.api.chain: links with options of their own, in a chain with options of its own."""

import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit


def arrays(**shapes):
    return {name.replace("__", "/"): np.full(shape, 2, "f4") for name, shape in shapes.items()}


def target(**shapes):
    return {name: array * 0 for name, array in arrays(**shapes).items()}


def test_encoder_from_one_checkpoint_decoder_from_another(tmp_path):
    """Two links, each with its own prefix rule, fill one model."""
    np.savez(tmp_path / "bert.npz", **{"bert/w": np.full(2, 1.0), "bert/x": np.zeros(9)})
    np.savez(tmp_path / "gpt.npz", **{"gpt/w": np.full(2, 2.0)})
    model = {"encoder/w": np.zeros(2), "decoder/w": np.zeros(2)}
    plan = SmartInit(
        [
            SmartInit(tmp_path / "bert.npz", rename=[("^bert/", "encoder/")], drop="*/x"),
            SmartInit(tmp_path / "gpt.npz", rename=[("^gpt/", "decoder/")]),
        ],
        on_missing="error",
        on_unused="error",
    ).init(model)
    assert (model["encoder/w"].tolist(), model["decoder/w"].tolist()) == ([1, 1], [2, 2])
    assert [(row.name, row.source, row.array) for row in plan.restored] == [
        ("encoder/w", 0, "bert/w"),
        ("decoder/w", 1, "gpt/w"),
    ]
    assert [(row.name, row.source) for row in plan.of("dropped")] == [("bert/x", 0)]


def test_rules_of_the_chain_follow_those_of_the_link():
    """The inner link renames first; what the chain's rules see are its new names."""
    link = SmartInit(arrays(a=(1,)), rename={"a": "m/b"})
    model = target(b=(1,), c=(1,))
    SmartInit([link, arrays(m__c=(1,))], strip_prefix="m/").init(model)
    assert (model["b"].tolist(), model["c"].tolist()) == ([2], [2])


def test_a_rule_of_the_chain_must_touch_some_link_not_each():
    """drop="head/*" is fine if one of the links has a head, and an error if none has."""
    base, other = arrays(w=(1,), head__w=(9,)), arrays(v=(1,))
    plan = SmartInit([base, other], drop="head/*").plan(target(w=(1,), v=(1,)))
    assert plan.ok
    with pytest.raises(RuleError, match=r"dict of 2 \+ dict of 1: .* matches? no array"):
        SmartInit([base, other], drop="haed/*").plan(target(w=(1,)))


def test_a_rule_of_a_link_must_touch_that_link():
    """It is not satisfied by another link of the chain."""
    with pytest.raises(RuleError, match="dict of 1: drop='b' matches no array"):
        SmartInit([SmartInit(arrays(a=(1,)), drop="b"), arrays(b=(1,))]).plan(target(a=(1,)))


def test_what_a_link_leaves_at_its_default_is_the_chains():
    """ignore_mismatch, on_unused, expect_unused and ignore of the chain hold for its links."""
    link = SmartInit(arrays(a=(9,), b=(1,), x=(1,)), rename={"x": "y"})
    chain = SmartInit(
        [link], ignore_mismatch=True, on_unused="error", expect_unused="y", ignore="c"
    )
    plan = chain.plan(target(a=(1,), b=(1,)))
    assert [row.name for row in plan.of("passed over")] == ["a"]
    assert [(row.name, row.expected) for row in plan.of("only in source")] == [("y", True)]
    assert plan.on_unused == ("error",)
    assert plan.unmet == ("ignore='c'",)


def test_a_link_has_its_own_policy_for_what_is_unused():
    """A zoo of many arrays may be quiet where the others may not."""
    zoo = SmartInit(arrays(a=(1,), b=(1,)), on_unused="ignore")
    plan = SmartInit([zoo, arrays(c=(1,))], on_unused="error").plan(target(a=(1,), c=(1,)))
    assert plan.on_unused == ("ignore", "error")
    assert plan.ok
    assert [row.name for row in plan.unused("ignore")] == ["b"]


@pytest.mark.parametrize(
    "options", [{"on_missing": "error"}, {"expect_missing": "a"}, {"atomic": True}], ids=str
)
def test_what_speaks_of_the_target_is_the_outermosts(options):
    """Such an option of a link would be dropped in silence, so it is an error that says where."""
    (name,) = options
    with pytest.raises(RuleError, match=f"Pass {name}= to the outer SmartInit"):
        SmartInit([[SmartInit(arrays(a=(1,)), **options)]])


def test_how_a_link_is_opened_is_its_own(tmp_path):
    """allow_pickle of the chain does not open the pickle of a link that has not said so."""
    np.save(tmp_path / "zoo.npy", {"a": np.zeros(1)})
    link = SmartInit(tmp_path / "zoo.npy")
    with pytest.raises(initreg.RefusedFile):
        SmartInit([link], allow_pickle=True).plan(target(a=(1,)))


def test_load_merges_a_chain_under_its_rules():
    """Later links win, under the names that the rules gave."""
    found = initreg.load(
        [arrays(m__a=(1,), b=(1,)), SmartInit({"x": np.ones(3)}, rename={"x": "m/a"})],
        strip_prefix="m/",
    )
    assert sorted(found) == ["a", "b"]
    assert found["a"].tolist() == [1, 1, 1]


def test_one_map_in_two_links():
    """The same open map may be in a chain twice, under different rules."""
    with initreg.open(arrays(w=(2,))) as m:
        model = target(**{"a/w": (2,), "b/w": (2,)})
        SmartInit([m.prefix("a/"), m.prefix("b/")]).init(model)
    assert (model["a/w"].tolist(), model["b/w"].tolist()) == ([2, 2], [2, 2])
