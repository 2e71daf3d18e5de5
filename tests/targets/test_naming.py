"""Whole models, saved and restored into changed ones: no array goes into a wrong layer in silence.

The oracle of :mod:`naming_models` knows which layer of the changed model is which one of the saved
model, whatever their names and places are. After a restore, each layer has what that one had, or
what it had before with a warning. Else there was an error, and nothing was written.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from naming_models import PROBE, Built, Drawn, Leaf, Sub, build, leaves

import initreg
from initreg import AmbiguousNames, InitregError, InitregWarning, NamingWarning, SmartInit

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

SEEDS = range(3)
CHANGES = {
    "nothing": lambda drawn, model: model,
    "a layer more": lambda drawn, model: drawn.inserted(model, named=False),
    "a layer with a name more": lambda drawn, model: drawn.inserted(model, named=True),
    "a layer less": lambda drawn, model: drawn.removed(model),
    "two layers swapped": lambda drawn, model: drawn.swapped(model),
    "another layer of equal shape": lambda drawn, model: drawn.replaced(model),
    "another model within": lambda drawn, model: drawn.renamed(model),
    "in a larger model": lambda drawn, model: drawn.in_larger(model),
}


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def count_anew(K: Any) -> None:
    """Let automatic names begin at 0 again."""
    if K.__name__ == "keras":
        K.backend.clear_session(free_memory=False)
    else:
        K.backend.reset_uids()


def is_plain(model: Sub) -> bool:
    """Whether a model and all models within are Functional or Sequential."""
    return model.kind in ("functional", "sequential") and all(
        is_plain(each) for each in model.layers if isinstance(each, Sub)
    )


def has_list(model: Sub) -> bool:
    return model.kind == "list" or any(has_list(e) for e in model.layers if isinstance(e, Sub))


def formats(K: Any, model: Sub, change: str) -> list[str]:
    """The formats in which this model can be saved, and that record what the change is about."""
    found = [".weights.h5", "checkpoint"]
    if is_plain(model):
        found += [".keras", ".h5"]
    by_name = change in (
        "two layers swapped",
        "another layer of equal shape",
        "another model within",
    )
    if K.__name__ == "tf_keras" and by_name:
        found.remove(".weights.h5")  # Keras 2 records no names in it
    if change == "another model within":
        found.remove("checkpoint")  # it has the names of layers, not those of models within
        if ".h5" in found and any(leaf.name for leaf in leaves(model)):
            found.remove(".h5")  # there as well, and the layers' names agree
    if K.__name__ == "keras" and has_list(model) and "checkpoint" in found:
        found.remove("checkpoint")  # TensorFlow does not save such a list of Keras 3
    return found


def save(K: Any, model: Any, path: Path, kind: str) -> str:
    if kind == "checkpoint":
        if K.__name__ == "tf_keras":
            model.save_weights(str(path))
            return str(path)
        return str(tf.train.Checkpoint(model=model).write(str(path)))
    name = f"{path}{kind}"
    if kind == ".weights.h5":
        model.save_weights(name)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the legacy format
            model.save(name)
    return name


def drawn(seed: int, change: str) -> tuple[Sub, Sub]:
    """The model that is saved, and the one that it is restored into."""
    draws = Drawn(seed)
    kind = draws.rng.choice(("functional", "functional", "sequential", "list", "attributes"))
    source = draws.model(kind)
    if kind == "sequential":  # of layers that fit behind each other
        source = in_sequence(source)
    target = CHANGES[change](draws, source)
    return source, in_sequence(target) if target.kind == "sequential" else target


def in_sequence(model: Sub) -> Sub:
    inner = tuple(
        Leaf(each.id, each.name, each.kind) for each in model.layers if isinstance(each, Leaf)
    )
    return Sub(model.id, inner or (Leaf(1000),), model.name, "sequential")


def restored(path: str, target: Built, source: dict[int, Any]) -> dict[str, Any]:
    """What became of each layer: ``right``, ``kept``, ``new``, or ``wrong``."""
    before = target.values()
    found: dict[str, Any] = {"error": None, "warnings": [], "right": [], "kept": [], "wrong": []}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            SmartInit(path).init(target.model)
        except InitregError as error:
            found["error"] = error
    found["warnings"] = [w for w in caught if issubclass(w.category, InitregWarning)]
    for number, value in target.values().items():
        if number in source and np.array_equal(value, source[number]):
            found["right"].append(number)
        elif np.array_equal(value, before[number]):
            found["kept"].append(number)
        else:
            found["wrong"].append(number)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_no_layer_gets_the_weights_of_another_one(K: Any, change: str, tmp_path: Path) -> None:
    """Each layer is right, or is left as it was with a warning, or there is an error."""
    tried = 0
    for seed in SEEDS:
        source, target = drawn(100 * len(change) + seed, change)
        if change != "nothing" and source == target:
            continue
        count_anew(K)
        saved = build(K, source, seed)
        paths = {
            kind: save(K, saved.model, tmp_path / f"{seed}", kind)
            for kind in formats(K, source, change)
        }
        if seed % 2:
            count_anew(K)
        K.layers.Dense(3)  # so that automatic names differ
        into = build(K, target, seed)
        for kind, path in paths.items():
            case = f"{K.__name__}, seed {seed}, {kind}: {source} into {target}"
            into.fill(seed + 1000)
            found = restored(path, into, saved.values())
            tried += 1
            if change == "nothing":
                assert found["error"] is None, case
                assert not found["warnings"], case
                assert set(found["right"]) == set(into.layers), case
            elif found["error"] is not None:
                assert not found["wrong"], case
                assert not found["right"], case
            elif not any(w.category is NamingWarning for w in found["warnings"]):
                assert not found["wrong"], case
                assert found["warnings"] or not set(found["kept"]) & set(saved.layers), case
    assert tried or change == "another model within"


# --- single cases, with all that is decided


def chain(K: Any, *names: str | None, seed: int = 0) -> Any:
    """Dense layers of equal shape behind each other, with random values."""
    x = inputs = K.Input((4,))
    for name in names:
        x = K.layers.Dense(4, activation="tanh", name=name)(x)
    model = K.Model(inputs, x)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.random(tuple(variable.shape)))
    return model


def outputs(model: Any) -> Any:
    return np.asarray(model(tf.constant(PROBE)))


@pytest.mark.parametrize("kind", [".weights.h5", ".keras", ".h5", "checkpoint"])
def test_shifted_automatic_names_compute_the_same(K: Any, kind: str, tmp_path: Path) -> None:
    """The output is what the saved model computes, and what Keras's own loading gives."""
    saved = chain(K, None, None, "head")
    path = save(K, saved, tmp_path / "m", kind)
    ours = chain(K, None, None, "head", seed=1)  # dense_2 and dense_3
    SmartInit(path).init(ours)
    assert np.array_equal(outputs(ours), outputs(saved))
    if kind in (".weights.h5", ".h5"):
        theirs = chain(K, None, None, "head", seed=2)
        theirs.load_weights(path)
        assert np.array_equal(outputs(ours), outputs(theirs))


