"""initreg.plan.numbering: what numbers in places mean if one side has other layers."""

import pytest

from initreg.plan.numbering import Shift, find_moved, find_shift, with_dropped
from initreg.plan.places import alignments
from initreg.specs import ArraySpec, VariableSpec


def at(place, shape, name=None):
    aliases = () if name is None else (name,)
    return place, shape, aliases


def dense(*shapes, base="layers/dense"):
    return [
        at(f"{base}_{number}/vars/0" if number else f"{base}/vars/0", shape)
        for number, shape in enumerate(shapes)
    ]


def both(arrays, variables):
    theirs = [ArraySpec(p, s, "float32", names, places=(p,)) for p, s, names in arrays]
    ours = [VariableSpec(p, s, "float32", names, (p,)) for p, s, names in variables]
    found = alignments([a.places for a in theirs], [v.places for v in ours])[0]
    return found, theirs, ours


def shift(arrays, variables, sure=None):
    found, theirs, ours = both(arrays, variables)
    return find_shift(found, theirs, ours, sure or {}, found.pairs)


WIDE, NARROW = (4, 4), (4, 2)


def test_equal_structures_have_no_shift():
    """Nothing is left over on either side."""
    assert shift(dense(WIDE, WIDE), dense(WIDE, WIDE)) is None


@pytest.mark.parametrize(("ours", "theirs"), [(3, 2), (2, 3), (2, 1), (1, 4)])
def test_one_side_has_more_of_equal_shape(ours, theirs):
    """Any of them may be new."""
    found = shift(dense(*[WIDE] * theirs), dense(*[WIDE] * ours))
    assert found == Shift("layers/dense", ours, theirs)


def test_shapes_that_leave_one_reading():
    """A last layer of another shape is the new one, and the numbers say the same."""
    assert shift(dense(WIDE, WIDE), dense(WIDE, WIDE, NARROW)) is None


def test_numbers_that_shapes_contradict():
    """The layer of another shape is in front, so that the numbers have moved."""
    found = shift(dense(WIDE, (4, 3)), dense(NARROW, WIDE, (4, 3)))
    assert found == Shift("layers/dense", 3, 2)


def test_names_that_say_which_member_is_which():
    """Names confirm both pairs, so that the third layer is new."""
    assert shift(dense(WIDE, WIDE), dense(WIDE, WIDE, WIDE), sure={0: 0, 1: 1}) is None
    found = shift(dense(WIDE, WIDE), dense(WIDE, WIDE, WIDE), sure={0: 0})
    assert found == Shift("layers/dense", 3, 2)


def test_numbers_that_people_gave_do_not_count():
    """``block_1`` and ``block_2`` have no first one without a number."""
    blocks = [at(f"block_{n}/w", WIDE) for n in (1, 2, 3)]
    assert shift(blocks[:2], blocks) is None


@pytest.mark.parametrize("base", ["layer_with_weights-{}", "layers/{}"])
def test_numbers_in_lists_count(base):
    """Lists of objects, and the layers of Keras 2."""
    three = [at(f"{base.format(n)}/w", WIDE) for n in range(3)]
    found = shift(three[:2], three)
    assert found is not None
    assert (found.ours, found.theirs) == (3, 2)


def test_other_families_are_not_concerned():
    """A new layer of another sort has numbers of its own."""
    more = [*dense(WIDE, WIDE), at("layers/norm/vars/0", WIDE)]
    assert shift(dense(WIDE, WIDE), more) is None


def test_a_layer_that_moved():
    """A layer of the source and one of the target fit each other, but are at different places."""
    found, theirs, ours = both(
        [at("a/w", WIDE), at("old/w", NARROW)], [at("a/w", WIDE), at("new/w", NARROW)]
    )
    assert find_moved(found, theirs, ours) == ("old", "new")
    found, theirs, ours = both(
        [at("a/w", WIDE), at("old/w", NARROW)], [at("a/w", WIDE), at("new/w", WIDE)]
    )
    assert find_moved(found, theirs, ours) is None


def test_layers_with_names_on_both_sides_did_not_move():
    """Their names say that they are others."""
    found, theirs, ours = both(
        [at("a/w", WIDE), at("old/w", NARROW, "head")],
        [at("a/w", WIDE), at("new/w", NARROW, "tail")],
    )
    assert find_moved(found, theirs, ours) is None


def test_what_rules_left_out_is_part_of_the_structure():
    """A dropped layer has its number, so that the others keep theirs."""
    found, theirs, ours = both(dense(WIDE), dense(WIDE, WIDE))
    dropped = [ArraySpec(p, s, "float32", places=(p,)) for p, s, _ in dense(WIDE, WIDE)[1:]]
    assert find_shift(found, theirs, ours, {}, found.pairs) is not None
    whole = with_dropped(found, len(theirs), dropped, ours)
    assert whole.pairs == {0: 0, 1: 1}
    assert find_shift(whole, [*theirs, *dropped], ours, {}, found.pairs) is None
    assert find_moved(whole, [*theirs, *dropped], ours) is None
