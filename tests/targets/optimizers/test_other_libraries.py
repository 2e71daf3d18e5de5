"""State that another library saved: the same class there keeps it in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trained import (
    FORMATS,
    LIBRARIES,
    data,
    holds_state,
    library,
    model,
    optimizers,
    restored,
    save,
    state,
)

pytestmark = [
    pytest.mark.framework,
    # Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy`.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def of_one_shape(name: str, seed: int) -> Any:
    """A model in which number and shapes of the state say nothing about its order."""
    k = library(name)
    k.utils.set_random_seed(seed)
    layers = [k.layers.Dense(4, use_bias=False) for _ in range(2)]
    made = k.Sequential([k.layers.InputLayer((4,)), *layers])
    made.compile(optimizers(name)["Adam"](), "mse", run_eagerly=True)
    x, _ = data(seed)
    made.train_on_batch(x, x)
    return made


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("names", [("tf_keras", "legacy"), ("legacy", "tf_keras")])
def test_the_same_class_with_its_slots_in_another_order(
    names: tuple[str, str], form: str, tmp_path: Path
) -> None:
    """Moments never become squares, even if everything that is counted agrees."""
    if not holds_state(names[0], form, "Adam"):
        pytest.skip("this format holds no state of legacy optimizers")
    saved, ours = of_one_shape(names[0], 1), of_one_shape(names[1], 2)
    before = state(ours)
    _, told = restored(save(saved, form, tmp_path), ours)
    assert state(ours) == before
    assert len(told) == 1
    x, _ = data(5)
    np.testing.assert_allclose(ours(x), saved(x), rtol=1e-5, atol=1e-6)


PAIRS = [(source, target) for source in LIBRARIES for target in LIBRARIES if source != target]


@pytest.mark.parametrize(
    ("of_source", "of_target", "form"),
    [  # one format of each pair is in make test, by turns
        pytest.param(*pair, form, marks=() if place == number % 5 else pytest.mark.sweep)
        for number, pair in enumerate(PAIRS)
        for place, form in enumerate(FORMATS)
    ],
)
def test_state_of_another_library(
    of_source: str, of_target: str, form: str, tmp_path: Path
) -> None:
    """The model computes what it computed. The state is left as it is, and that is told: a legacy
    optimizer has all m before all v, a later one of tf_keras has them in turn, and one of Keras 3
    has its learning rate among them."""
    if not holds_state(of_source, form, "Adam"):
        pytest.skip("this format holds no state of legacy optimizers")
    for kind in ("Adam", "SGD"):
        saved = model(of_source, optimizers(of_source)[kind](), 1)
        (tmp_path / kind).mkdir()
        path = save(saved, form, tmp_path / kind)
        ours = model(of_target, optimizers(of_target)[kind](), 2)
        before = state(ours)
        _, told = restored(path, ours)
        assert state(ours) == before, kind
        assert len(told) == 1, (kind, told)
        assert "is not restored" in told[0]
        x, _ = data(5)
        np.testing.assert_allclose(ours(x), saved(x), rtol=1e-5, atol=1e-6)
