"""initreg.arrays.regions: what of an array an index needs, and in which pieces it lies."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg.arrays import regions
from initreg.arrays.regions import Box, box_of, cover_once, cut_axes, runs

Shape = tuple[int, ...]

shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
bounds = st.none() | st.integers(-9, 9) | st.sampled_from([-(10**20), 10**20])
steps = st.none() | st.integers(-7, 7).filter(bool) | st.sampled_from([-(10**20), 10**20])
slices = st.builds(slice, bounds, bounds, steps)


def numbered(shape: Shape, dtype: str = "i4") -> np.ndarray[Any, Any]:
    """An array of which no two elements are alike."""
    return np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Shape, Any]:
    """A shape, and an index of integers, slices and perhaps one ``...`` that is valid for it."""
    shape = draw(shapes)
    used = draw(st.integers(0, len(shape)))
    from_the_end = draw(st.booleans())  # as after an Ellipsis
    axes = shape[len(shape) - used :] if from_the_end else shape[:used]
    parts: list[Any] = []
    for length in axes:
        part: st.SearchStrategy[Any] = slices
        if length:
            numbers = st.integers(-length, length - 1)
            kinds = st.sampled_from([np.int8, np.int64, np.intp])
            part = slices | numbers | st.builds(lambda kind, n: kind(n), kinds, numbers)
        parts.append(draw(part))
    if from_the_end:
        parts.insert(0, Ellipsis)
    elif draw(st.booleans()):
        parts.append(Ellipsis)
    if len(parts) == 1 and draw(st.booleans()):
        return shape, parts[0]
    return shape, tuple(parts)


@given(cases())
def test_the_box_and_what_is_left_to_do_are_the_index(case: tuple[Shape, Any]) -> None:
    """Taking the box and applying the residual index gives what numpy gives."""
    shape, index = case
    array = numbered(shape)
    box = box_of(index, shape)
    assert box is not None
    found = array[box.slices][box.index]
    assert np.shape(found) == np.shape(array[index])
    np.testing.assert_array_equal(found, array[index])
    assert array[box.slices].shape == box.shape


@given(cases())
def test_the_box_is_as_small_as_can_be(case: tuple[Shape, Any]) -> None:
    """The first and last index of the box on every axis are asked for."""
    shape, index = case
    box = box_of(index, shape)
    assert box is not None
    places = np.indices(shape)[(slice(None), *(index if isinstance(index, tuple) else (index,)))]
    for axis, (start, stop) in enumerate(zip(box.starts, box.stops, strict=True)):
        asked = places[axis]
        if asked.size:
            assert (start, stop) == (asked.min(), asked.max() + 1)
    if not places[:1].size and shape:
        assert 0 in box.shape


@given(cases(), st.integers(0, 3), st.integers(0, 20), st.booleans())
def test_an_integer_out_of_range_is_an_index_error(
    case: tuple[Shape, Any], axis: int, beyond: int, below: bool
) -> None:
    """An integer out of range is an IndexError, as for numpy, also on an empty axis."""
    shape, index = case
    parts = list(index) if isinstance(index, tuple) else [index]
    places = [i for i, part in enumerate(parts) if part is not Ellipsis]
    if not places:
        shape, parts, places = (*shape, 2), [..., 0], [1]
    place = places[axis % len(places)]
    after_ellipsis = any(part is Ellipsis for part in parts[:place])
    length = shape[place - len(parts)] if after_ellipsis else shape[place]
    parts[place] = -length - 1 - beyond if below else length + beyond
    wrong = tuple(parts)
    with pytest.raises(IndexError):
        np.empty(shape)[wrong]
    with pytest.raises(IndexError, match=f"index {parts[place]} is out of bounds"):
        box_of(wrong, shape)


@pytest.mark.parametrize(
    "index",
    [
        [0, 1],
        [True, False, True],
        np.array([0, 2]),
        np.array([[0, 2]]),
        np.array([], int),
        np.array([True, False, True]),
        np.ones((3, 4), bool),
        None,
        True,
        np.True_,
        np.array(True),
        1.5,
        "name",
        (0, None),
        (None, 0),
        (slice(None), [0, 1]),
        ([0, 1], slice(None)),
        (np.array([0]), 0),
        (Ellipsis, Ellipsis),
        (Ellipsis, None),
        (0, 0, 0),
        (0, 0, Ellipsis, 0),
        (slice(None), np.array([True, False, True, True])),
    ],
    ids=repr,
)
def test_any_other_index_is_left_to_numpy(index: Any) -> None:
    """Masks, lists, arrays, new axes and invalid indices have no box."""
    assert box_of(index, (3, 4)) is None


@pytest.mark.parametrize(
    ("index", "shape", "box"),
    [
        ((), (), Box((), (), ())),
        (..., (), Box((), (), ())),
        (-1, (5,), Box((4,), (5,), (0,))),
        (np.int64(2), (5, 3), Box((2, 0), (3, 3), (0, slice(0, None, 1)))),
        (np.array(2), (5,), Box((2,), (3,), (0,))),
        (slice(1, 9, 2), (5,), Box((1,), (4,), (slice(0, None, 2),))),
        (slice(None, None, -2), (5,), Box((0,), (5,), (slice(4, None, -2),))),
        (slice(3, 3), (5,), Box((0,), (0,), (slice(0, None, 1),))),
        ((..., 1), (2, 3), Box((0, 1), (2, 2), (slice(0, None, 1), 0))),
    ],
    ids=repr,
)
def test_boxes(index: Any, shape: Shape, box: Box) -> None:
    """The boxes of some indices are as written here."""
    assert box_of(index, shape) == box


def test_the_box_of_the_transposed_array() -> None:
    """The reversed box takes the same elements from the transposed array."""
    array = numbered((4, 5, 6))
    box = box_of((slice(1, 3), 2, slice(None, None, -2)), array.shape)
    assert box is not None
    assert box.reversed().shape == box.shape[::-1]
    np.testing.assert_array_equal(array.T[box.reversed().slices].T, array[box.slices])


# --- pieces -------------------------------------------------------------------------------------


def assembled(array: np.ndarray[Any, Any], box: Box) -> tuple[np.ndarray[Any, Any], int]:
    """The box, out of the array's bytes as the reader takes them from a file; and how many."""
    data = array.tobytes()
    walked, pieces = runs(box, array.shape, array.itemsize)
    raw = b""
    end = 0
    for offset, length in pieces:
        assert offset >= end, "the pieces lie in the order of the file and do not overlap"
        end = offset + length
        assert end <= len(data), "no piece ends beyond the array"
        raw += data[offset:end]
    shape = (*box.shape[: walked + 1], *array.shape[walked + 1 :])
    part = np.frombuffer(raw, array.dtype).reshape(shape)
    if part.shape != box.shape:
        part = part[(slice(None),) * (walked + 1) + box.slices[walked + 1 :]]
    return part, len(raw)


