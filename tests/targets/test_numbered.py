"""Numbered arrays in a Keras model: what the hint says to type is what set_weights does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initreg import NothingMatched, SmartInit

pytestmark = pytest.mark.framework


def _model(keras: Any) -> Any:
    """A model whose weights are not in the order of its file: statistics between trainable ones, a
    nested model, a layer with a seed."""
    layers = keras.layers
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(6), layers.BatchNormalization()])
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1)(inner(x))
    return keras.Model(inputs, layers.Dense(6)(layers.LayerNormalization()(x)))


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def _saved(how: str, weights: list[Any], path: Path) -> tuple[Path, dict[str, Any]]:
    """The weights in a file, and the options that open it."""
    if how == "npz":
        np.savez(path / "w.npz", *weights)
        return path / "w.npz", {}
    listed = np.empty(len(weights), object)
    listed[:] = weights
    if how == "npy":
        np.save(path / "w.npy", listed, allow_pickle=True)
        return path / "w.npy", {"allow_pickle": True}
    np.savez(path / "w.npz", weights=listed)
    return path / "w.npz", {"allow_pickle": True}


@pytest.mark.parametrize("how", ["npz", "npy", "pickled member"])
def test_the_hint_does_what_set_weights_does(how: str, keras: Any, tmp_path: Path) -> None:
    """The outputs of the model are those after set_weights, for files of get_weights. Nothing is
    matched before the user says so."""
    rng = np.random.default_rng(0)
    weights = [rng.random(w.shape, "f4") for w in _model(keras).get_weights()]
    path, options = _saved(how, weights, tmp_path)
    reference, model = _model(keras), _model(keras)
    reference.set_weights(weights)
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(NothingMatched, match='by="order"'):
        SmartInit(path, **options).init(model)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    (hint,) = SmartInit(path, **options).plan(model).hints
    eval(hint.code, {"SmartInit": SmartInit}).init(model)
    inputs = rng.random((4, 8, 8, 3), "f4")
    expected = reference(inputs, training=False).numpy()
    np.testing.assert_array_equal(model(inputs, training=False).numpy(), expected)
    assert not (expected == _model(keras)(inputs, training=False).numpy()).all()


def test_another_model_gets_no_such_hint(keras: Any, tmp_path: Path) -> None:
    """Where set_weights would raise, there is no code to type, but the first shapes that differ."""
    other = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    np.savez(tmp_path / "w.npz", *[w.T for w in other.get_weights()])
    hints = SmartInit(tmp_path / "w.npz").plan(other).hints
    assert [hint.code for hint in hints] == [""]
    assert "'arr_0' is (3, 4) float32, and" in hints[0].words


def test_the_state_of_an_optimizer_is_not_counted(keras: Any, tmp_path: Path) -> None:
    """A compiled model that was trained takes its weights by order, and keeps its optimizer."""
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    weights = [w + 1 for w in model.get_weights()]
    np.savez(tmp_path / "w.npz", *weights)
    SmartInit(tmp_path / "w.npz", by="order").init(model)
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))
