"""initreg.plan.renamed: whether people gave other names to what is at the same place."""

import pytest

from initreg.plan.renamed import is_other_within, is_renamed
from initreg.specs import ArraySpec, VariableSpec


def both(ours, theirs):
    """Names that begin with ``~`` are automatic. Those with ``~~`` are no names of the side, but
    names that a framework gives such a variable in other programs."""
    v, a = (
        {
            "name": names[0].lstrip("~"),
            "aliases": tuple(n.lstrip("~") for n in names[1:] if not n.startswith("~~")),
            "automatic": tuple(name.lstrip("~") for name in names if name.startswith("~")),
        }
        for names in (ours, theirs)
    )
    variable = VariableSpec(shape=(2,), dtype="float32", **v)
    array = ArraySpec(shape=(2,), dtype="float32", **a)
    return variable, array


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["head/kernel"], ["head/kernel"]),
        (["net/head/kernel"], ["head/kernel"]),
        (["net/head/kernel"], ["net_1/kernel"]),
        (["~dense_4/kernel"], ["~dense/kernel"]),
        (["~net_1/scale_3/w"], ["net/scale/w"]),
        (["head/kernel"], ["other/bias"]),
        (["mha/query_dense/kernel"], ["mha/_query_dense/kernel"]),
        (["~mha_1/query/w", "query/vars/0"], ["~mha/query/w", "~mha: weight 0 of 8"]),
        (["~variable_2", "~~own_1: weight 0 of 2"], ["~variable", "own: weight 0 of 2"]),
        (["~dense_3/w", "~~net_1/dense_3/w"], ["net/w"]),
        (["head/w", "~~net_1/head/w"], ["net/w"]),
        (["~dense_3/w", "~~net_1/block_1/dense_3/w"], ["net/block/w"]),
    ],
)
def test_names_that_may_be_of_one_layer(ours, theirs):
    """They are equal, one leaves parts out, or only automatic parts differ."""
    assert not is_renamed(*both(ours, theirs), True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["head/kernel"], ["old/kernel"]),
        (["net/head/kernel"], ["net/old/kernel"]),
        (["head/kernel"], ["~dense/kernel"]),
        (["~dense/kernel"], ["head/kernel"]),
        (["~net_1/other/w", "other/vars/0"], ["~net/dense_1/w"]),
        (["~dense/w", "a/layers/dense/vars/0"], ["~dense/w", "b/layers/dense/vars/0"]),
        (["~dense/w", "a/layers/dense/vars/0"], ["~dense/vars/0"]),
        (["~dense/w"], ["~dense/w", "b/layers/dense/vars/0"]),
        (["~dense/w", "a: weight 0 of 2"], ["~dense/w", "b: weight 0 of 2"]),
        (["other/w", "a: weight 0 of 2"], ["~dense/w", "a: weight 0 of 2"]),
        (["~variable_2", "~~own_1: weight 0 of 2"], ["~variable", "scale: weight 0 of 2"]),
        (["~dense_3/w", "~~net_1/dense_3/w"], ["other/w"]),
        (["head/w", "~~net_1/head/w"], ["net/tail/w"]),
        (["~net/dense_3/w", "~~net: weight 2 of 6"], ["net/body/w"]),
    ],
)
def test_names_of_different_layers(ours, theirs):
    """A part that people named differs, or only one side has it."""
    assert is_renamed(*both(ours, theirs), True)


def test_labels_are_equal_unless_one_side_is_a_part_of_the_other():
    """The model ``net`` has a name that the other one has not."""
    specs = both(["net/head/vars/0"], ["head/vars/0"])
    assert is_renamed(*specs, is_whole=True)
    assert not is_renamed(*specs, is_whole=False)


def test_a_label_of_a_model_within_proves_nothing_of_its_layers():
    """Only the position in ``left`` agrees."""
    label = "left: weight 0 of 8"
    assert is_other_within(*both(["other/w", label], ["dense/w", label]))
    assert not is_other_within(*both(["head/w", label], ["head/w", label]))
    assert not is_other_within(*both(["~dense_1/w", label], ["~dense/w", label]))


def test_a_name_that_a_rule_gave_may_be_a_place():
    """``rename=`` made it the place of the variable, so that nothing says it is another layer."""
    place = "layers/res/vars/0"
    v = VariableSpec("head/kernel", (2,), "float32", (place, "head/vars/0"), (place,))
    assert not is_renamed(v, ArraySpec(place, (2,), "float32"), True)
    assert is_renamed(v, ArraySpec("tail/vars/0", (2,), "float32"), True)