@given(cases(), st.sampled_from(["u1", "i4", "c16"]))
def test_the_pieces_hold_the_box(case: tuple[Shape, Any], dtype: str) -> None:
    """The pieces contain the box; more is read of a small array, and cut off."""
    shape, index = case
    array = numbered(shape, dtype)
    box = box_of(index, shape)
    assert box is not None
    found, _ = assembled(array, box)
    assert found.shape == box.shape
    np.testing.assert_array_equal(found, array[box.slices])


@given(cases(), st.sampled_from(["u1", "i4", "c16"]))
def test_the_pieces_are_the_box_where_every_byte_is_worth_skipping(
    case: tuple[Shape, Any], dtype: str
) -> None:
    """If every byte is worth skipping, only bytes of the box are read."""
    shape, index = case
    array = numbered(shape, dtype)
    box = box_of(index, shape)
    assert box is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "_WORTH_SKIPPING", 1)
        found, count = assembled(array, box)
    assert found.shape == box.shape
    np.testing.assert_array_equal(found, array[box.slices])
    assert count == found.nbytes


@given(cases(), st.integers(1, 200))
def test_the_pieces_hold_the_box_wherever_the_limit_is(case: tuple[Shape, Any], limit: int) -> None:
    """The pieces contain the box for any limit."""
    shape, index = case
    array = numbered(shape)
    box = box_of(index, shape)
    assert box is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "_WORTH_SKIPPING", limit)
        found, _ = assembled(array, box)
    assert found.shape == box.shape
    np.testing.assert_array_equal(found, array[box.slices])


