"""Variables that TensorFlow tracks in a model of Keras 3 and that are no weights of it: Keras saves
them in no format of its own, and the outputs depend on them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import MissingError, MissingWarning, SmartInit, UnusedWarning

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


class Scale(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = tf.Variable(tf.ones(4), name="by")


def build(where: str) -> Any:
    """A model whose first layer has a tf.Variable as an attribute, or in a tf.Module."""
    import keras

    class Scaled(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if where == "attribute":
                self.scale = tf.Variable(tf.ones(4), name="scale")
            else:
                self.module = Scale()

        def call(self, x: Any) -> Any:
            return x * tf.convert_to_tensor(variable_of(self))

    layers = [keras.Input((4,)), Scaled(name="sc"), keras.layers.Dense(4, name="fc")]
    return keras.Sequential(layers, name="m")


def variable_of(layer: Any) -> Any:
    return layer.scale if hasattr(layer, "scale") else layer.module.by


def trained(where: str) -> tuple[Any, Any]:
    """A model with other values, and its outputs."""
    model = build(where)
    variable_of(model.layers[0]).assign([1.0, 2.0, 3.0, 4.0])
    return model, outputs(model)


def outputs(model: Any) -> Any:
    return model(np.arange(8, dtype="float32").reshape(2, 4)).numpy()


@pytest.mark.parametrize("where", ["attribute", "module"])
@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_a_file_of_keras_lacks_it(where: str, ending: str, tmp_path: Path) -> None:
    """A file that Keras wrote lacks the variable. A restore says so, and on_missing="error" stops
    before anything is written. initreg.save says so, too."""
    model, _ = trained(where)
    (model.save_weights if ending == ".weights.h5" else model.save)(tmp_path / f"m{ending}")
    other = build(where)
    before = outputs(other)
    with pytest.raises(MissingError, match="1 variable is supplied by no source"):
        SmartInit(tmp_path / f"m{ending}", on_missing="error").init(other)
    assert np.array_equal(outputs(other), before)
    with pytest.warns(MissingWarning, match="1 only in the target"):
        SmartInit(tmp_path / f"m{ending}").init(other)
    with pytest.warns(UnusedWarning, match=r"1 variable is not saved, [^:]*:\n  (scale|by)$"):
        initreg.save(tmp_path / f"n{ending}", model)
    assert initreg.diff(tmp_path / f"m{ending}", tmp_path / f"n{ending}").is_same


@pytest.mark.parametrize("where", ["attribute", "module"])
@pytest.mark.parametrize("ending", [".npz", ".h5", ".safetensors", ".ckpt", "tensorflow", "model"])
def test_other_files_have_it(where: str, ending: str, tmp_path: Path) -> None:
    """What initreg saves, and a checkpoint of TensorFlow, restore the outputs without a warning."""
    model, expected = trained(where)
    source: Any = model
    if ending == "tensorflow":
        source = tf.train.Checkpoint(model).write(str(tmp_path / "ck"))
    elif ending != "model":
        source = initreg.save(tmp_path / f"m{ending}", model)
    other = build(where)
    SmartInit(source, on_missing="error", on_unused="error").init(other)
    assert np.array_equal(outputs(other), expected)


@pytest.mark.parametrize("where", ["attribute", "module"])
def test_a_dict_without_it(where: str) -> None:
    """A source of names that lacks the variable gives a warning."""
    arrays = dict(initreg.load(trained(where)[0]))
    del arrays[next(name for name in arrays if "fc" not in name)]
    with pytest.warns(MissingWarning, match="1 only in the target"):
        SmartInit(arrays).init(build(where))


def test_states_of_a_run_are_not_missed(tmp_path: Path) -> None:
    """The states of RNNs and of seeds are of one run: Keras leaves them out, and nothing warns."""
    import keras

    def stateful() -> Any:
        layers = [
            keras.layers.LSTM(3, stateful=True, return_sequences=True, dropout=0.5),
            keras.layers.Bidirectional(keras.layers.GRU(3, stateful=True)),
            keras.layers.GaussianNoise(0.5),
        ]
        return keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), *layers])

    model, other = stateful(), stateful()
    x = np.arange(30, dtype="float32").reshape(2, 5, 3)
    expected = model(x).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error", initreg.InitregWarning)
        path = initreg.save(tmp_path / "m.weights.h5", model)
        SmartInit(path, on_missing="error", on_unused="error").init(other)
    assert np.array_equal(other(x).numpy(), expected)


def test_states_of_a_layer_alone_are_not_missed() -> None:
    """An RNN that is itself the target has its states at the top."""
    import keras

    x = np.arange(30, dtype="float32").reshape(2, 5, 3)
    layer, other = (keras.layers.LSTM(3, stateful=True, name="rnn") for _ in range(2))
    expected = layer(x).numpy()
    other(x)
    other.reset_state()
    weights = {n: a for n, a in initreg.load(layer).items() if not n.startswith("states/")}
    assert len(weights) == 3
    SmartInit(weights, on_missing="error", on_unused="error").init(other)
    assert np.array_equal(other(x).numpy(), expected)
