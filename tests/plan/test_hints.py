"""initreg.plan.hints: what to type when little or nothing matched."""

import numpy as np
import pytest

import initreg
from initreg import SmartInit
from initreg.plan.hints import nearest, renamings
from initreg.specs import ArraySpec, VariableSpec

NAMES = [f"block{i}/conv/{w}" for i in range(5) for w in ("W", "b")]


def arrays_of(names, shape=(2,)):
    return [ArraySpec(name, shape, "float32") for name in names]


def variables_of(names, shape=(2,)):
    return [VariableSpec(name, shape, "float32") for name in names]


def of(have, want):
    return renamings(arrays_of(have), variables_of(want), '"m.npz"')


@pytest.mark.parametrize(
    ("have", "want", "how", "options"),
    [
        ([f"model/{n}" for n in NAMES], NAMES, "removing 'model/'", 'strip_prefix="model/"'),
        ([f"a/b/{n}" for n in NAMES], NAMES, "removing 'a/b/'", 'strip_prefix="a/b/"'),
        (NAMES, [f"tower0/{n}" for n in NAMES], "adding 'tower0/'", 'prefix="tower0/"'),
        (
            [n.replace("/", ".") for n in NAMES],
            NAMES,
            "replacing '.' by '/'",
            'rename=[(r"\\.", "/")]',
        ),
        (
            NAMES,
            [n.replace("/", ".") for n in NAMES],
            "replacing '/' by '.'",
            'rename=[("/", ".")]',
        ),
        (
            ["model." + n.replace("/", ".") for n in NAMES],
            NAMES,
            "replacing '.' by '/' and removing 'model/'",
            'rename=[(r"\\.", "/"), ("^model/", "")]',
        ),
        (
            [n.replace("/", ".") for n in NAMES],
            [f"net/{n}" for n in NAMES],
            "replacing '.' by '/' and adding 'net/'",
            'rename=[(r"\\.", "/")], prefix="net/"',
        ),
        (
            [f"resnet/{n}" for n in NAMES],
            [f"backbone/{n}" for n in NAMES],
            "replacing 'resnet/' by 'backbone/'",
            'rename=[("^resnet/", "backbone/")]',
        ),
        (
            [f"{n[:-1]}weight" for n in NAMES if n.endswith("W")],
            [f"{n[:-1]}kernel" for n in NAMES if n.endswith("W")],
            "replacing '/weight' by '/kernel'",
            'rename=[("/weight$", "/kernel")]',
        ),
        (
            [n.replace("conv", "c+v") for n in NAMES],
            NAMES,
            "replacing '/c+v/' by '/conv/'",
            'rename=[(r"/c\\+v/", "/conv/")]',
        ),
        (
            [n.replace("/", ".").replace("W", "weight") for n in NAMES if n.endswith("W")],
            [n for n in NAMES if n.endswith("W")],
            "replacing '.' by '/' and replacing '/weight' by '/W'",
            'rename=[(r"\\.", "/"), ("/weight$", "/W")]',
        ),
    ],
    ids=str,
)
def test_the_renaming_that_makes_all_names_match_comes_first(have, want, how, options):
    """The hint counts the names, says how, and its code really renames all of them."""
    best = of(have, want)[0]
    assert best.words == f"{len(have)} of {len(have)} names match after {how}"
    assert str(best) == f'{best.words}: SmartInit("m.npz", {options})'
    assert best.to_dict()["code"] == best.code
    source = {name: np.ones(2, "f4") for name in have}
    model = {name: np.zeros(2, "f4") for name in want}
    code = best.code.replace('"m.npz"', "source")
    eval(code, {"SmartInit": SmartInit, "source": source}).init(model)
    assert all(array.all() for array in model.values())


def test_the_commonest_renaming_comes_first_and_few_are_shown():
    """A renaming that helps only a few names is not shown."""
    have = [f"model/{n}" for n in NAMES] + ["odd/block0/conv/W"]
    found = of(have, NAMES)
    assert len(found) == 1
    assert found[0].words == "10 of 11 names match after removing 'model/'"


def test_the_word_and_in_a_name_is_not_a_second_step():
    """Two prefixes that help equally are both shown, after the hint that removes both."""
    have = ["salt and pepper/a", "salt and pepper/b", "model/c", "model/d"]
    assert [hint.words for hint in of(have, ["a", "b", "c", "d"])] == [
        "4 of 4 names match after removing 'model/' and 'salt and pepper/'",
        "2 of 4 names match after removing 'salt and pepper/'",
        "2 of 4 names match after removing 'model/'",
    ]


def test_names_that_match_already_are_counted_in():
    """Names that match already are counted: 11 of 11, not 10."""
    have = [*(f"model/{n}" for n in NAMES), "step"]
    assert of(have, [*NAMES, "step"])[0].words.startswith("11 of 11 names match")


