"""initreg.plan.places: the ways to lay one structure upon another."""

from initreg.plan.places import Alignment, alignments


def found(arrays, variables):
    return {
        (each.above, each.below): each.pairs
        for each in alignments([(a,) for a in arrays], [(v,) for v in variables])
    }


def test_a_structure_that_fits_is_the_only_way():
    """Nothing else is looked for if everything has its place."""
    assert found(["a/w", "b/w"], ["b/w", "a/w"]) == {("", ""): {0: 1, 1: 0}}


def test_a_target_within_the_source():
    """Each prefix under which places agree is a way, the one with the most pairs first."""
    ways = found(["model/a/w", "model/b/w", "old/a/w"], ["a/w", "b/w"])
    assert next(iter(ways.items())) == (("model/", ""), {0: 0, 1: 1})
    assert ways["old/", ""] == {0: 2}


def test_a_source_within_the_target():
    """The source is a part of a larger model."""
    assert found(["w", "b"], ["encoder/w", "encoder/b", "head/w"])["", "encoder/"] == {0: 0, 1: 1}


def test_two_programs_that_call_the_model_differently():
    """``Checkpoint(model=m)`` into ``Checkpoint(net=m)``: a prefix on either side."""
    ways = found(["model/a/w", "model/b/w"], ["net/a/w", "net/b/w"])
    assert ways == {("model/", "net/"): {0: 0, 1: 1}}


def test_lists_and_state_are_no_such_prefix():
    """The third variable of an optimizer is not the third one of a layer."""
    assert found(["optimizer/vars/0"], ["layers/dense/vars/0"]) == {}
    assert found(["a/_all_variables/0"], ["variables/0"]) == {}
    assert found(["variables/0"], ["layers/0"]) == {}


def test_a_place_of_two_arrays_says_nothing():
    """It is left out, and so is an array for a second variable."""
    ways = alignments([("w", "shared"), ("b", "shared")], [("shared",), ("w",)])
    assert [each.pairs for each in ways] == [{1: 0}]
    both = alignments([("w", "alias")], [("w",), ("alias",)])
    assert [each.pairs for each in both] == [{0: 0}]


def test_ways_that_contradict_each_other():
    """They give a variable another array, or an array to another variable."""
    one = Alignment({0: 0, 1: 1})
    assert not one.contradicts(Alignment({0: 0, 2: 2}))
    assert one.contradicts(Alignment({0: 1}))
    assert one.contradicts(Alignment({2: 1}))
