"""initreg.plan.other_weights: weights that are not what is at their place in the other model."""

from dataclasses import replace

import pytest

from initreg.errors import AmbiguousNames
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.rows import By
from initreg.specs import ArraySpec, VariableSpec


def restored(arrays, variables, by=None, **options):
    plan = match([SourceSpecs("file", arrays, by=by, **options)], variables, "model")
    return {row.name: row.array for row in plan.restored}


# --- numbered weights of a layer ------------------------------------------------------------------

NORM = {"gamma": (4,), "beta": (4,), "moving_mean": (4,), "moving_variance": (4,)}
DENSE = {"kernel": (4, 4), "bias": (4,)}


def numbered(shapes, layer="bn", given=()):
    places = [f"layers/{layer}/vars/{number}" for number in range(len(shapes))]
    return [
        ArraySpec(p, shape, "float32", tuple(f"{n}/vars/{p[-1]}" for n in given), places=(p,))
        for p, shape in zip(places, shapes, strict=True)
    ]


def layer(shapes, name="bn", given=()):
    found = []
    for number, (each, shape) in enumerate(shapes.items()):
        place = f"layers/{name}/vars/{number}"
        aliases = (*(f"{n}/vars/{number}" for n in given), place)
        automatic = () if given else (f"{name}/{each}",)
        found.append(VariableSpec(f"{name}/{each}", shape, "float32", aliases, (place,), automatic))
    return found


def without(shapes, *names):
    return {name: shape for name, shape in shapes.items() if name not in names}


@pytest.mark.parametrize("given", [(), ("norm",)])
@pytest.mark.parametrize("lacks", [("beta",), ("gamma",), ("gamma", "beta")])
@pytest.mark.parametrize("by", [None, By.PLACE, By.NAME])
def test_weights_of_one_shape_whose_number_differs(given, lacks, by):
    """Nothing says whether ``vars/1`` is a beta or a mean, whichever side has more of them."""
    if by is By.NAME and not given:
        return  # no name is on both sides
    one, other = NORM, without(NORM, *lacks)
    for theirs, ours in ((one, other), (other, one)):
        arrays = numbered(theirs.values(), given=given)
        with pytest.raises(AmbiguousNames) as error:
            restored(arrays, layer(ours, given=given), by)
        text = str(error.value)
        assert f"'layers/bn' has {len(theirs)} weights in the source" in text
        assert f"has {len(ours)}." in text
        assert text.endswith("or pass drop='layers/bn/vars/*' to leave it as it is")


def test_weights_whose_shapes_say_which_one_is_missing():
    """A kernel with and without a bias."""
    kernel = without(DENSE, "bias")
    for theirs, ours in ((DENSE, kernel), (kernel, DENSE)):
        found = restored(numbered(theirs.values(), "dense"), layer(ours, "dense"))
        assert found == {"dense/kernel": "layers/dense/vars/0"}


def test_as_many_weights_as_there_were():
    """They are the same ones, also if a rule leaves one of them out."""
    arrays = numbered(NORM.values())
    assert len(restored(arrays, layer(NORM))) == 4
    assert len(restored(arrays[1:], layer(NORM), dropped=arrays[:1])) == 3


def test_an_array_that_does_not_fit_is_the_error_that_is_shown():
    """The number of weights is not what is wrong first."""
    arrays = numbered([(3,)] * 4)
    plan = match([SourceSpecs("file", arrays)], layer(without(NORM, "beta")), "model")
    assert [row.kind.value for row in plan][:3] == ["mismatched"] * 3


# --- positions in a legacy file -------------------------------------------------------------------


def position(cls, names, label):
    """Weights of one layer in their order, all with automatic names."""
    found = []
    for at, name in enumerate(names):
        place = f"#layer 0 of 1, weight {at} of {len(names)}"
        text = f"{label}: weight {at} of {len(names)}"
        made_up = (name, text)
        found.append(cls(name, (4,), "float32", (text,), places=(place,), automatic=made_up))
    return found


def paired(theirs, ours, labels=("dense", "dense_9"), by=None):
    arrays = position(ArraySpec, theirs, labels[0])
    return restored(arrays, position(VariableSpec, ours, labels[1]), by)


