"""initreg.plan.roots: which part of the other side's model a model is."""

from initreg.plan.roots import common_name, fronts, names_of_wholes, part_name
from initreg.specs import ArraySpec, VariableSpec


def array(name, *given, automatic=()):
    return ArraySpec(name, (2,), "float32", (*given, *automatic), automatic=automatic)


def variable(name, *given):
    return VariableSpec(name, (2,), "float32", given, automatic=(name,))


def common(pairs, arrays, variables):
    return common_name(pairs, arrays, variables, names_of_wholes(arrays, variables))


def test_the_name_of_a_model_is_that_of_a_part():
    """One side has it in front of automatic names, the other among the names of people."""
    inner = [variable(f"encoder/dense_{n}/kernel", f"encoder/layers/{n}/vars/0") for n in (8, 9)]
    whole = [array(f"dense_{n}/vars/0", automatic=(f"encoder/dense_{n}/vars/0",)) for n in (1, 2)]
    assert common({0: 0, 1: 1}, whole, inner) == "encoder"
    other = [variable(f"decoder/dense_{n}/kernel", f"decoder/layers/{n}/vars/0") for n in (8, 9)]
    assert common({0: 0, 1: 1}, whole, other) == ""
    assert common({0: 0, 1: 1}, whole, [inner[0], other[1]]) == ""
    assert common({}, whole, inner) == ""


def test_a_part_of_the_source_is_found_too():
    """The target is the whole model then."""
    inner = [array("decoder: weight 0 of 2"), array("decoder: weight 1 of 2")]
    whole = [variable("decoder/dense_4/kernel"), variable("decoder/dense_4/bias")]
    assert common({0: 0, 1: 1}, inner, whole) == "decoder"


def test_automatic_names_alone_say_nothing():
    """Keras may call two models ``sequential``."""
    one = array("x", automatic=("sequential/dense_1/kernel",))
    assert common({0: 0}, [one], [variable("sequential/dense_2/kernel")]) == ""


def test_the_name_is_in_front_of_all_that_is_automatic():
    """A part of the one side is not a part of the other side because both are called alike."""
    arrays = [array("x", automatic=(f"{name}/dense/kernel",)) for name in ("encoder", "decoder")]
    inner = [variable("encoder/dense_8/kernel", "encoder/layers/8/vars/0")]
    assert common({0: 0}, arrays[:1], inner) == "encoder"
    assert common({0: 0}, arrays, inner) == ""
    assert common({0: 0}, [*arrays[:1], array("given/w")], inner) == "encoder"


def test_parts_of_names():
    """A label with a position is not in front of anything."""
    assert fronts(variable("net/dense/kernel", "net: weight 0 of 2", "w")) == {"net"}
    assert part_name([array("enc/layers/w"), array("enc: weight 1 of 2")]) == "enc"
    assert part_name([array("enc/layers/w"), array("dec/layers/w")]) == ""
