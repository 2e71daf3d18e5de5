"""initreg.plan.roots: which part of the other side's model a model is."""

from initreg.plan.places import Alignment
from initreg.plan.roots import called_alike, common_name, fronts, names_of_wholes, part_name
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


def entries(*names, model="", kind=VariableSpec, at="layers/dense"):
    """Layers of one weight in the order of their places, with what people called them."""
    places = [f"{at}_{n}/vars/0" if n else f"{at}/vars/0" for n in range(len(names))]
    return [
        kind(p, (2,), "float32", (f"{name}/vars/0",), places=(p,), model=model)
        for p, name in zip(places, names, strict=True)
    ]


def found(arrays, variables, below):
    pairs = dict(enumerate(range(len(arrays))))
    each = Alignment(pairs, below=below, by={v: variables[v].places[0] for v in pairs})
    return [name for _, name in called_alike([each], arrays, [a.places for a in arrays], variables)]


def test_a_part_is_proved_by_its_name():
    """It is all that is called so, and its layers have no other names."""
    arrays = entries("e1", "e2", model="enc", kind=ArraySpec)
    part = entries("enc/e1", "enc/e2", at="layers/functional/layers/dense")
    rest = entries("head", at="layers/conv")
    assert found(arrays, [*part, *rest], "layers/functional/") == ["enc"]
    assert found(arrays, [*part, *entries("other/enc", at="x")], "layers/functional/") == []
    swapped = entries("enc/e2", "enc/e1", at="layers/functional/layers/dense")
    assert found(arrays, [*swapped, *rest], "layers/functional/") == []
    assert found(entries("e1", "e2", kind=ArraySpec), [*part, *rest], "layers/functional/") == []


def test_two_models_of_one_name_are_no_parts():
    """Each may be the other one, whatever is called so in them."""
    arrays = entries("e1", model="enc", kind=ArraySpec)
    part = entries("enc/e1", model="enc", at="layers/functional/layers/dense")
    assert found(arrays, part, "layers/functional/") == []
