"""initreg.plan.axis_hints and initreg.plan.transposing: what to type for another order of axes."""

import pytest

from initreg.names import normalise
from initreg.plan.axis_hints import reorderings
from initreg.plan.expectations import SourceSpecs
from initreg.plan.judging import judge
from initreg.plan.matching import match
from initreg.plan.transposing import Pair, study
from initreg.specs import ArraySpec, LayerSpec, VariableSpec


def studied(*entries, ignore_mismatch=False, layers=dict):
    """The study of arrays given as (name, shape of the array, shape of the variable, axes)."""
    arrays = [ArraySpec(n, have, "float32", axes=(*axes, None)[0]) for n, have, _, *axes in entries]
    variables = [VariableSpec(name, want, "float32") for name, _, want, *_ in entries]
    plan = match([SourceSpecs("s", arrays, ignore_mismatch)], variables, "t")
    by_name = {array.name: array for array in arrays}
    known = {normalise(variable.name): variable for variable in variables}
    pairs = [Pair(row.kind, row.name, by_name[row.array], known[row.name]) for row in plan]
    return study(pairs, known, layers), arrays


def hints_of(*entries, **options):
    return reorderings(*studied(*entries, **options))


def doubts_of(*entries, **options):
    return studied(*entries, **options)[0].doubts


def test_one_hint_moves_the_axes_of_all_arrays():
    """Transposed and permuted arrays are in one piece of code, and nothing else is."""
    (hint,) = hints_of(
        ("fc", (2, 3), (3, 2)),
        ("conv1", (8, 4, 3), (3, 4, 8)),
        ("conv2", (8, 4, 3, 5), (3, 5, 4, 8)),
        ("conv3", (8, 4, 3, 5, 7), (3, 5, 7, 4, 8)),
        ("other", (2, 3), (4, 2)),
        ("reversed", (2, 3, 4, 5), (5, 4, 3, 2)),
        ("ids", (3, 3), (3, 3)),
    )
    assert hint.words == (
        "4 arrays would fit with their axes in other orders, as if from PyTorch; "
        "ids may need it, too, which shapes do not show"
    )
    assert hint.code == (
        'SmartInit(source, transpose=["fc", "conv1"], '
        'permute={"conv2": (2, 3, 1, 0), "conv3": (2, 3, 4, 1, 0)})'
    )


def test_the_words_say_the_order_if_there_is_one():
    """One order of axes is spelt out."""
    (hint,) = hints_of(("fc", (2, 3), (3, 2)))
    assert str(hint) == '1 array would fit transposed: SmartInit(source, transpose=["fc"])'
    (hint,) = hints_of(("c/kernel", (8, 4, 3, 3), (3, 3, 4, 8)))
    assert hint.words == (
        "1 array would fit with the axes in the order (2, 3, 1, 0), as if from PyTorch"
    )


def test_many_arrays_are_one_glob_if_it_means_no_others():
    """The common end, or the common beginning and end, unless another array matches it."""
    kernels = [(f"l{i}/kernel", (2, 3), (3, 2)) for i in range(5)]
    (hint,) = hints_of(*kernels, ("l0/bias", (3,), (3,)))
    assert hint.options == {"transpose": ["*/kernel"]}
    (hint,) = hints_of(*kernels, ("x9/kernel", (4, 5), (4, 5)))
    assert hint.options == {"transpose": ["l*/kernel"]}
    (hint,) = hints_of(*kernels, ("l9/kernel", (4, 5), (4, 5)))
    assert hint.options == {"transpose": [f"l{i}/kernel" for i in range(5)]}


def test_aliases_are_not_matched_by_the_glob():
    """An array whose other name matches the glob would be transposed as well."""
    found, arrays = studied(*((f"l{i}/kernel", (2, 3), (3, 2)) for i in range(5)))
    arrays.append(ArraySpec("head", (2, 3), "float32", ("x/head/kernel",)))
    (hint,) = reorderings(found, arrays)
    assert hint.options == {"transpose": ["l*/kernel"]}


def test_magic_characters_in_a_name_are_escaped():
    """The pattern for ``l[0]/w`` does not match ``l0/w``."""
    (hint,) = hints_of(("l[0]/w", (2, 3), (3, 2)), ("l0/w", (2, 2), (2, 2)), ("b*", (2, 3), (3, 2)))
    assert hint.options == {"transpose": ["l[[]0]/w", "b[*]", "l0/w"]}


