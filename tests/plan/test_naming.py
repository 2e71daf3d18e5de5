"""The way of naming: by name, by place or by order, once for a whole source."""

import pytest

from initreg.errors import AmbiguousNames, RuleError
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.rows import By
from initreg.specs import ArraySpec, VariableSpec


def layers(*named, at="layers/dense", shape=(4, 4)):
    """Arrays of a file: each layer's place is counted, and it may have a name."""
    found = []
    for number, name in enumerate(named):
        place = f"{at}_{number}/vars/0" if number else f"{at}/vars/0"
        aliases = (f"{name}/vars/0",) if name else ()
        found.append(ArraySpec(place, shape, "float32", aliases, places=(place,)))
    return found


def model(*named, at="layers/dense", shape=(4, 4)):
    """The variables of a model. A layer without a name has an automatic one."""
    found = []
    for number, name in enumerate(named):
        place = f"{at}_{number}/vars/0" if number else f"{at}/vars/0"
        own = f"{name or f'dense_{number + 7}'}/kernel"
        others = ((f"{name}/vars/0",) if name else ()) + (place,)
        automatic = () if name else (own,)
        found.append(VariableSpec(own, shape, "float32", others, (place,), automatic))
    return found


def restored(arrays, variables, by=None):
    plan = match([SourceSpecs("file", arrays, by=by)], variables, "model")
    return {row.name: row.array for row in plan.restored}, plan.ways[0]


def test_automatic_names_are_matched_by_place():
    """Names that a framework made up are not compared where there are places."""
    found, way = restored(layers("", ""), model("", ""))
    assert found == {
        "dense_7/kernel": "layers/dense/vars/0",
        "dense_8/kernel": "layers/dense_1/vars/0",
    }
    assert way.by is By.PLACE
    assert str(way) == "matched by place: names are automatic"


def test_automatic_names_that_overlap_prove_nothing():
    """A shifted number would put each array one layer too far."""
    arrays = [
        ArraySpec(f"layer-{i}/w", (4, 4), "float32", (f"dense_{i}/w",), places=(f"layer-{i}/w",))
        for i in range(3)
    ]
    variables = [
        VariableSpec(
            f"dense_{i + 1}/w",
            (4, 4),
            "float32",
            (f"layer-{i}/w",),
            (f"layer-{i}/w",),
            (f"dense_{i + 1}/w",),
        )
        for i in range(3)
    ]
    found, _ = restored(arrays, variables)
    assert found == {f"dense_{i + 1}/w": f"layer-{i}/w" for i in range(3)}


def test_automatic_names_at_other_places_match_nothing():
    """Two unnamed variables are not the same one, whatever TensorFlow calls them."""
    arrays = [ArraySpec("bias", (3,), "float32", ("Variable",), places=("bias",))]
    variables = [VariableSpec("Variable", (3,), "float32", ("scale",), ("scale",), ("Variable",))]
    plan = match([SourceSpecs("file", arrays)], variables, "model")
    assert plan.matches_nothing
    assert plan.ways[0].others == {By.NAME: 1}
    found, _ = restored(arrays, variables, By.NAME)
    assert found == {"Variable": "bias"}


def test_names_and_places_that_agree():
    """The same model again is matched by name, without a warning."""
    found, way = restored(layers("a", "b"), model("a", "b"))
    assert found == {"a/kernel": "layers/dense/vars/0", "b/kernel": "layers/dense_1/vars/0"}
    assert way.by is By.NAME


def test_layers_in_another_order_are_an_error_that_shows_both_ways():
    """Names say one thing and places another: it is for the user to decide."""
    arrays, variables = layers("a", "b"), model("b", "a")
    with pytest.raises(AmbiguousNames) as raised:
        restored(arrays, variables)
    text = str(raised.value)
    assert "a/kernel: by name 'layers/dense/vars/0', by place 'layers/dense_1/vars/0'" in text
    assert "by='name'" in text
    assert "by='place'" in text
    assert restored(arrays, variables, By.NAME)[0] == {
        "a/kernel": "layers/dense/vars/0",
        "b/kernel": "layers/dense_1/vars/0",
    }
    assert restored(arrays, variables, By.PLACE)[0] == {
        "b/kernel": "layers/dense/vars/0",
        "a/kernel": "layers/dense_1/vars/0",
    }


def test_places_that_do_not_fit_are_no_reading():
    """If the shapes rule the places out, names decide."""
    arrays = layers("a", shape=(4, 4)) + layers("", "b", shape=(2, 2))[1:]
    variables = model("b", shape=(2, 2)) + model("", "a", shape=(4, 4))[1:]
    found, way = restored(arrays, variables)
    assert found == {"b/kernel": "layers/dense_1/vars/0", "a/kernel": "layers/dense/vars/0"}
    assert way.by is By.NAME


def test_a_head_of_equal_shape_under_another_name_is_not_restored():
    """The other names are on both sides, so that names count."""
    found, way = restored(layers("a", "old_head"), model("a", "new_head"))
    assert found == {"a/kernel": "layers/dense/vars/0"}
    assert way.by is By.NAME


