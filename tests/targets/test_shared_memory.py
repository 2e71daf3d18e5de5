"""Which arrays of a dict share memory, by values: filling one must change no other one."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from initreg import SmartInit, TargetError
from initreg_targets import shared_memory
from initreg_targets.shared_memory import shared


def test_two_arrays_inside_the_gaps_of_a_third() -> None:
    """Each array is compared with all that its bounds overlap, not only with the longest one."""
    buffer = np.zeros(1000)
    target = {"outer": buffer[::999], "x": buffer[100:200], "y": buffer[150:250]}
    given = {"outer": np.ones(2), "x": np.full(100, 2.0), "y": np.full(100, 3.0)}
    with pytest.raises(TargetError, match="'x' and 'y' share memory"):
        SmartInit(given).init(target)
    assert not buffer.any()
    target["y"], given["y"] = buffer[200:250], given["y"][:50]
    SmartInit(given).init(target)
    assert buffer[[0, 100, 199, 200, 249, 999]].tolist() == [1, 2, 2, 3, 3, 1]


def _random_view(rng: np.random.Generator, buffer: np.ndarray) -> Any:
    matrix = buffer[: buffer.size // 4 * 4].reshape(-1, 4)
    start, stop, step = (int(n) for n in rng.integers((0, 1, 1), (4, 6, 20)))
    kind = rng.integers(4)
    if kind == 0:
        return buffer[start * 5 : start * 5 + stop * 3 : step]
    if kind == 1:
        return matrix[start::stop, start :: 1 + step % 3]
    if kind == 2:
        return matrix[::-stop, ::-1].T[start:, :2]
    return buffer.view("u1")[start * 7 :: step + 5][:stop]


@pytest.mark.parametrize(("in_pairs", "work"), [(16, 10_000), (0, 10_000), (16, 1)])
def test_random_views(monkeypatch: pytest.MonkeyPatch, in_pairs: int, work: int) -> None:
    """The answer is that of np.shares_memory for each two arrays, however it is found."""
    monkeypatch.setattr(shared_memory, "_MOST_IN_PAIRS", in_pairs)
    monkeypatch.setattr(shared_memory, "_MOST_WORK", work)
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(500):
        buffer = np.zeros(rng.integers(20, 200), rng.choice(["f4", "u1", "f8", "c16"]))
        views = {str(number): _random_view(rng, buffer) for number in range(rng.integers(2, 6))}
        pairs = {
            (a, b)
            for a, b in itertools.permutations(views, 2)
            if np.shares_memory(views[a], views[b])
        }
        found = shared(views)
        assert found in pairs if pairs else found is None
        answers.append(bool(pairs))
    assert 50 < sum(answers) < 450


@pytest.mark.parametrize(
    ("shape", "steps"),
    [((3,), (0,)), ((3, 3), (8, 8)), ((3, 4), (-8, 16)), ((3, 3), (24, 8)), ((3, 3), (16, 24))],
)
def test_an_array_whose_elements_share_memory(shape: Any, steps: Any) -> None:
    """Such an array cannot hold its values, and is refused. Other odd steps are allowed."""
    array = as_strided(np.zeros(100)[50:], shape, steps)
    given = np.arange(array.size, dtype=float).reshape(shape)
    array[...] = given
    holds = np.array_equal(array, given)
    array[...] = 0
    if holds:
        SmartInit({"v": given}).init({"v": array})
        assert np.array_equal(array, given)
        return
    with pytest.raises(TargetError, match=r"elements of 'v' share memory .*Give a copy"):
        SmartInit({"v": given}).init({"v": array})
    assert not array.any()


def test_100_000_columns_take_seconds() -> None:
    """Interlaced columns are allowed, and are not compared each with each."""
    matrix = np.zeros((20, 100_000), "f4")
    columns: dict[str, Any] = {str(number): column for number, column in enumerate(matrix.T)}
    start = time.perf_counter()
    assert shared(columns) is None
    columns["last"] = matrix[-1, -1:]
    assert shared(columns) == ("99999", "last")
    assert time.perf_counter() - start < 30  # each with each would take an hour
