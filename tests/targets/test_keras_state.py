"""Layers that do more than hold their weights end as Keras's own loading leaves them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_models import DATA, FILES, built, restored, saved

from initreg import MissingWarning, SmartInit
from initreg_targets.keras_state import special_parts

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

X = np.float32([[2, 30, 500]])


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


# --- constants that are made from variables -------------------------------------------------------


@pytest.mark.parametrize("suffix", FILES)
def test_normalization_computes_with_what_was_restored(K: Any, suffix: str, tmp_path: Path) -> None:
    """Mean and variance are constants of the layer, which follow their variables."""

    def make(K: Any) -> Any:
        return K.layers.Normalization(name="norm")

    model, ours = built(K, make, adapt=True), built(K, make)
    assert not np.allclose(ours(X), model(X))
    source = saved(model, suffix, tmp_path)
    SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)


def test_normalization_deep_in_a_model(K: Any, tmp_path: Path) -> None:
    """A layer in a model in a model, and one in a wrapper, are found as well."""

    def build(adapt: bool) -> Any:
        K.backend.clear_session()
        inner, wrapped = K.layers.Normalization(), K.layers.Normalization()
        body = K.Sequential([K.Input((4, 3)), K.Sequential([inner])])
        inputs = K.Input((4, 3))
        model = K.Model(inputs, K.layers.TimeDistributed(wrapped)(body(inputs)))
        if adapt:
            inner.adapt(DATA[None])
            wrapped.adapt(-DATA)
        return model

    model, ours = build(True), build(False)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    x = np.stack([DATA] * 2).reshape(1, 4, 3)
    np.testing.assert_allclose(ours(x), model(x), rtol=1e-6)


def test_functions_that_were_traced_before_are_traced_again(K: Any, tmp_path: Path) -> None:
    """``predict`` after a restore does not compute with the constants of an earlier ``predict``."""

    def make(K: Any) -> Any:
        return K.layers.Normalization(name="norm")

    model, ours = built(K, make, adapt=True), built(K, make)
    ours.predict(X, verbose=0)
    SmartInit(saved(model, ".weights.h5", tmp_path)).init(ours)
    np.testing.assert_allclose(ours.predict(X, verbose=0), model(X), rtol=1e-6)


def test_only_what_was_restored_is_finalized(K: Any) -> None:
    """A layer that gets nothing keeps its constants, whatever they are."""
    model = built(K, lambda K: K.layers.Normalization(name="norm"), adapt=True)
    (layer,) = [each for each in model.layers if each.name == "norm"]
    layer.adapt_mean.assign([7, 7, 7])  # the constant stays
    before = np.asarray(model(X))
    more = K.layers.Dense(1, name="more")
    whole = K.Model(model.inputs, more(model.outputs[0]))
    with pytest.warns(MissingWarning):
        SmartInit({"more/kernel": np.ones((3, 1), "f4")}).init(whole)
    np.testing.assert_array_equal(model(X), before)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5", "checkpoint"])
def test_discretization_of_tf_keras(suffix: str, tmp_path: Path) -> None:
    """The boundaries are made from the summary. tf_keras itself leaves them stale after HDF5."""
    K = importlib.import_module("tf_keras")

    def make(K: Any) -> Any:
        return K.layers.Discretization(num_bins=3, name="bins")

    model = built(K, make, adapt=True)
    ours = built(K, make)
    ours.layers[-1].adapt(-DATA)
    assert not np.array_equal(ours(X), model(X))
    SmartInit(saved(model, suffix, tmp_path), on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(X), model(X))


def test_discretization_of_tf_keras_into_keras_3(tmp_path: Path) -> None:
    """Keras 3 makes the boundaries from the summary that tf_keras saved. Its own files have none,
    and the plan says where the boundaries are."""
    keras, tf_keras = (importlib.import_module(name) for name in ("keras", "tf_keras"))

    def make(K: Any) -> Any:
        return K.Sequential([K.layers.Discretization(num_bins=3), K.layers.Dense(2, name="d")])

    def of(K: Any, data: Any) -> Any:
        K.backend.clear_session()
        model = make(K)
        model.layers[0].adapt(data)
        model(X)
        return model

    model, ours = of(tf_keras, DATA), of(keras, -DATA)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(X), model(X))
    ours.save_weights(str(tmp_path / "new.weights.h5"))
    plan, told = restored(tmp_path / "new.weights.h5", of(keras, DATA), on_missing="error")
    assert told == ["MissingWarning"]
    assert "keeps the boundaries in the config" in plan.of("kept")[0].reason


# --- state that Keras does not save ---------------------------------------------------------------


def test_states_of_rnns(K: Any, tmp_path: Path) -> None:
    """A checkpoint of Keras 3 holds the states of a stateful RNN, and its next output is that of
    the saved one. Nobody is told that other files lack them."""

    def build() -> Any:
        K.backend.clear_session()
        inputs = K.Input(batch_shape=(1, 2, 3))
        return K.Model(inputs, K.layers.LSTM(2, stateful=True, name="rnn")(inputs))

    x = np.ones((1, 2, 3), "f4")
    model, ours = build(), build()
    model(x)
    checkpoint, file = saved(model, "checkpoint", tmp_path), saved(model, ".weights.h5", tmp_path)
    expected = np.asarray(model(x))
    plan = SmartInit(file, on_missing="error", on_unused="error").init(ours)
    assert len(plan.of("not needed")) == (2 if K.__name__ == "keras" else 0)
    assert not np.allclose(ours(x), expected)
    ours = build()
    SmartInit(checkpoint, on_missing="error", on_unused="error").init(ours)
    assert np.allclose(ours(x), expected) == (K.__name__ == "keras")


def test_an_ordinary_model_has_no_special_layers(K: Any) -> None:
    """For most models nothing of this is looked at twice."""
    model = K.Sequential(
        [
            *(K.Input((3, 3)), K.layers.Dense(4), K.layers.BatchNormalization(), K.layers.LSTM(2)),
            *(K.layers.Dropout(0.5), K.layers.Dense(3, name="d")),
        ]
    )
    assert special_parts(model) == []