def test_automatic_names_among_given_ones_follow_their_places():
    """Where the names that people gave agree with the places, the others go by place."""
    found, way = restored(layers("a", "", "head"), model("a", "", "head"))
    assert found["dense_8/kernel"] == "layers/dense_1/vars/0"
    assert len(found) == 3
    assert way.by is By.PLACE


def test_other_names_at_all_places_are_told():
    """Nothing says that the names are comparable: the row has the name of the array."""
    plan = match([SourceSpecs("file", layers("x", "y"))], model("a", "b"), "model")
    assert [(row.name, row.called) for row in plan.restored] == [
        ("a/kernel", "x/vars/0"),
        ("b/kernel", "y/vars/0"),
    ]
    assert plan.ways[0].by is By.PLACE


def test_other_names_in_a_part_of_the_model_match_nothing():
    """Other names and other layers are another model."""
    plan = match([SourceSpecs("file", layers("x"))], model("a", "b"), "model")
    assert plan.matches_nothing
    assert plan.ways[0].others == {By.PLACE: 1}


@pytest.mark.parametrize(
    ("by", "sought"),
    [(None, "name"), (By.NAME, "name"), (By.PLACE, "place"), (By.ORDER, "position")],
)
def test_nothing_in_the_way_that_was_asked_for(by, sought):
    """The verdict says what was compared, so that nobody looks for wrong names."""
    places = [f"layers/{name}/vars/0" for name in "xy"]
    arrays = [ArraySpec(place, (2,), "float32", places=(place,)) for place in places]
    variables = [VariableSpec("y", (2,), "float32", ("z",), ("z",))]
    plan = match([SourceSpecs("file", arrays, by=by)], variables, "model")
    assert plan.verdict == f"no array in file has the {sought} of a variable in model"


def test_one_more_layer_of_a_sort_may_be_any_of_them():
    """Without names it cannot be known which of three equal layers is new."""
    with pytest.raises(
        AmbiguousNames, match=r"the source has 2 and the target 3 of 'layers/dense'"
    ):
        restored(layers("", ""), model("", "", ""))
    found, _ = restored(layers("", ""), model("", "", ""), By.PLACE)
    assert found == {
        "dense_7/kernel": "layers/dense/vars/0",
        "dense_8/kernel": "layers/dense_1/vars/0",
    }


def test_one_more_layer_of_another_shape_is_known():
    """The shapes leave one possibility."""
    variables = model("", "") + model("", "", "", shape=(4, 2))[2:]
    found, _ = restored(layers("", ""), variables)
    assert found == {
        "dense_7/kernel": "layers/dense/vars/0",
        "dense_8/kernel": "layers/dense_1/vars/0",
    }


def under(prefix, arrays):
    return [ArraySpec(prefix + a.name, a.shape, a.dtype, places=(prefix + a.name,)) for a in arrays]


def test_a_checkpoint_that_holds_more_than_the_model():
    """The place of the model in it is looked for."""
    arrays = [*under("model/", layers("", "")), *under("step/", layers("")[:0])]
    arrays.append(ArraySpec("step", (), "int64", places=("step",)))
    found, _ = restored(arrays, model("", ""))
    assert list(found.values()) == ["model/layers/dense/vars/0", "model/layers/dense_1/vars/0"]


def test_two_networks_of_like_layers_are_an_error():
    """Either may be meant, and each has its options."""
    arrays = under("online/", layers("", "")) + under("target/", layers("", ""))
    with pytest.raises(AmbiguousNames) as raised:
        restored(arrays, model("", ""))
    for name in ("online/", "target/"):
        assert f"keep='{name}*', strip_prefix='{name}', by='place'" in str(raised.value)


def test_a_backbone_in_a_larger_model_is_not_taken_for_its_head():
    """The one layer of the file fits the model's own layer, and that of its backbone."""
    variables = model("") + model("", at="layers/functional/layers/dense")
    variables[1] = VariableSpec(
        "dense_8/kernel",
        (4, 4),
        "float32",
        variables[1].aliases,
        variables[1].places,
        ("dense_8/kernel",),
    )
    with pytest.raises(AmbiguousNames, match="'layers/functional/' of the target"):
        restored(layers(""), variables)


def in_order(*counts, automatic=()):
    total = len(counts)
    return [
        (f"#layer {n} of {total}, weight {w} of {count}", n, w)
        for n, count in enumerate(counts)
        for w in range(count)
    ]


