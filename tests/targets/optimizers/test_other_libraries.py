"""State that another library saved: the same class there keeps it in another way.

Files that record the names of state tell what it is. Those that only number it do not.
"""

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
    train,
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


def has_names(of_source: str, of_target: str, form: str) -> bool:
    """Whether a file has all that the state of the other version of Keras consists of, by name."""
    if "legacy" in (of_source, of_target) or form in (".weights.h5", ".keras"):
        return False
    return form != ".h5" or of_source == "keras"  # tf_keras saves no learning rate in .h5


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
    """The model computes what it computed. The state is restored by the names of its parts. Where
    the file only numbers it, it is left as it is, and that is told: a legacy optimizer has all m
    before all v, a later one of tf_keras has them in turn, and one of Keras 3 has its learning rate
    among them."""
    if not holds_state(of_source, form, "Adam"):
        pytest.skip("this format holds no state of legacy optimizers")
    for kind in ("Adam", "SGD"):
        saved = model(of_source, optimizers(of_source)[kind](), 1)
        (tmp_path / kind).mkdir()
        path = save(saved, form, tmp_path / kind)
        ours = model(of_target, optimizers(of_target)[kind](), 2)
        before = state(ours)
        _, told = restored(path, ours)
        x, _ = data(5)
        np.testing.assert_allclose(ours(x), saved(x), rtol=1e-5, atol=1e-6)
        if has_names(of_source, of_target, form):
            assert not told, kind
            np.testing.assert_allclose(train(ours, 5), train(saved, 5), rtol=1e-5)
            continue
        assert state(ours) == before, kind
        assert len(told) == 1, (kind, told)
        assert "is not restored" in told[0]
        assert "\n" not in told[0]


def options(name: str) -> dict[str, Any]:
    """Classes with other slots than those of their defaults."""
    o = library(name).optimizers
    rate = o.schedules.ExponentialDecay(0.1, 2, 0.5)
    return {
        "RMSprop with all slots": lambda: o.RMSprop(0.01, momentum=0.9, centered=True),
        "Adam with amsgrad": lambda: o.Adam(0.01, amsgrad=True),
        "a schedule": lambda: o.Adam(rate),
    }


CLASSES = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "RMSprop", "SGD")


@pytest.mark.parametrize("names", [("keras", "tf_keras"), ("tf_keras", "keras")])
@pytest.mark.parametrize("kind", [*CLASSES, *options("keras")])
def test_training_goes_on_in_the_other_version_of_keras(
    kind: str, names: tuple[str, str], tmp_path: Path
) -> None:
    """From a checkpoint, each class takes the same steps in both: moments, counter and rate."""
    of_source, of_target = ({**optimizers(name), **options(name)}[kind] for name in names)
    saved = model(names[0], of_source(), 1)
    path = save(saved, "model and optimizer", tmp_path)
    ours = model(names[1], of_target(), 2)
    if kind != "a schedule":
        ours.optimizer.learning_rate = 0.5
    _, told = restored(path, ours)
    assert not told
    for seed in (5, 6):
        np.testing.assert_allclose(train(ours, seed), train(saved, seed), rtol=1e-4)
    for mine, theirs in zip(ours.weights, saved.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("names", [("keras", "tf_keras"), ("tf_keras", "keras")])
@pytest.mark.parametrize("kind", ["Nadam", "Adafactor", "another class", "another option"])
def test_what_differs_in_the_other_version_of_keras(
    kind: str, names: tuple[str, str], tmp_path: Path
) -> None:
    """Classes that keep other things, or count in another way, are not restored, and that is told
    in one line."""
    plain = {
        "another class": lambda name: optimizers(name)["Adamax"](),
        "another option": lambda name: library(name).optimizers.Adam(0.01, amsgrad=True),
    }
    saved = model(names[0], optimizers(names[0])["Adam" if kind in plain else kind](), 1)
    path = save(saved, "model and optimizer", tmp_path)
    make = plain.get(kind, lambda name: optimizers(name)[kind]())
    ours = model(names[1], make(names[1]), 2)
    before = state(ours)
    _, told = restored(path, ours)
    assert state(ours) == before
    assert len(told) == 1
    assert "is not restored: " in told[0]
    assert "\n" not in told[0]
