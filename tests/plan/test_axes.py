"""initreg.plan.axes: orders of axes by shape, and what names say of them."""

import itertools

import numpy as np
import pytest

from initreg.plan.axes import (
    PYTORCH,
    TENSORFLOW,
    Role,
    frameworks,
    has_multiplier,
    hidden_order,
    kept_order,
    moves,
    order,
    orders,
    role,
)


@pytest.mark.parametrize(
    ("torch", "tf", "to_tf", "to_torch"),
    [
        ((8, 3), (3, 8), (1, 0), (1, 0)),
        ((8, 3, 5), (5, 3, 8), (2, 1, 0), (2, 1, 0)),
        ((8, 3, 5, 7), (5, 7, 3, 8), (2, 3, 1, 0), (3, 2, 0, 1)),
        ((8, 3, 5, 7, 9), (5, 7, 9, 3, 8), (2, 3, 4, 1, 0), (4, 3, 0, 1, 2)),
        ((8, 1, 5), (5, 8, 1), (2, 0, 1), (1, 2, 0)),
        ((8, 1, 5, 7), (5, 7, 8, 1), (2, 3, 0, 1), (2, 3, 0, 1)),
    ],
    ids=str,
)
def test_each_order_is_the_inverse_of_the_other_framework(torch, tf, to_tf, to_torch):
    """Dense, 1 to 3 axes of a window, depthwise: there and back gives the array again."""
    assert order(torch, tf, PYTORCH) == to_tf
    assert order(tf, torch, TENSORFLOW) == to_torch
    array = np.arange(np.prod(torch)).reshape(torch)
    assert np.array_equal(array.transpose(to_tf).transpose(to_torch), array)


def test_reversed_axes_are_no_order_of_four_axes():
    """Height and width never change places."""
    assert order((8, 3, 5, 7), (7, 5, 3, 8), PYTORCH) is None
    assert order((8, 3, 5, 7), (7, 5, 3, 8), TENSORFLOW) is None
    assert order((8, 3, 5, 5), (5, 5, 3, 8), PYTORCH) == (2, 3, 1, 0)


def test_axes_of_length_1_come_and_go_with_an_order():
    """A convolution of width 1 for a dense layer, and the other way round."""
    assert order((6, 4, 1, 1), (4, 6), PYTORCH) == (2, 3, 1, 0)
    assert order((6, 4), (1, 1, 4, 6), PYTORCH) == (1, 0)
    assert order((6, 4), (1, 1, 6, 4), PYTORCH) is None


def test_an_order_that_moves_nothing_is_none():
    """A blur of one channel has its height and width in order in both frameworks."""
    assert orders((1, 1, 5, 5), (5, 5, 1, 1), (PYTORCH,)) == {}
    assert not moves((1, 1, 5, 5), (2, 3, 1, 0))
    assert moves((4, 4, 1, 1), (2, 3, 1, 0))


@pytest.mark.parametrize(
    ("shape", "wanted", "axes"),
    [
        ((3, 1, 3), (3, 3, 1), (2, 0, 1)),
        ((3, 1, 3, 3), (3, 3, 3, 1), (2, 3, 0, 1)),
        ((8, 8, 1, 1), (1, 1, 8, 8), (2, 3, 1, 0)),
        ((8, 8, 1), (1, 8, 8), (2, 1, 0)),
        ((1, 3, 3, 3), (3, 3, 3, 1), (2, 3, 1, 0)),
        ((3, 1, 3, 3), (3, 3, 1, 3), (2, 3, 1, 0)),
        ((8, 1, 3, 3), (8, 3, 3, 1), None),
        ((1, 1, 5, 5), (5, 5, 1, 1), None),
        ((3, 3, 1, 8), (3, 3, 8, 1), None),
        ((1, 8), (8, 1), None),
        ((1, 8, 8), (8, 8), None),
    ],
    ids=str,
)
def test_what_a_reshape_hides(shape, wanted, axes):
    """An order is hidden where a reshape would do and another order would move values."""
    assert hidden_order(shape, wanted, "c/kernel", "c/kernel") == (axes and (PYTORCH, axes))
    assert hidden_order(shape, wanted, "c/embeddings", "c/embeddings") is None


