"""Trainings that are killed, most of them during a save, and started again."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

RUNS = [
    pytest.param(("tensorpack_run.py",), 0.03, id="tensorpack"),
    pytest.param(("tf1_run.py",), 0.03, id="tf1"),
    pytest.param(("keras_run.py", "keras"), 0.15, id="keras"),
    pytest.param(("keras_run.py", "tf_keras"), 0.15, id="tf_keras"),
    # In a store, with slow uploads.
    pytest.param(("tensorpack_run.py", "shelf"), 0.06, id="tensorpack-url"),
    pytest.param(("tf1_run.py", "shelf"), 0.06, id="tf1-url"),
    pytest.param(("keras_run.py", "keras", "shelf"), 0.2, id="keras-url"),
]


@pytest.mark.parametrize(("run", "within"), RUNS)
def test_goes_on_after_a_kill(
    run: tuple[str, ...], within: float, killed_as_uninterrupted: Callable[..., None]
) -> None:
    """After two kills a training ends in the weights, the optimizer, the epoch, the states, the
    logs and the random numbers of an uninterrupted one."""
    killed_as_uninterrupted(*run, epochs=60, kills=2, within=within, seed=1)


@pytest.mark.kills
@pytest.mark.parametrize(("run", "within"), RUNS)
def test_goes_on_after_many_kills(
    run: tuple[str, ...], within: float, killed_as_uninterrupted: Callable[..., None]
) -> None:
    """The same holds after twenty-four kills, or as many as KILLS asks for."""
    kills = 24 * int(os.environ.get("INITREG_KILLS", "200")) // 200
    killed_as_uninterrupted(*run, epochs=16 * kills + 16, kills=kills, within=within, seed=2)
