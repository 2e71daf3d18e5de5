"""initreg.plan.orders: what positions still say if a layer has other weights, or if one is new."""

from initreg.plan.orders import (
    count_of,
    is_any_in,
    names_of_models,
    order_of,
    within_layers,
    within_model,
    without_counts,
)
from initreg.specs import ArraySpec, VariableSpec


def weight(name, layer, at, of, layers=1, given=()):
    place = f"#layer {layer} of {layers}, weight {at} of {of}"
    return ArraySpec(name, (2,), "float32", given, places=(place,), automatic=(name,))


def test_weights_by_their_names_in_their_layer():
    """Numbers of layers do not count, and neither does the order of what is called otherwise."""
    tuned = ["bias", "lora_kernel_a", "kernel"]
    found = within_layers([weight(f"net_2/dense_7/{n}", 0, i, 3) for i, n in enumerate(tuned)])
    assert found == [
        ("#layer 0 of 1, dense/bias 0 of 1",),
        ("#layer 0 of 1, dense/lora_kernel_a 0 of 1",),
        ("#layer 0 of 1, dense/kernel 0 of 1",),
    ]
    plain = within_layers([weight(f"net/dense/{n}", 0, i, 2) for i, n in enumerate(tuned[::-2])])
    assert plain == [found[2], found[0]]


def test_layers_of_one_class_are_in_the_order_of_their_numbers():
    """``dense_9`` comes before ``dense_10``, wherever the spec is in its list."""
    entries = [weight("m/dense_10/kernel", 0, 1, 2), weight("m/dense_9/kernel", 0, 0, 2)]
    assert within_layers(entries) == [
        ("#layer 0 of 1, dense/kernel 1 of 2",),
        ("#layer 0 of 1, dense/kernel 0 of 2",),
    ]


def test_an_order_that_the_numbers_contradict_says_nothing():
    """Keras lists what it does not train last, so that only one of the two may have moved."""
    entries = [weight("m/dense_1/kernel", 0, 0, 2), weight("m/dense/kernel", 0, 1, 2)]
    assert within_layers(entries) == [(), ()]


def test_within_a_model_of_one_name():
    """Only names on both sides count that somebody gave on one of them."""
    arrays = [weight(f"enc/dense_{n}/kernel", n, 0, 1, 2) for n in (0, 1)]
    inner = [
        weight(f"enc/dense_{n + 5}/kernel", 0, n, 2, given=(f"enc: weight {n} of 2",))
        for n in (0, 1)
    ]
    other = [weight("dec/dense_7/kernel", 1, 0, 1, given=("dec: weight 0 of 1",))]
    assert names_of_models(arrays, [*inner, *other]) == ["enc"]
    assert names_of_models(arrays, arrays) == []
    same = [("#in enc, dense/kernel 0 of 2",), ("#in enc, dense/kernel 1 of 2",)]
    assert within_model(arrays, "enc") == same
    assert within_model([*inner, *other], "enc") == [*same, ()]


def test_positions_without_how_many_there_are():
    """Weights of a layer keep their number, because layers of other sizes are other layers."""
    entries = [
        weight("dense/kernel", 1, 0, 2, 3),
        ArraySpec("v", (2,), "float32", places=("variables/4", "#variables/4 of 6")),
    ]
    assert without_counts(entries) == [("#layer 1, weight 0 of 2",), ("#variables/4",)]
    assert count_of(entries, "#layer ") == 3
    assert count_of(entries, "#variables/") == 6
    assert count_of([], "#layer ") == 0


def test_the_order_of_a_position() -> None:
    """An entry is in an order if it has a position in that one, and not in another one alone."""
    layer, top, listed = "#layer 0 of 2, a/b 0 of 1", "#top level, weight 0 of 1", "#weights/0 of 3"
    assert [order_of(place) for place in (layer, top, listed, "a/b")] == [
        *("#layer ", "#layer ", "#weights/", "")
    ]
    assert is_any_in([layer], [VariableSpec("v", (), "float32", places=(top,))])
    assert not is_any_in([layer], [VariableSpec("v", (), "float32", places=(listed, "a/b"))])