def test_very_many_arrays_with_nothing_in_common():
    """Twenty thousand names are listed."""
    letters = "abcdefghij"
    names = [letters[i % 10] + f"/{i}" + letters[i // 10 % 10] for i in range(20_000)]
    (hint,) = hints_of(*((name, (2, 3), (3, 2)) for name in names))
    assert hint.options == {"transpose": names}


# --- two readings ---------------------------------------------------------------------------------


def test_two_orders_that_fit_are_both_shown():
    """Without a telling name, (8, 1, 3, 3) is a depthwise kernel or a wide one."""
    one, other = hints_of(("x", (8, 1, 3, 3), (3, 3, 8, 1)))
    assert one.options == {"permute": {"x": (2, 3, 0, 1)}}
    assert other.options == {"permute": {"x": (3, 2, 0, 1)}}
    assert (one.words[-7:], other.words[-10:]) == ("PyTorch", "TensorFlow")
    (hint,) = hints_of(("x/kernel", (8, 1, 3, 3), (3, 3, 8, 1)))
    assert hint.options == {"permute": {"x/kernel": (2, 3, 0, 1)}}


def test_the_reading_that_explains_more_is_shown_alone():
    """One array fits only if the source is TensorFlow's, so the others are read so, too."""
    (hint,) = hints_of(("x", (8, 1, 3, 3), (3, 3, 8, 1)), ("y", (5, 7, 3, 8), (8, 3, 5, 7)))
    assert hint.options == {"permute": {"x": (3, 2, 0, 1), "y": (3, 2, 0, 1)}}
    assert hint.words.endswith("as if from TensorFlow")


def test_a_reshape_that_hides_an_order_is_a_mismatch_that_shows_both():
    """Nothing is guessed: the reason has both ways, and each has a hint."""
    entry = ("dw/kernel", (3, 1, 3, 3), (3, 3, 3, 1))
    found, arrays = studied(entry)
    (each,) = found.needed
    assert each.pair.kind == "mismatched"
    assert judge(each.pair.array, each.pair.variable) == (
        "mismatched",
        "shape (3, 1, 3, 3) fits (3, 3, 3, 1) in two ways: reshaped, or with the axes in the order "
        "(2, 3, 0, 1), as if from PyTorch",
    )
    one, other = reorderings(found, arrays)
    assert one.options == {"permute": {"dw/kernel": (2, 3, 0, 1)}}
    assert other.options == {"permute": {"dw/kernel": (0, 2, 3, 1)}}
    assert other.words == "1 array would fit if only axes of length 1 are moved"


def test_other_kernels_decide_how_a_reshape_is_meant():
    """Beside a kernel that only fits in PyTorch's order, there is one hint."""
    (hint,) = hints_of(
        ("dw/kernel", (3, 1, 3, 3), (3, 3, 3, 1)), ("c/kernel", (8, 3, 3, 3), (3, 3, 3, 8))
    )
    assert hint.options == {"permute": {"dw/kernel": (2, 3, 0, 1), "c/kernel": (2, 3, 1, 0)}}


def test_a_rule_that_puts_the_axes_in_order_settles_it():
    """An array whose axes were put in order by a rule is reshaped as before."""
    assert hints_of(("w", (1, 1, 8, 8), (8, 8, 1, 1), (2, 3, 0, 1))) == []


# --- what fits either way -------------------------------------------------------------------------

NEEDS = ("fc1/kernel", (2, 3), (3, 2))
SQUARE = ("fc2/kernel", (3, 3), (3, 3))


def test_a_square_kernel_goes_with_its_siblings():
    """It is in the code, and the words name it."""
    (hint,) = hints_of(NEEDS, SQUARE)
    assert str(hint) == (
        "1 array would fit transposed, and fc2/kernel, which fits either way, goes with them: "
        'SmartInit(source, transpose=["fc1/kernel", "fc2/kernel"])'
    )


@pytest.mark.parametrize(
    "moved",
    [
        ("fc1/kernel", (3, 2), (3, 2), (1, 0)),
        ("fc1/kernel", (5, 5, 3, 8), (5, 5, 3, 8), (2, 3, 1, 0)),
    ],
    ids=["transpose", "permute"],
)
def test_a_square_kernel_is_doubted_beside_siblings_that_a_rule_moved(moved):
    """Whether they were transposed or permuted. The hint is only about what is left."""
    how = "transposed" if len(moved[1]) == 2 else "permuted"
    doubt = f"fits transposed as well, and fc1/kernel is {how}"
    assert doubts_of(moved, SQUARE) == {"fc2/kernel": doubt}
    (hint,) = hints_of(moved, SQUARE)
    assert hint.options == {"transpose": ["fc2/kernel"]}
    assert hint.words == f"fc2/kernel {doubt}"


def test_a_suffix_of_a_variable_is_no_part_of_its_name():
    """A TF1 variable is called w:0, and is the kernel w."""
    entries = [("a/w:0", (2, 3), (3, 2)), ("b/w:0", (3, 3), (3, 3)), ("w:0", (3, 3), (3, 3))]
    arrays = [ArraySpec(normalise(name), have, "float32") for name, have, _ in entries]
    variables = [VariableSpec(name, want, "float32") for name, _, want in entries]
    plan = match([SourceSpecs("s", arrays)], variables, "t")
    known = {normalise(variable.name): variable for variable in variables}
    pairs = [
        Pair(row.kind, row.name, a, v) for row, a, v in zip(plan, arrays, variables, strict=True)
    ]
    (hint,) = reorderings(study(pairs, known), arrays)
    assert hint.options == {"transpose": ["a/w", "b/w", "w"]}


def test_axes_in_their_own_order_say_that_an_array_is_right():
    """The rule that the warning names settles the doubt."""
    moved = ("fc1/kernel", (3, 2), (3, 2), (1, 0))
    assert doubts_of(moved, (*SQUARE, (0, 1))) == {}
    assert hints_of(moved, (*SQUARE, (0, 1))) == []


def test_a_square_kernel_of_four_axes_goes_with_a_dense_one():
    """A kernel whose axes are all equal is permuted as PyTorch's is."""
    (hint,) = hints_of(NEEDS, ("c/kernel", (3, 3, 3, 3), (3, 3, 3, 3)))
    assert hint.options == {"transpose": ["fc1/kernel"], "permute": {"c/kernel": (2, 3, 1, 0)}}


def test_a_reshaped_square_kernel_goes_with_its_siblings():
    """A dense kernel for a convolution of width 1."""
    (hint,) = hints_of(NEEDS, ("c/kernel", (4, 4), (1, 1, 4, 4)))
    assert hint.options == {"transpose": ["fc1/kernel", "c/kernel"]}


@pytest.mark.parametrize(
    "name", ["embed/embeddings", "embed/weight", "fc2/bias", "ln/weight", "pos_emb", "bn/gamma"]
)
def test_what_is_never_transposed_is_left_alone(name):
    """An embedding that is square is not in the code, and not doubted."""
    (hint,) = hints_of(NEEDS, (name, (3, 3), (3, 3)))
    assert hint.options == {"transpose": ["fc1/kernel"]}
    moved = ("fc1/kernel", (3, 2), (3, 2), (1, 0))
    assert doubts_of(moved, (name, (3, 3), (3, 3))) == {}


def test_what_names_do_not_say_is_named_and_not_moved():
    """The transitions of a CRF are square, and nothing says that they are a kernel."""
    entry = ("crf/transitions", (3, 3), (3, 3))
    (hint,) = hints_of(NEEDS, entry)
    assert hint.options == {"transpose": ["fc1/kernel"]}
    assert hint.words.endswith("crf/transitions may need it, too, which shapes do not show")
    moved = ("fc1/kernel", (3, 2), (3, 2), (1, 0))
    assert list(doubts_of(moved, entry)) == ["crf/transitions"]


def test_names_that_say_nothing_are_kernels_if_one_of_them_is():
    """fc1, fc2 and fc3 are of one kind."""
    entries = [("fc1", (2, 3), (3, 2)), ("fc2", (3, 3), (3, 3)), ("fc3", (4, 3), (3, 4))]
    (hint,) = hints_of(*entries)
    assert hint.options == {"transpose": ["fc1", "fc3", "fc2"]}


def test_the_nearest_kernels_decide_if_they_differ():
    """GPT-2 has (in, out) in its blocks, and (out, in) in a classifier: each square kernel goes
    with those of its layer."""
    (hint,) = hints_of(
        ("h/0/attn/c_attn/kernel", (4, 12), (4, 12)),
        ("h/0/attn/c_proj/kernel", (4, 4), (4, 4)),
        ("head/dense/kernel", (4, 4), (4, 4)),
        ("head/score/kernel", (2, 4), (4, 2)),
    )
    assert hint.options == {"transpose": ["head/score/kernel", "head/dense/kernel"]}


def test_neighbours_that_contradict_each_other_leave_it_open():
    """Two kernels of one block, one of each order: the square one is named and not moved."""
    entries = [
        ("a/x/kernel", (4, 12), (4, 12)),
        ("a/y/kernel", (2, 4), (4, 2)),
        ("a/z/kernel", (4, 4), (4, 4)),
    ]
    (hint,) = hints_of(*entries)
    assert hint.options == {"transpose": ["a/y/kernel"]}
    assert "a/z/kernel may need it" in hint.words


@pytest.mark.parametrize(
    ("turned", "way"),
    [
        (("fc1/kernel", (4, 1), (1, 4)), "transposed"),
        (("fc1/kernel", (1, 4), (4, 1)), "transposed"),
        (("c/kernel", (1, 1, 3, 3), (3, 3, 1, 1)), "with the axes in the order (2, 3, 1, 0)"),
        (("c/kernel", (8, 1, 1), (1, 1, 8)), "transposed"),
        (("dw/kernel", (8, 1, 1, 1), (1, 1, 8, 1)), "with the axes in the order (2, 3, 0, 1)"),
    ],
)
def test_a_reshape_that_moves_axes_of_length_1_is_evidence(turned, way):
    """It only fits in the other framework's order, so a square kernel goes with it."""
    doubt = f"fits transposed as well, and {turned[0]} needs no reshape if it is {way}"
    assert doubts_of(turned, SQUARE) == {"fc2/kernel": doubt}
    (hint,) = hints_of(turned, SQUARE)
    assert hint.options == {"transpose": ["fc2/kernel"]}
    assert doubts_of(turned, (*SQUARE, (1, 0))) == doubts_of(turned, (*SQUARE, (0, 1))) == {}


def test_other_reshapes_are_no_evidence():
    """Of what is never transposed, of an unknown vector, or to another number of axes."""
    for other in (
        ("embed/embeddings", (1, 4), (4, 1)),
        ("pos_emb", (1, 4), (4, 1)),
        ("centre", (1, 4), (4, 1)),
        ("fc1/kernel", (1, 1, 3, 4), (3, 4)),
        ("fc1/kernel", (4,), (4, 1)),
        ("fc1/kernel", (1, 4), (1, 1, 4)),
    ):
        assert doubts_of(other, SQUARE) == {}
        assert hints_of(other, SQUARE) == []


def test_names_that_say_nothing_are_evidence_for_their_like():
    """fc1, of one input, speaks for the square fc2, and not for a variable of another name."""
    turned = ("fc1", (4, 1), (1, 4))
    assert list(doubts_of(turned, ("fc2", (4, 4), (4, 4)))) == ["fc2"]
    assert doubts_of(turned, ("transitions", (4, 4), (4, 4))) == {}


def test_reshaped_kernels_speak_for_their_own_scope():
    """Where kernels of a source differ, those of the same scope decide."""
    assert list(
        doubts_of(
            ("a/x/kernel", (4, 1), (1, 4)),
            ("a/y/kernel", (4, 4), (4, 4)),
            ("b/x/kernel", (4, 5), (4, 5)),
            ("b/y/kernel", (4, 4), (4, 4)),
        )
    ) == ["a/y/kernel"]


def test_inputs_of_one_channel_are_in_one_order():
    """A dense kernel behind a convolution of one channel is not doubted, and one of two is."""
    moved = ("c/kernel", (5, 5, 3, 1), (5, 5, 3, 1), (2, 3, 1, 0))
    assert doubts_of(moved, ("out/kernel", (1, 8), (8, 1))) == {}
    moved = ("c/kernel", (5, 5, 3, 2), (5, 5, 3, 2), (2, 3, 1, 0))
    (doubt,) = doubts_of(moved, ("out/kernel", (1, 8), (8, 1))).values()
    assert doubt.startswith("its 8 inputs are 4 for each of 2 channels.")
    assert doubts_of(moved, ("out/kernel", (1, 8), (8, 1), (0, 1))) == {}


def test_square_kernels_alone_are_not_doubted():
    """Nothing says that a source is another framework's."""
    assert hints_of(SQUARE, ("fc3/kernel", (3, 4), (3, 4))) == []
    assert doubts_of(SQUARE) == {}


def test_a_skipped_array_speaks_for_its_siblings():
    """With ignore_mismatch the kernel that does not fit is skipped, and the square one doubted."""
    assert doubts_of(NEEDS, SQUARE, ignore_mismatch=True) == {
        "fc2/kernel": "fits transposed as well, and fc1/kernel only fits transposed"
    }


# --- what a rule moved, and what no order makes right ---------------------------------------------


def test_reversed_axes_of_a_convolution_are_doubted():
    """transpose= of a kernel with four axes swaps height and width."""
    reversed_, right = (3, 2, 1, 0), (2, 3, 1, 0)
    entry = ("c/kernel", (5, 5, 3, 8), (5, 5, 3, 8))
    assert "height and width change places" in doubts_of((*entry, reversed_))["c/kernel"]
    assert doubts_of((*entry, right)) == {}


def test_a_kernel_of_attention_has_no_order_if_two_of_its_axes_are_equal():
    """(heads, length, model) is no kernel of a convolution."""
    (hint,) = hints_of(("query/kernel", (8, 8, 64), (64, 8, 8)))
    assert (hint.code, hint.words) == (
        "",
        "query/kernel is a kernel of attention, two axes of which have the same length",
    )
    (hint,) = hints_of(("query/kernel", (16, 8, 64), (64, 8, 16)))
    assert hint.options == {"transpose": ["query/kernel"]}


def test_dtypes_that_are_not_cast_are_no_matter_of_axes():
    """An array of another kind of dtype is not transposed."""
    arrays = [ArraySpec("w", (2, 3), "float32")]
    variables = [VariableSpec("w", (3, 2), "int8")]
    (row,) = match([SourceSpecs("s", arrays)], variables, "t")
    assert (
        study([Pair(row.kind, row.name, arrays[0], variables[0])], {"w": variables[0]}).needed == []
    )


def test_names_of_strangers_do_not_hold_up_the_study():
    """Very long names with very many parts are looked at in part."""
    deep = "/".join("ab" * 20_000)
    entries = [(f"{deep}{i}/kernel", (4, 4), (4, 4)) for i in range(100)]
    entries += [(f"{deep}x/kernel", (4, 5), (5, 4)), (f"{deep}y/kernel", (4, 5), (4, 5))]
    (hint,) = hints_of(*entries)
    assert hint.options == {"transpose": [f"{deep}x/kernel"]}
    assert len(hint.words) < 1000


def test_names_of_strangers_are_escaped_in_words():
    """A control character in a name does not reach the terminal."""
    evil = ("a\x1b[2J/kernel", (3, 3), (3, 3))
    (hint,) = hints_of(NEEDS, evil)
    assert hint.words.isprintable()
    moved = ("a\x1b[2J/kernel", (3, 2), (3, 2), (1, 0))
    assert all(doubt.isprintable() for doubt in doubts_of(moved, SQUARE).values())


WINDOW = ("window", "window")
TRANSPOSED = LayerSpec("up", "Conv2DTranspose", "kernel", 0, (*WINDOW, "out", "in"))
FORWARD = LayerSpec("up", "Conv2D", "kernel", 0, (*WINDOW, "in", "out"))


@pytest.mark.parametrize(
    ("name", "layer", "is_doubted"),
    [
        ("params/up/kernel", TRANSPOSED, True),
        ("params/up/kernel", FORWARD, False),
        ("params/up/kernel", None, False),
        ("params/ConvTranspose_0/kernel", None, True),
        ("up/kernel", TRANSPOSED, False),
    ],
)
def test_a_transposed_convolution_of_flax_is_doubted(name, layer, is_doubted):
    """If the source has the collections of flax, and the target or a name says what it is. The
    order of its own axes answers the doubt."""
    known = {} if layer is None else {name: layer}
    shapes = (3, 3, 4, 4), (3, 3, 4, 4)
    assert doubts_of((name, *shapes, (0, 1, 2, 3)), layers=lambda: known) == {}
    doubts = doubts_of((name, *shapes), layers=lambda: known)
    assert [*doubts] == ([name] if is_doubted else [])
    assert all("window the other way round" in why for why in doubts.values())
