"""initreg.plan.parts: parts of names that hints take away or put in."""

import re
from collections import Counter

import numpy as np
import pytest

from initreg import SmartInit
from initreg.plan.hints import renamings
from initreg.plan.parts import (
    are_opposites,
    differ_by_numbers,
    families,
    has_other_number,
    insertions,
    removals,
    substitution,
)
from initreg.specs import ArraySpec, VariableSpec

LAYERS = [f"model.layers.{i}.{part}" for i in range(3) for part in ("weight", "bias")]


def follow(have, want):
    """How many of the names the first hint restores, and the hint."""
    source, model = {n: np.ones(2) for n in have}, {n: np.zeros(2) for n in want}
    hint = SmartInit(source).plan(model).hints[0]
    code = hint.code
    plan = eval(code, {"SmartInit": SmartInit, "source": source}).plan(model)
    return len(plan.restored), hint


@pytest.mark.parametrize(
    ("have", "words"),
    [
        ([n.replace("model.", "model._orig_mod.") for n in LAYERS], "removing '_orig_mod.'"),
        ([n.replace("model.", "model.module.") for n in LAYERS], "removing 'module.'"),
        ([f"_orig_mod.{n}" for n in LAYERS], "removing '_orig_mod.'"),
        (
            [n.replace("model.", "model._fsdp_wrapped_module.") for n in LAYERS],
            "removing '_fsdp_wrapped_module.'",
        ),
        (
            [
                f"_fsdp_wrapped_module.{n}".replace("layers.1.", "layers.1._fsdp_wrapped_module.")
                for n in LAYERS
            ],
            "removing '_fsdp_wrapped_module.'",
        ),
        (
            ["module." + n.replace("model.", "model._orig_mod.") for n in LAYERS],
            "removing '_orig_mod.' and 'module.'",
        ),
        (
            [n.replace("model.", "model.a.b.") for n in LAYERS],
            "removing 'a.b.'",
        ),
        ([n.replace("layers.", "layers.x+y.") for n in LAYERS], "removing 'x+y.'"),
        ([f"{n}/ExponentialMovingAverage" for n in LAYERS], "removing '/ExponentialMovingAverage'"),
        ([f"{n}/.PARTS" for n in LAYERS], "removing '/.PARTS'"),
        ([f"{n}.ema.0" for n in LAYERS], "removing '.ema.0'"),
    ],
    ids=str,
)
def test_the_first_hint_takes_a_part_away_from_all_names(have, words):
    """In front, in the middle, several times, at the end: the code restores every variable."""
    restored, hint = follow(have, LAYERS)
    assert hint.words == f"6 of 6 names match after {words}"
    assert restored == 6


@pytest.mark.parametrize(
    ("want", "words"),
    [
        ([n.replace("model.", "model._orig_mod.") for n in LAYERS], "adding '_orig_mod.' after"),
        ([f"{n}/read" for n in LAYERS], "adding '/read' at the end"),
    ],
    ids=str,
)
def test_the_first_hint_puts_a_part_in(want, words):
    """A target that was wrapped takes the weights of one that was not."""
    restored, hint = follow(LAYERS, want)
    assert words in hint.words
    assert restored == 6


def test_a_part_is_taken_away_behind_another_spelling():
    """Dots for slashes and a wrapper, in one hint."""
    have = [n.replace("model.", "model._orig_mod.") for n in LAYERS]
    restored, hint = follow(have, [n.replace(".", "/") for n in LAYERS])
    assert hint.words == "6 of 6 names match after replacing '.' by '/' and removing '_orig_mod/'"
    assert restored == 6


def test_only_whole_parts_are_taken_away():
    """``x_module.`` and ``module2.`` are other parts than ``module.``."""
    (words, pairs), *_ = removals(["a.module.w", "b.module.w"], {"a.w", "b.w"})
    assert (words, pairs) == ("removing 'module.'", [(r"(?<![^/.])module\.", "")])

    assert re.sub(*pairs[0], "x_module.module.module2.w") == "x_module.module2.w"


def test_a_half_that_is_wrapped_is_found_beside_one_that_matches():
    """Half of the model was compiled: the hint leaves the names that match as they are."""
    have = [*LAYERS, *(f"head._orig_mod.{i}.w" for i in range(4))]
    want = [*LAYERS, *(f"head.{i}.w" for i in range(4))]
    restored, hint = follow(have, want)
    assert hint.words == "10 of 10 names match after removing '_orig_mod.'"
    assert restored == 10


def test_a_renaming_that_breaks_matched_names_is_no_hint():
    """Adding a prefix for two names would lose the six that match."""
    source = {n: np.ones(2) for n in [*LAYERS, "a", "b"]}
    model = {n: np.zeros(2) for n in [*LAYERS, "x.a", "x.b"]}
    assert SmartInit(source).plan(model).hints == ()