def test_layers_in_another_order_are_told_apart(K: Any, tmp_path: Path) -> None:
    """It is an error, and by="name" gives each layer its own weights."""
    saved = chain(K, "a", "b")
    path = save(K, saved, tmp_path / "m", ".keras")
    ours = chain(K, "b", "a", seed=1)
    before = outputs(ours)
    with pytest.raises(AmbiguousNames, match="by='name'"):
        SmartInit(path).init(ours)
    assert np.array_equal(outputs(ours), before)
    SmartInit(path, by="name").init(ours)
    for name in ("a", "b"):
        for one, other in zip(
            ours.get_layer(name).get_weights(), saved.get_layer(name).get_weights(), strict=True
        ):
            assert np.array_equal(one, other)


def test_a_keras_file_into_a_model_with_one_more_layer(K: Any, tmp_path: Path) -> None:
    """Keras refuses. The layers that names tell are restored, and a warning has the new one."""
    saved = chain(K, "a", "b")
    path = save(K, saved, tmp_path / "m", ".keras")
    ours = chain(K, "a", "b", "new", seed=1)
    with pytest.warns(initreg.MissingWarning, match="new/"):
        plan = SmartInit(path).init(ours)
    assert len(plan.restored) == 4
    assert np.array_equal(
        ours.get_layer("b").get_weights()[0], saved.get_layer("b").get_weights()[0]
    )
    with pytest.raises(initreg.MissingError, match="new/"):
        SmartInit(path, on_missing="error").init(ours)


@pytest.mark.parametrize("kind", [".weights.h5", ".keras", ".h5", "checkpoint"])
def test_a_model_without_variables(K: Any, kind: str, tmp_path: Path) -> None:
    """There is nothing to restore, and nothing to complain of, as for Keras itself."""
    inputs = K.Input((4,))
    model = K.Model(inputs, K.layers.ReLU()(inputs))
    plan = SmartInit(save(K, model, tmp_path / "m", kind)).init(model)
    assert plan.ok
    assert "0 of 0 variables restored" in str(plan)
    assert "the source holds no arrays" in str(plan)


def test_rules_work_on_the_names_of_layers(K: Any, tmp_path: Path) -> None:
    """What ``initreg ls`` shows of a .keras file can be typed: drop="head/*"."""
    from initreg.text.wording import listing_text

    path = save(K, chain(K, None, "head"), tmp_path / "m", ".keras")
    with initreg.open(path) as arrays:
        lines = listing_text(arrays.specs()).splitlines()
    assert [line.split("also ")[1] for line in lines if "also " in line] == [
        "head/vars/0",
        "head/vars/1",
    ]
    ours = chain(K, None, "head", seed=1)
    head = ours.get_layer("head").get_weights()[0]
    with pytest.warns(initreg.MissingWarning, match="head/"):
        SmartInit(path, drop="head/*").init(ours)
    assert np.array_equal(ours.get_layer("head").get_weights()[0], head)


def test_an_npz_of_names_goes_by_these_names(K: Any, tmp_path: Path) -> None:
    """It has nothing else: the order of the layers does not matter."""
    saved = chain(K, "a", "b")
    np.savez(
        tmp_path / "m.npz",
        **{
            f"{n}/{w}": v
            for n in "ab"
            for w, v in zip(("kernel", "bias"), saved.get_layer(n).get_weights(), strict=True)
        },
    )
    ours = chain(K, "b", "a", seed=1)
    SmartInit(tmp_path / "m.npz").init(ours)
    for name in ("a", "b"):
        assert np.array_equal(
            ours.get_layer(name).get_weights()[0], saved.get_layer(name).get_weights()[0]
        )
