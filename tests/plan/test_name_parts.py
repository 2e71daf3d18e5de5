"""initreg.plan.name_parts: how names are compared."""

from initreg.plan.name_parts import (
    alike,
    differ_in_front,
    end,
    ends,
    given_of,
    labels_of,
    leaves_parts_out,
    names_of,
    parts_of,
    positions_of,
    same_end,
    starts_within,
    unique,
    without_underscores,
)
from initreg.specs import ArraySpec


def test_a_name_that_two_entries_have_is_not_unique():
    """It has no index."""
    assert unique([["a", "b"], ["b", "c"]]) == {"a": 0, "c": 1}


def test_the_names_of_an_array():
    """Its names without places, and those of them that people gave."""
    spec = ArraySpec("p/w", (), "float32", ("n:0", "m"), places=("p/w",), automatic=("m",))
    assert names_of(spec) == ["n", "m"]
    assert given_of(spec) == ["n"]


def test_the_end_of_a_name():
    """What is left without the layers."""
    assert end("head/kernel") == end("net/head/kernel") == "/kernel"
    assert end("net/head/vars/0") == "/vars/0"
    assert end("head: weight 1 of 2") == ": weight 1 of 2"
    assert end("kernel") == ""
    assert same_end("model/head/kernel", "head/kernel")
    assert not same_end("ahead/kernel", "head/kernel")


def test_the_parts_of_names():
    """Those that name layers."""
    assert parts_of(["net/head/kernel", "head/vars/0", "tail: weight 0 of 2"]) == {
        "net",
        "head",
        "tail",
    }


def test_the_ends_of_places():
    """A number has the name of its list with it. State and orders are left out."""
    placed = [("a/vars/0", 1), ("b/w", 2), ("#layer 0", 3), ("optimizer/vars/0", 4)]
    assert ends(placed) == {("vars/0", 1), ("w", 2)}


def test_names_that_differ_in_numbers_are_alike():
    """The numbers of parts that a framework made up. Those of other parts count."""
    assert alike("net_1/scale_3/kernel", "net/scale_1/kernel", ())
    assert alike("net_1/scale_3/kernel", "scale/vars/0", ())
    assert alike("scale/kernel", "kernel", ())
    assert not alike("net_1/scale/kernel", "net/other/kernel", ())
    assert not alike("net_1/part_2/kernel", "net/part_1/kernel", {"part_2"})


def test_names_that_differ_in_front():
    """The same layer in two models."""
    assert differ_in_front("a/layers/dense/vars/0", "b/layers/dense/vars/0")
    assert differ_in_front("a: weight 0 of 2", "b: weight 0 of 2")
    assert not differ_in_front("a/x/w", "b/y/w")
    assert not differ_in_front("a", "b")


def test_a_name_without_its_inner_parts():
    """What TensorFlow calls the variables of a sub-classed model of Keras 3."""
    assert leaves_parts_out("net_1/head/kernel", "net/kernel")
    assert leaves_parts_out("net/kernel", "net/outer/head/kernel")
    assert not leaves_parts_out("net/head/kernel", "net/tail/kernel")
    assert not leaves_parts_out("net/head/kernel", "net/bias")
    assert not leaves_parts_out("net/head/kernel", "other/kernel")
    assert not leaves_parts_out("block_1/kernel", "block_2/kernel")
    assert not leaves_parts_out("head/kernel", "kernel")


def test_labels():
    """What formats call variables after the names of layers, and how a label begins."""
    names = ["head/vars/0", "head: weight 0 of 2", "head/kernel", "kernel"]
    assert labels_of(names) == names[:2]
    assert positions_of(names) == names[1:2]
    assert without_underscores("mha/_query_dense/w") == "mha/query_dense/w"
    assert starts_within("scale_1/vars/0", "net/scale_3/kernel")
    assert starts_within("dense: weight 0 of 2", "dense_4/kernel")
    assert not starts_within("body/layers/dense/vars/0", "dense_4/kernel")