@pytest.mark.parametrize(
    ("one", "other", "label"),
    [
        ("gamma", "beta", "layer_normalization"),
        ("beta", "moving_mean", "batch_normalization"),
        ("_embeddings", "kernel", "sequential"),
        ("alpha", "gamma", "sequential"),
        ("kernel", "recurrent_kernel", "sequential"),
        ("depthwise_kernel", "pointwise_kernel", "separable_conv2d"),
    ],
)
def test_what_is_called_otherwise_is_something_else(one, other, label):
    """The error says what both are called, and what to type if they are the same all the same."""
    for theirs, ours in ((one, other), (other, one)):
        with pytest.raises(AmbiguousNames) as error:
            paired([f"layer_1/{theirs}"], [f"layer_2/{ours}"], (label, label))
        plain = theirs.lstrip("_"), ours.lstrip("_")
        assert f"one is called {plain[0]!r} and the other {plain[1]!r}" in str(error.value)
        assert str(error.value).endswith("If they are the same all the same, pass by='order'")
        found = paired([f"layer_1/{theirs}"], [f"layer_2/{ours}"], (label, label), By.ORDER)
        assert found == {f"layer_2/{ours}": f"layer_1/{theirs}"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kernel", "depthwise_kernel"),
        ("moving_mean", "mean"),
        ("w", "kernel"),
        ("kernel", "kernel"),
    ],
)
def test_what_has_another_name_for_the_same_thing(one, other):
    """Keras renamed some weights, and nobody knows what a layer of a user calls its own."""
    found = paired([f"dense_1/{one}"], [f"dense_2/{other}"])
    assert found == {f"dense_2/{other}": f"dense_1/{one}"}


def test_layers_of_other_classes():
    """Automatic names say which class a layer is of. Those of models within do not count."""
    with pytest.raises(AmbiguousNames, match="automatic names are those of other classes"):
        paired(["conv2d_3/kernel"], ["conv2d_transpose/kernel"], ("conv2d_3", "conv2d_transpose"))
    assert paired(["m/dense/kernel"], ["n/dense/kernel"], ("sequential", "functional_1"))
    assert paired(
        ["time_distributed/dense/kernel"], ["dense/kernel"], ("time_distributed", "dense")
    )


def test_layers_within_a_model_in_another_order():
    """Keras writes what is not trainable last. The numbers of the layers show that."""
    kernels = ["m/dense_4/kernel", "m/dense_5/kernel", "m/dense_10/kernel"]
    frozen = ["m/dense_1/kernel", "m/dense_2/kernel", "m/dense/kernel"]
    with pytest.raises(AmbiguousNames, match="frozen on one side alone"):
        paired(frozen, kernels, ("sequential", "sequential_1"))
    assert len(paired(sorted(frozen, key=len), kernels, ("sequential", "sequential_1"))) == 3
    both = [*kernels[1:], kernels[0]]
    assert paired(frozen, both, ("m", "m_1"))["m/dense_4/kernel"] == "m/dense/kernel"


def test_weights_of_one_layer_stay_together():
    """A kernel and a bias of one layer are not those of two."""
    ours = ["m/dense_4/kernel", "m/dense_4/bias", "m/dense_5/kernel", "m/dense_5/bias"]
    mixed = ["m/dense/kernel", "m/dense_1/bias", "m/dense_1/kernel", "m/dense/bias"]
    with pytest.raises(AmbiguousNames, match="in another order"):
        paired(mixed, ours, ("sequential", "sequential_1"))


# --- what the file says that a numbered weight is -------------------------------------------------


def recorded(roles, **options):
    arrays = numbered([(4,)] * len(roles), **options)
    return [replace(each, role=role) for each, role in zip(arrays, roles, strict=True)]


@pytest.mark.parametrize("given", [(), ("norm",)])
@pytest.mark.parametrize("by", [None, By.PLACE, By.NAME])
def test_a_recorded_role_that_is_another(given, by):
    """A gamma is not written into a beta of the same number, whatever way is taken."""
    if by is By.NAME and not given:
        return  # no name is on both sides
    for lack in ("gamma", "beta"):
        ours = without(NORM, lack)
        theirs = [each for each in NORM if each not in ("gamma", "beta") or each == lack]
        with pytest.raises(AmbiguousNames) as error:
            restored(recorded(theirs, given=given), layer(ours, given=given), by)
        text = str(error.value)
        other = "beta" if lack == "gamma" else "gamma"
        assert f"'layers/bn/vars/0' of the source is {lack!r} in its layer" in text
        assert f"'bn/{other}' of the target is {other!r}" in text
        assert text.endswith("or pass drop='layers/bn/vars/*' to leave it as it is")
        same = recorded(list(ours), given=given)
        assert len(restored(same, layer(ours, given=given), by)) == 3


def test_roles_that_are_one_thing_or_unknown():
    """A scale is a gamma. What a layer of a user calls its weights says nothing."""
    assert restored(recorded(["scale"]), layer({"gamma": (4,)})) == {"bn/gamma": "layers/bn/vars/0"}
    assert restored(recorded(["gamma"]), layer({"mine": (4,)})) == {"bn/mine": "layers/bn/vars/0"}


def test_a_renamed_array_is_what_the_user_calls_it():
    """A name that a rule gave says what the array is for."""
    (array,) = recorded(["gamma"])
    renamed = replace(array, name="bn/beta", aliases=(), places=())
    assert restored([renamed], layer({"beta": (4,)})) == {"bn/beta": "layers/bn/vars/0"}
