"""A training goes on as after Keras's own load, and no other optimizer gets the state.

Every optimizer of Keras 3, of ``tf_keras`` and of ``tf_keras.optimizers.legacy`` is saved in every
format that holds its state, and restored by Keras or TensorFlow into one model and by initreg into
another. Both train on for three steps, and must agree in every bit. For all pairs of different
optimizers, none of the state may be written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trained import (
    FORMATS,
    LIBRARIES,
    every,
    holds_state,
    loaded,
    model,
    optimizers,
    restored,
    save,
    scaled,
    state,
    train,
    values,
)

pytestmark = [
    pytest.mark.framework,
    # Keras's own saving and loading of HDF5 gives numpy its variables, which take no `copy`.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]

SHORT = [
    ("keras", "Adam"),
    ("keras", "scaled SGD"),
    ("tf_keras", "RMSprop"),
    ("tf_keras", "scaled Adam"),
    ("legacy", "Adam"),
]
LONG = [(name, kind) for name in LIBRARIES for kind in every(name) if (name, kind) not in SHORT]


@pytest.mark.parametrize(
    ("name", "kind"),
    [*SHORT, *(pytest.param(*each, marks=pytest.mark.heavy) for each in LONG)],
)
def test_training_goes_on_as_after_keras_own_load(name: str, kind: str, tmp_path: Path) -> None:
    """In every format: the same weights, statistics, state and losses, in every bit."""
    make = every(name)[kind]
    saved = model(name, make(), 1)
    for form in FORMATS:
        if not holds_state(name, form, kind):
            continue
        path = save(saved, form, tmp_path)
        theirs = loaded(path, form, name, kind)
        ours = model(name, make(), 3)
        assert values(ours) != values(saved)
        _, told = restored(path, ours)
        assert values(ours) == values(theirs) == values(saved), form
        is_known = name != "tf_keras"  # of what class it is, or that no value speaks against it
        assert bool(told) == (form == ".weights.h5" and not is_known), (form, told)
        assert train(ours, 4) == train(theirs, 4), form
        assert values(ours) == values(theirs), form


# --- other optimizers ---------------------------------------------------------------------------


IN_TEST = (".keras", "model and optimizer")
SOME = ("SGD", "RMSprop", "Adam", "AdamW", "scaled Adam")


@pytest.mark.parametrize(
    ("name", "is_all", "form"),
    [  # two formats of each library are in make test
        *(
            pytest.param(name, False, form, marks=() if form in IN_TEST else pytest.mark.sweep)
            for name in LIBRARIES
            for form in FORMATS
        ),
        *(
            pytest.param(name, True, form, marks=pytest.mark.heavy)
            for name in LIBRARIES
            for form in FORMATS
        ),
    ],
)
def test_the_state_of_another_class_is_never_written(
    name: str, is_all: bool, form: str, tmp_path: Path
) -> None:
    """For every two classes: the weights are restored, the state is left as it is, and that is
    told. Where no class is recorded, it is told that nobody knows."""
    makes = {**optimizers(name), **scaled(name)}
    kinds = [kind for kind in makes if (is_all or kind in SOME) and holds_state(name, form, kind)]
    if not kinds:
        pytest.skip("this format holds no state of legacy optimizers")
    is_recorded = not (name == "tf_keras" and form == ".weights.h5")
    saved = {}
    for kind in kinds:
        (tmp_path / kind).mkdir()
        saved[kind] = save(model(name, makes[kind](), 1), form, tmp_path / kind)
    for target in kinds:
        ours = model(name, makes[target](), 2)
        before, weights = state(ours), len(ours.weights)
        for kind, path in saved.items():
            if kind == target:
                continue
            plan, told = restored(path, ours)
            now = state(ours)
            assert len(told) == 1, (kind, target)
            assert {row.kind for row in plan.restored} == {"matched"}
            if is_recorded or now == before:
                assert now == before, (kind, target)
                assert len(plan.restored) == weights
                assert "is not restored" in told[0]
                continue
            assert "does not record its class" in told[0]
            assert len(plan.restored) == weights + len(before)
            assert all(np.isfinite(train(ours, 5))), (kind, target)
            ours = model(name, makes[target](), 2)