def test_what_a_reshape_hides_the_other_way_round():
    """For a variable of PyTorch's name, the array is TensorFlow's."""
    found = hidden_order((1, 1, 8, 8), (8, 8, 1, 1), "c.weight", "c/kernel")
    assert found == (TENSORFLOW, (3, 2, 0, 1))


def test_the_kept_order_does_what_a_reshape_does():
    """For all shapes of up to four axes of length 1, 2 and 3."""
    for ndim in range(1, 5):
        for shape in itertools.product((1, 2, 3), repeat=ndim):
            for wanted in set(itertools.permutations(shape)):
                if [a for a in shape if a != 1] != [a for a in wanted if a != 1]:
                    continue
                array = np.arange(np.prod(shape)).reshape(shape)
                kept = array.transpose(kept_order(shape, wanted))
                assert np.array_equal(kept, array.reshape(wanted))


def test_a_multiplier_is_recognised_in_both_directions():
    """(channels * m, 1, *window) and (*window, channels, m)."""
    assert has_multiplier((6, 1, 5, 5), (5, 5, 3, 2))
    assert has_multiplier((5, 5, 3, 2), (6, 1, 5, 5))
    assert has_multiplier((6, 1, 5), (5, 3, 2))
    assert not has_multiplier((6, 1, 5, 5), (5, 5, 6, 1))
    assert not has_multiplier((6, 1, 5, 5), (5, 5, 1, 6))
    assert not has_multiplier((6, 2, 5, 5), (5, 5, 3, 2))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["dense/kernel"], Role.KERNEL),
        (["dw/depthwise_kernel"], Role.KERNEL),
        (["lstm/lstm_cell/recurrent_kernel"], Role.KERNEL),
        (["fc.weight"], Role.KERNEL),
        (["lstm.weight_hh_l0"], Role.KERNEL),
        (["conv1/W"], Role.KERNEL),
        (["attn/wq"], Role.KERNEL),
        (["attn/q"], Role.KERNEL),
        (["embed/embeddings"], Role.OTHER),
        (["embed_tokens.weight"], Role.OTHER),
        (["transformer.wte.weight"], Role.OTHER),
        (["position_embeddings/weight"], Role.OTHER),
        (["ln_1.weight"], Role.OTHER),
        (["bn/gamma"], Role.OTHER),
        (["gru/bias"], Role.OTHER),
        (["patch_embed.proj.weight"], Role.KERNEL),
        (["embedding_projection/kernel", "embeddings_project.weight"], Role.KERNEL),
        (["embed_out.weight"], Role.KERNEL),
        (["ensemble/weight"], Role.KERNEL),
        (["tok/table", "embed.weight"], Role.OTHER),
        (["crf/chain_kernel"], Role.UNKNOWN),
        (["crf/transitions"], Role.UNKNOWN),
        (["layers/dense/vars/0", "dense/kernel"], Role.KERNEL),
    ],
    ids=str,
)
def test_what_an_array_is_by_its_names(names, expected):
    """Kernels, what is never transposed, and what the names do not say."""
    assert role(*names) is expected


def test_where_an_array_is_from_by_its_names():
    """A kernel of Keras is filled from PyTorch, and a weight from a kernel is the other way."""
    assert frameworks("a/kernel", "a/kernel") == (PYTORCH,)
    assert frameworks("a/w", "a.weight") == (PYTORCH,)
    assert frameworks("a.weight", "a/kernel") == (TENSORFLOW,)
    assert frameworks("a", "b") == (PYTORCH, TENSORFLOW)
    assert frameworks("a.weight", "a.weight") == (PYTORCH, TENSORFLOW)