def test_slots_are_not_renamed_to_their_variables():
    """A checkpoint of slots alone has no weights: Adam's moments are none."""
    arrays = [ArraySpec(f"w{i}/Adam", (2,), "float32") for i in range(4)]
    variables = [VariableSpec(f"w{i}", (2,), "float32") for i in range(4)]
    source, model = {a.name: np.ones(2) for a in arrays}, {v.name: np.zeros(2) for v in variables}
    assert renamings(arrays, variables)[0].words.endswith("removing '/Adam'")
    assert SmartInit(source).plan(model).hints == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bn/gamma", "bn/beta"),
        ("bn/moving_mean", "bn/moving_variance"),
        ("attn/query/kernel", "attn/key/kernel"),
        ("lstm/forward_lstm/kernel", "lstm/backward_lstm/kernel"),
        ("encoder/w", "decoder/w"),
        ("fc/kernel", "fc/bias"),
    ],
)
def test_words_for_different_things_are_opposites(one, other):
    """No hint renames one to the other, however alike the names are."""
    assert are_opposites(one, other)
    source = {"a": np.ones(2), "b": np.ones(2), one: np.ones(2)}
    model = {"a": np.zeros(2), "b": np.zeros(2), other: np.zeros(2)}
    assert SmartInit(source).plan(model).hints == ()


def test_spellings_are_no_opposites():
    """A misspelt word, and two words for one thing, may be renamed."""
    assert not are_opposites("fc/kernal", "fc/kernel")
    assert not are_opposites("fc/weight", "fc/kernel")
    assert not are_opposites("bn/running_var", "bn/moving_variance")
    assert not are_opposites("q/w", "query/w")


def test_the_next_layer_is_not_meant():
    """dense and dense_1 may be given the names of dense_2 and dense_3 in any order."""
    assert differ_by_numbers("dense/kernel", "dense_2/kernel")
    assert not differ_by_numbers("dense/kernel", "head/kernel")
    source = {f"dense{n}/{w}": np.ones(2) for n in ("", "_1") for w in ("kernel", "bias")}
    model = {f"dense{n}/{w}": np.zeros(2) for n in ("_2", "_3") for w in ("kernel", "bias")}
    assert SmartInit(source).plan(model).hints == ()


def test_one_model_with_another_number_is_meant():
    """If all names match after it, the number of the model is replaced."""
    have = [f"model_1/{n}" for n in ("a", "b", "c")]
    restored, hint = follow(have, [n.replace("_1", "_3") for n in have])
    assert hint.words == "3 of 3 names match after replacing 'model_1/' by 'model_3/'"
    assert restored == 3


def test_very_many_parts_take_no_long_time():
    """Names of 32 parts, none of which helps: each run of parts is tried once."""
    have = ["/".join(f"p{j}x{i}" for j in range(32)) for i in range(300)]
    assert list(removals(have, {"a/b"})) == list(insertions(have, {"a/b"})) == []


def test_one_renaming_for_all_numbers():
    """The number stays, and longer words that begin alike are left alone."""
    swaps = Counter({("block", "res"): 4, ("block_1", "res_1"): 4, ("block", "res_1"): 4})
    ((words, pairs),) = families(swaps)
    assert words == "replacing 'block' by 'res', also with numbers"
    rename = substitution(pairs)
    assert rename("layers/block/w") == "layers/res/w"
    assert rename("layers/block_12/w") == "layers/res_12/w"
    assert rename("layers.block_1") == "layers.res_1"
    assert rename("layers/blocks/my_block/block_x/w") == "layers/blocks/my_block/block_x/w"
    assert list(families(Counter({("block", "res"): 4}))) == []


def test_several_families_are_renamed_in_one():
    """Each on its own comes first."""
    swaps = Counter({("a", "x"): 3, ("a_1", "x_1"): 3, ("b", "y"): 2, ("b_1", "y_1"): 2})
    *alone, (words, pairs) = families(swaps)
    assert [how for how, _ in alone] == [
        "replacing 'a' by 'x', also with numbers",
        "replacing 'b' by 'y', also with numbers",
    ]
    assert words == "replacing 'a' by 'x' and 'b' by 'y', also with numbers"
    assert substitution(pairs)("a_1/b/w") == "x_1/y/w"


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("enc/dense_1/w", "dec/dense_2/w", True),
        ("enc/dense/w", "enc/dense_1/w", True),
        ("enc/dense_1/w", "dec/dense_1/w", False),
        ("a/b/dense_1/w", "b/dense_2/w", False),
        ("dense_1/w", "m/dense_1/w", False),
    ],
)
def test_other_numbers_of_one_part(one, other, found):
    """Such names are of two layers, also if another part differs by letters."""
    assert has_other_number(one, other) is found