def test_a_renaming_that_makes_two_names_one_is_not_advised():
    """A renaming that gives two arrays the same name is not a hint, since it is an error."""
    hints = of(["a/w", "w", "a/v"], ["w", "v"])
    assert [hint.options for hint in hints if "strip_prefix" in hint.options] == []


def test_a_few_of_many_that_meet_by_chance_are_no_hint():
    """Two of a hundred names are not enough for a hint."""
    have = [f"a/x{i}" for i in range(98)] + ["a/w", "a/v"]
    want = [f"b{i * i}/y{i}" for i in range(98)] + ["w", "v"]
    assert of(have, want) == []


def test_passed_over_arrays_may_be_transposed_too():
    """Arrays that ignore_mismatch=True skips are looked at for transposes, too."""
    plan = SmartInit({"w": np.ones((2, 3)), "b": np.ones(1)}, ignore_mismatch=True).plan(
        {"w": np.ones((3, 2)), "b": np.ones(1)}
    )
    assert [hint.options for hint in plan.hints] == [{"transpose": ["w"]}]


def test_second_names_of_variables_count():
    """Aliases of variables can match, such as places in a Keras model."""
    variable = VariableSpec("dense/kernel", (2,), "float32", ("layers/dense/vars/0",))
    (hint,) = renamings(arrays_of(["m/layers/dense/vars/0"]), [variable])
    assert hint.options == {"strip_prefix": "m/"}


def test_near_names_where_no_renaming_helps():
    """If no renaming helps, a hint shows similar names and how to rename them."""
    (hint,) = of(["dense_kernal"], ["dense_kernel"])
    assert str(hint) == (
        "'dense_kernal' in the source looks like 'dense_kernel' in the target: "
        'SmartInit("m.npz", rename={"dense_kernal": "dense_kernel"})'
    )


def test_near_names_have_equal_shapes_and_differ_by_more_than_numbers():
    """Names with other shapes, or that differ only by a number, are not similar."""
    assert nearest(arrays_of(["kernal"], (3,)), variables_of(["kernel"], (2,))) == []
    assert nearest(arrays_of(["layer_11/w"]), variables_of(["layer_12/w"])) == []


def test_nothing_is_made_up():
    """There is no hint if nothing is similar, or if names match and shapes do not."""
    assert of(["abc"], ["xyz"]) == []
    assert of(["a/w"], ["z/w"]) == []
    arrays, variables = arrays_of(["m/a", "m/b"], (2,)), variables_of(["a", "b"], (9, 9))
    assert renamings(arrays, variables) == []
    assert len(renamings(arrays, variables_of(["a", "b"], (2,)))) == 1


@pytest.mark.parametrize(
    ("have", "want", "hint"),
    [
        ([], ["a"], "the source holds no arrays"),
        (["a"], [], "the target has no variables: create them before restoring"),
    ],
)
def test_an_empty_side_is_said(have, want, hint):
    """A hint without options says that there are no arrays, or no variables."""
    (found,) = of(have, want)
    assert str(found) == hint
    assert found.code == ""


def test_at_most_three_hints():
    """There are at most three hints, however many sources match few names."""
    chain = [{f"p{i}/a": np.ones(1), f"p{i}/b": np.ones(1)} for i in range(5)]
    with pytest.raises(initreg.NothingMatched) as caught:
        SmartInit(chain).init({"a": np.zeros(1), "b": np.zeros(1)})
    assert len(caught.value.plan.hints) == 3


def test_of_thousands_of_names_both_renamings_are_found():
    """Among thousands of names, renamings are found in a sample and counted for all."""
    layers = [f"block{i}/conv" for i in range(3000)]
    kernels, biases = [f"{at}/weight" for at in layers], [f"{at}/offset" for at in layers]
    have = [*arrays_of(kernels, (2, 3)), *arrays_of(biases, (3,))]
    kernels, biases = [f"{at}/kernel" for at in layers], [f"{at}/bias" for at in layers]
    want = [*variables_of(kernels, (2, 3)), *variables_of(biases, (3,))]
    assert [hint.words for hint in renamings(have, want)] == [
        "3,000 of 6,000 names match after replacing '/weight' by '/kernel'",
        "3,000 of 6,000 names match after replacing '/offset' by '/bias'",
    ]