def test_a_legacy_file_goes_by_order():
    """Automatic names that have moved on are matched by their position among the layers."""
    arrays = [
        ArraySpec(f"dense_{n}/{w}", (4,), "float32", places=(p,), automatic=(f"dense_{n}/{w}",))
        for p, n, w in in_order(2, 1)
    ]
    variables = [
        VariableSpec(f"dense_{n + 1}/{w}", (4,), "float32", (), (p,), (f"dense_{n + 1}/{w}",))
        for p, n, w in in_order(2, 1)
    ]
    found, way = restored(arrays, variables)
    assert found == {"dense_1/0": "dense_0/0", "dense_1/1": "dense_0/1", "dense_2/0": "dense_1/0"}
    assert way.by is By.ORDER
    more = [
        VariableSpec(f"dense_{n}/{w}", (4,), "float32", (), (p,), (f"dense_{n}/{w}",))
        for p, n, w in in_order(2, 1, 1)
    ]
    with pytest.raises(AmbiguousNames, match="the source has 2 and the target 3 layers") as error:
        restored(arrays, more)
    assert "Pass by='order' to go by order all the same" in str(error.value)
    found, way = restored(arrays, more, By.ORDER)
    assert found == {"dense_0/0": "dense_0/0", "dense_0/1": "dense_0/1", "dense_1/0": "dense_1/0"}
    assert str(way) == "matched by order: as asked for"


def test_a_way_that_a_source_does_not_have():
    """A dict has names alone, which may be places, but no order."""
    arrays = [ArraySpec("w", (2,), "float32")]
    variables = [VariableSpec("w", (2,), "float32", ("layers/w",), ("layers/w",))]
    for by in (By.ORDER,):
        with pytest.raises(RuleError, match="neither side records orders"):
            restored(arrays, variables, by)
    assert restored(arrays, variables, By.NAME)[0] == {"w": "w"}
    assert restored(arrays, variables, By.PLACE)[0] == {}
    plain = [VariableSpec("w", (2,), "float32")]
    with pytest.raises(RuleError, match="neither side records places"):
        restored(arrays, plain, By.PLACE)


def inner(name, place, shape=(4, 4)):
    """A variable of a layer with a name, at another place than in the file."""
    return VariableSpec(f"{name}/kernel", shape, "float32", (f"{name}/vars/0", place), (place,), ())


def test_a_name_without_its_place_leaves_the_other_places_alone():
    """The named layer was moved into a part of its own. The other one is where it was."""
    arrays = layers("", "a")
    variables = [*model(""), inner("a", "layers/functional/layers/dense/vars/0")]
    found, way = restored(arrays, variables)
    assert found == {"dense_7/kernel": "layers/dense/vars/0", "a/kernel": "layers/dense_1/vars/0"}
    assert str(way) == "matched by place: 1 name automatic, and the other names agree"


def test_a_name_without_its_place_where_places_may_mean_others():
    """Then only names count, and the plan says what places would add."""
    arrays = layers("", "a")
    variables = [*model("", ""), inner("a", "layers/functional/layers/dense/vars/0")]
    with pytest.raises(AmbiguousNames, match="that goes into 'dense_8/kernel'"):
        restored(arrays, variables)
    apart = [*layers(""), *layers("a", at="layers/einsum", shape=(2, 2))]
    variables[2] = inner("a", "tower/inside/kernel", (2, 2))
    found, way = restored(apart, variables)
    assert found == {"a/kernel": "layers/einsum/vars/0"}
    assert way.by is By.NAME
    assert way.others == {By.PLACE: 2}


def test_a_name_that_several_arrays_have_tells_none_of_them_apart():
    """A sub-classed model of Keras 3 calls the weights of all of its layers ``net/kernel``."""
    arrays = [
        ArraySpec(f"part{n}/w", (4, 4), "float32", ("net/w",), places=(f"part{n}/w",))
        for n in range(2)
    ]
    variables = [
        VariableSpec(
            "net_1/dense_1/w", (4, 4), "float32", ("part0/w",), ("part0/w",), ("net_1/dense_1/w",)
        ),
        VariableSpec("net_1/head/w", (4, 4), "float32", ("part1/w",), ("part1/w",)),
    ]
    found, _ = restored(arrays, variables)
    assert found == {"net_1/dense_1/w": "part0/w", "net_1/head/w": "part1/w"}


def test_a_source_without_names_is_matched_by_place():
    """The plan does not say that names are automatic where there are none."""
    variables = [VariableSpec("head/w", (2,), "float32", ("layers/w",), ("layers/w",))]
    arrays = [ArraySpec("layers/w", (2,), "float32", places=("layers/w",))]
    assert str(restored(arrays, variables)[1]) == "matched by place: the source records no names"


def test_other_names_within_a_model_are_other_layers():
    """All names begin with that of the model, and one of them differs in an inner part."""
    arrays, variables = [], []
    for n, (theirs, ours) in enumerate((("body", "body"), ("head", "other"))):
        at = f"parts/{n}/w"
        arrays.append(ArraySpec(at, (4, 4), "float32", (f"net/{theirs}/w",), places=(at,)))
        variables.append(VariableSpec(f"net/{ours}/w", (4, 4), "float32", (at,), (at,)))
    found, way = restored(arrays, variables)
    assert found == {"net/body/w": "parts/0/w"}
    assert way.by is By.NAME
