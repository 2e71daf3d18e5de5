"""Trainings that are killed, most of them during a save, and started again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.framework

RUNS = [
    pytest.param(("tensorpack_run.py",), 0.03, id="tensorpack"),
    pytest.param(("tf1_run.py",), 0.03, id="tf1"),
    pytest.param(("keras_run.py", "keras"), 0.15, id="keras"),
    pytest.param(("keras_run.py", "tf_keras"), 0.15, id="tf_keras"),
]


@pytest.mark.parametrize(("run", "within"), RUNS)
def test_goes_on_after_a_kill(
    run: tuple[str, ...], within: float, killed_as_uninterrupted: Callable[..., None]
) -> None:
    """Two kills: the same weights, optimizer, epoch, states, logs and random numbers in the end."""
    killed_as_uninterrupted(*run, epochs=60, kills=2, within=within, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "within"), RUNS)
def test_goes_on_after_many_kills(
    run: tuple[str, ...], within: float, killed_as_uninterrupted: Callable[..., None]
) -> None:
    """As above, after twenty-four."""
    killed_as_uninterrupted(*run, epochs=400, kills=24, within=within, seed=2)