@pytest.mark.parametrize(
    "odd",
    [
        ["/".join("ab") * 20_000 + str(i) for i in range(50)],
        [("a" if i % 2 else "b") * 100_000 + str(i) for i in range(50)],
        [f"{'a' * 90}{'b' * 90}{i:03}" for i in range(200)],
    ],
    ids=["parts", "long", "anagrams"],
)
def test_names_of_strangers_do_not_hold_up_the_hints(odd):
    """Very long or similar names, which took minutes, are fast, and other names keep their hint."""
    want = [*NAMES, *(f"{'ab' * 90}{i:03}" for i in range(100))]
    first = of([*odd[:5], *(f"model/{n}" for n in NAMES)], want)[0]
    assert first.words == "10 of 15 names match after removing 'model/'"
    assert of(odd, want) == []


# --- hints that are tried -------------------------------------------------------------------------


def specs(names):
    return (
        [ArraySpec(name, (2,), "float32") for name in names],
        [VariableSpec(name, (2,), "float32") for name in NAMES],
    )


def test_a_hint_that_does_not_do_what_it_says_is_not_shown():
    """It is planned, and the words have the number that was found."""
    arrays, variables = specs([f"model/{name}" for name in NAMES])
    tried = []

    def attempt(options):
        tried.append(options)
        return {name: f"model/{name}" for name in NAMES[:2]}

    (hint,) = renamings(arrays, variables, attempt=attempt)
    assert hint.words == f"2 of {len(NAMES)} names match after removing 'model/'"
    assert {"strip_prefix": "model/"} in tried
    assert renamings(arrays, variables, attempt=lambda options: None) == []


def test_what_is_restored_beside_what_is_renamed_is_counted():
    """An optimizer's state is not looked at, but a renaming reaches it: never more than all."""
    arrays, variables = specs([f"model/{name}" for name in NAMES])
    every = {name: f"model/{name}" for name in [*NAMES, "m/0", "m/1"]}
    hint, *_ = renamings(arrays, variables, attempt=lambda options: every)
    total = len(NAMES) + 2
    assert hint.words == f"{total} of {total} names match after removing 'model/'"
    assert renamings(arrays, variables, attempt=lambda options: {"a": "x"}, now=1) == []


def test_only_so_many_hints_are_planned():
    """A plan for many names takes long, so only the best few are tried."""
    names = [f"layer{i}/w" for i in range(40_000)]
    tried = []

    def attempt(options):
        tried.append(options)

    arrays = [ArraySpec(f"a/b/c/{name}", (2,), "float32") for name in names]
    variables = [VariableSpec(f"x/y/{name}", (2,), "float32") for name in names]
    arrays += [ArraySpec(f"m/{name}", (2,), "float32") for name in names]
    variables += [VariableSpec(name, (2,), "float32") for name in names]
    renamings(arrays, variables, attempt=attempt)
    assert 0 < len(tried) <= 2


def test_names_that_a_framework_made_up_are_not_alike():
    """Another number is another layer, whatever else is alike."""
    made_up = ArraySpec("encoder/dens/w", (2,), "float32", automatic=("encoder/dens/w",))
    given = ArraySpec("encoder/dens/w", (2,), "float32")
    own = VariableSpec("encoder/dense/w", (2,), "float32", automatic=("encoder/dense/w",))
    assert nearest([given], [own])
    assert not nearest([made_up], [own])
    plain = [VariableSpec("other/dense_16/kernel", (2,), "float32")]
    assert not nearest([ArraySpec("outer/dense_12/kernel", (2,), "float32")], plain)
    assert nearest([ArraySpec("outer/dense_16/kernel", (2,), "float32")], plain)


def test_two_networks_in_a_source_are_two_readings():
    """Both are shown with what to type, and there is no code that decides for one."""
    source = {f"{net}/{name}": np.ones(2, "f4") for net in ("online", "target") for name in NAMES}
    plan = SmartInit(source).plan({name: np.zeros(2, "f4") for name in NAMES})
    (hint,) = plan.hints
    assert hint.code == ""
    assert "removing 'online/' (strip_prefix='online/'); or" in hint.words
    assert "removing 'target/' (strip_prefix='target/')" in hint.words


def test_a_name_is_not_replaced_by_a_place():
    """``fc3`` is not the first layer because that one is left over. What is a place itself may be
    replaced by one, and a name may lack what is in front of a place."""
    places = [f"layer_with_weights-0/{each}" for each in ("w", "b")]
    variables = [VariableSpec(f"fc/{p[-1]}", (2,), "float32", (p,), (p,)) for p in places]

    def codes(front, is_place=False):
        names = [f"{front}/{each}" for each in ("w", "b")]
        kept = [(name,) if is_place else () for name in names]
        arrays = [ArraySpec(n, (2,), "float32", places=p) for n, p in zip(names, kept, strict=True)]
        return "\n".join(hint.code for hint in renamings(arrays, variables))

    assert "layer_with_weights" not in codes("fc3")
    assert "layer_with_weights" in codes("net", is_place=True)
    assert 'strip_prefix="model/"' in codes("model/layer_with_weights-0")
