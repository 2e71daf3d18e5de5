"""The formulas of merging, beside the same formulas in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from initreg.merging import formulas

rng = np.random.default_rng(0)
A, B, C = (rng.normal(size=(5, 7)).astype("f4") for _ in range(3))


def test_weighted_sums() -> None:
    """The sum of arrays times weights, divided by the weights if that is asked for."""
    wanted = 2.0 * A.astype("f8") - 0.5 * B + C
    found = formulas.weighted_sum([A, B, C], [2, -0.5, 1], normalize=False)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    found = formulas.weighted_sum([A, B, C], [2, -0.5, 1], normalize=True)
    np.testing.assert_allclose(found, wanted / 2.5, atol=1e-6)
    assert found.dtype == np.float32


def test_nothing_that_is_given_is_changed() -> None:
    """No formula writes into its arguments, which are used again."""
    copies = [each.copy() for each in (A, B, C)]
    formulas.weighted_sum([A, B, C], [1, 1, 1], normalize=True)
    formulas.moving_average([A, B, C], 0.5)
    formulas.between(A, B, 0.25)
    formulas.task_sum(A, [B, C], [1, 2], normalize=True, factor=3.0)
    formulas.disjoint_sum(A, [B, C], [1, 2], normalize=True, factor=3.0)
    for copy, array in zip(copies, (A, B, C), strict=True):
        np.testing.assert_array_equal(copy, array)


def test_a_moving_average_has_these_weights() -> None:
    """The first array has the decay as often as others follow, and each other one its share."""
    wanted = 0.64 * A.astype("f8") + 0.8 * 0.2 * B + 0.2 * C
    np.testing.assert_allclose(formulas.moving_average([A, B, C], 0.8), wanted, atol=1e-6)
    np.testing.assert_array_equal(formulas.moving_average([A, B], 1.0), A)
    np.testing.assert_allclose(formulas.moving_average([A, B], 0.0), B, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_a_point_between_two(t: float) -> None:
    """On the line, and on the sphere with the length between."""
    np.testing.assert_allclose(formulas.between(A, B, t), (1 - t) * A + t * B, atol=1e-6)
    one, other = formulas.spherical_weights(0.0, t, 1.0, 1.0)
    assert one**2 + other**2 == pytest.approx(1.0)  # unit vectors at a right angle
    assert (one, other) == pytest.approx((math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)))


@pytest.mark.parametrize("cosine", [1.0, 0.9999, -1.0, math.nan])
def test_parallel_arrays_are_interpolated_on_the_line(cosine: float) -> None:
    """There is no one circle through them, or their angle is next to nothing."""
    assert formulas.spherical_weights(cosine, 0.25, 1.0, 1.0) == (0.75, 0.25)


def test_an_array_of_zeros_has_no_direction() -> None:
    """It counts as at a right angle to any other."""
    assert formulas.spherical_weights(0.5, 0.5, 0.0, 2.0) == formulas.spherical_weights(
        0.0, 0.5, 1.0, 2.0
    )


def test_task_sums() -> None:
    """The base, and the changes times their weights; normalised if their sum is not 0."""
    wanted = A.astype("f8") + 0.5 * (2.0 * B - C)
    found = formulas.task_sum(A, [B, C], [2, -1], factor=0.5)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    found = formulas.task_sum(A, [B, C], [2, 2], normalize=True)
    np.testing.assert_allclose(found, A + (B.astype("f8") + C) / 2, atol=1e-6)
    found = formulas.task_sum(A, [B, C], [1, -1], normalize=True)
    np.testing.assert_allclose(found, A + (B.astype("f8") - C), atol=1e-6)


def signed(base: Any, deltas: Any, weights: Any, normalize: bool) -> Any:
    """The same element by element, as the paper says it."""
    found = base.astype("f8").copy()
    for place in np.ndindex(base.shape):
        scaled = [w * float(d[place]) for d, w in zip(deltas, weights, strict=True)]
        sign = 1 if sum(np.float32(s) for s in scaled) >= 0 else -1
        agreeing = [(s, w) for s, w in zip(scaled, weights, strict=True) if s * sign > 0]
        total = sum(s for s, _ in agreeing)
        if normalize and agreeing:
            total /= sum(w for _, w in agreeing)
        found[place] += total
    return found


@pytest.mark.parametrize("normalize", [True, False])
def test_signs_are_elected(normalize: bool) -> None:
    """Changes of the sign of the majority alone take part, and changes of 0 do not count."""
    deltas = [np.where(abs(each) > 0.5, each, 0).astype("f4") for each in (A, B, C)]
    weights = [1.0, 0.5, 2.0]
    found = formulas.disjoint_sum(A, deltas, weights, normalize=normalize)
    np.testing.assert_allclose(found, signed(A, deltas, weights, normalize), atol=1e-6)


def test_a_tie_of_signs_elects_plus() -> None:
    """Two changes that cancel each other leave the positive one."""
    base, one = np.zeros(1, "f4"), np.ones(1, "f4")
    assert formulas.disjoint_sum(base, [one, -one], [1, 1], normalize=True).tolist() == [1]


def test_nan_is_not_lost() -> None:
    """A NaN of a source is one of the result."""
    found = formulas.disjoint_sum(A, [np.full_like(A, np.nan), B], [1, 1], normalize=True)
    assert np.isnan(found).all()


def test_the_same_elements_are_dropped_wherever_pieces_begin() -> None:
    """A piece of the mask is that of the whole mask, from each start."""
    whole = formulas.kept_at_random(7, 1, "a/w", 0, 1000, 0.3)
    for start, count in ((0, 1), (1, 2), (7, 9), (8, 16), (13, 987), (999, 1)):
        piece = formulas.kept_at_random(7, 1, "a/w", start, count, 0.3)
        np.testing.assert_array_equal(piece, whole[start : start + count])


def test_masks_differ_by_seed_source_and_name() -> None:
    """Each source, array and seed has a mask of its own, of the density that was asked for."""
    masks = [
        formulas.kept_at_random(seed, source, name, 0, 100_000, 0.3)
        for seed, source, name in ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"))
    ]
    for i, mask in enumerate(masks):
        assert abs(mask.mean() - 0.3) < 0.01
        for other in masks[:i]:
            assert abs((mask & other).mean() - 0.09) < 0.01  # independent


def test_the_mask_of_a_seed_stays_what_it_is() -> None:
    """A merge can be repeated with any version of numpy: these are bits of Philox."""
    found = formulas.kept_at_random(42, 0, "w", 0, 24, 0.5)
    assert "".join("01"[int(each)] for each in found) == "111110101000010001010011"


@pytest.mark.parametrize(
    ("size", "density", "count"), [(10, 1, 10), (10, 0.29, 2), (3, 0.1, 1), (0, 0.5, 0)]
)
def test_how_many_are_kept(size: int, density: float, count: int) -> None:
    """Rounded down, but at least one."""
    assert formulas.count_kept(size, density) == count