@pytest.mark.parametrize(
    ("index", "shape", "pieces"),
    [
        ((), (), [(0, 4)]),
        (slice(2, 4), (10,), [(8, 8)]),
        (slice(2, 4), (10, 25), [(200, 200)]),
        # Rows of 100,000 numbers, of which two are asked for: all others are skipped.
        (np.s_[:, 5:7], (3, 100_000), [(20, 8), (400_020, 8), (800_020, 8)]),
        # Rows of 25 numbers: read in one go.
        (np.s_[:, 5:7], (10, 25), [(0, 1000)]),
        # One row: nothing of it needs reading but what is asked for.
        (np.s_[4, 5:7], (10, 25), [(420, 8)]),
        (np.s_[1, 2, 3], (2, 3, 4), [(92, 4)]),
    ],
    ids=repr,
)
def test_what_is_read_in_one_go(index: Any, shape: Shape, pieces: list[tuple[int, int]]) -> None:
    """The offsets and lengths of some boxes are as written here, for elements of 4 bytes."""
    box = box_of(index, shape)
    assert box is not None
    assert list(runs(box, shape, 4)[1]) == pieces


# --- slices that make the whole -------------------------------------------------------------------


def test_boxes_cover_once_as_painting_them_shows() -> None:
    """cover_once agrees with painting 3,000 random sets of boxes, also empty boxes."""
    rng = random.Random(0)
    found = []
    for _ in range(3000):
        shape = tuple(rng.randint(1, 4) for _ in range(rng.randint(0, 3)))
        boxes = [((0,) * len(shape), shape)]
        for _ in range(rng.randint(0, 6) if shape else 0):
            start, size = boxes.pop(rng.randrange(len(boxes)))
            axis = rng.randrange(len(shape))
            at = rng.randint(0, size[axis])  # at an end one of the two is empty
            second = [*start]
            second[axis] += at
            low, high = [*size], [*size]
            low[axis], high[axis] = at, size[axis] - at
            boxes += [(start, tuple(low)), (tuple(second), tuple(high))]
        if rng.random() < 0.5:  # one is lost, doubled, or moved to where another may be
            start, size = boxes.pop(rng.randrange(len(boxes)))
            moved = tuple(rng.randint(0, n - m) for n, m in zip(shape, size, strict=True))
            boxes += rng.choice([[], [(start, size)] * 2, [(moved, size)]])
        painted = np.zeros(shape, int)
        for start, size in boxes:
            painted[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] += 1
        assert cover_once(shape, boxes) == bool((painted == 1).all()), (shape, boxes)
        found.append(cover_once(shape, boxes))
    assert 500 < sum(found) < 2500


def test_an_empty_array_has_empty_slices() -> None:
    """An array without elements is always covered."""
    assert cover_once((3, 0), [])
    assert cover_once((3, 0), [((0, 0), (3, 0)), ((1, 0), (1, 0))])


def test_axes_that_are_cut() -> None:
    """An axis is cut if some box does not span it."""
    assert cut_axes((4, 2, 3), [((0, 0, 0), (4, 1, 3)), ((0, 1, 0), (4, 1, 3))]) == [1]
    assert cut_axes((4, 2), [((0, 0), (4, 2))]) == []


def test_the_intersection_of_two_regions_and_where_it_is_in_each() -> None:
    """The intersection is right on every axis, and regions that only touch have none."""
    one, other = Box((1, 0), (4, 3), ()), Box((2, 1), (6, 2), ())
    shared = one.intersection(other)
    assert shared == Box((2, 1), (4, 2), ())
    assert shared.relative_to((2, 1)) == Box((0, 0), (2, 1), ())
    assert shared.relative_to(one.starts) == Box((1, 1), (3, 2), ())
    assert one.intersection(Box((4, 0), (5, 3), ())) is None
    assert Box((), (), ()).intersection(Box((), (), ())) == Box((), (), ())
