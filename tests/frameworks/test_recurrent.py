"""Recurrent layers of PyTorch, ONNX and TensorFlow 1 into those of Keras, by the rule files of
docs/rules.md. The outputs are the same, so every gate, axis and bias is where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnx.reference
import pytest
import tensorflow as tf
import torch
from onnx import helper, numpy_helper

import initreg
from initreg import SmartInit

Recipe = Callable[[str], Path]
BATCH, TIME, IN, UNITS = 5, 7, 3, 4
X = np.random.default_rng(0).normal(size=(BATCH, TIME, IN)).astype("f4")


def keras_model(layer: str, layers: int = 1, both: bool = True, **more: Any) -> keras.Model:
    """Layers called l0, l1 and so on, in a model called tagger."""
    made: list[Any] = [keras.Input((TIME, IN))]
    for number in range(layers):
        name = layer.lower() if both else f"l{number}"
        each = getattr(keras.layers, layer)(UNITS, return_sequences=True, name=name, **more)
        made.append(keras.layers.Bidirectional(each, name=f"l{number}") if both else each)
    return keras.Sequential(made, name="tagger")


def outputs(model: keras.Model) -> np.ndarray:
    return np.asarray(model(X))


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torch(kind: str, layers: int, recipe: Recipe, tmp_path: Path) -> None:
    """Several layers of both directions, saved by torch.save, read without torch."""
    torch.manual_seed(layers)

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = getattr(torch.nn, kind)(
                IN, UNITS, num_layers=layers, bidirectional=True, batch_first=True
            )
            setattr(self, kind.lower(), made)

    theirs = Tagger()
    torch.save(theirs.state_dict(), tmp_path / "tagger.pt")
    expected = getattr(theirs, kind.lower())(torch.from_numpy(X))[0].detach().numpy()
    ours = keras_model(kind, layers)
    rules = recipe(f"torch-{kind.lower()}.toml")
    SmartInit(tmp_path / "tagger.pt", rules=rules, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(outputs(ours), expected, atol=1e-6)


def test_a_wrong_order_is_seen_by_the_outputs(recipe: Recipe, tmp_path: Path) -> None:
    """The comparison is worth something: with the gates left as they are, outputs differ. It is
    warned of, too."""
    theirs = torch.nn.GRU(IN, UNITS, bidirectional=True, batch_first=True)
    state = {f"gru.{name}": value for name, value in theirs.state_dict().items()}
    torch.save(state, tmp_path / "tagger.pt")
    rules = recipe("torch-gru.toml")
    kept = [line for line in rules.read_text().split("\n") if not line.startswith("gates")]
    rules.write_text("\n".join(kept))
    ours = keras_model("GRU")
    with pytest.warns(initreg.AxesWarning, match="reorder them, too, with the rule gates"):
        SmartInit(tmp_path / "tagger.pt", rules=rules, on_unused="error").init(ours)
    expected = theirs(torch.from_numpy(X))[0].detach().numpy()
    assert np.abs(outputs(ours) - expected).max() > 0.01


def test_a_gru_goes_back_to_torch(recipe: Recipe, tmp_path: Path) -> None:
    """What Keras trained is a state dict again, if the names are told: every bit."""
    theirs = torch.nn.GRU(IN, UNITS, num_layers=2, bidirectional=True, batch_first=True)
    state = {f"gru.{name}": value for name, value in theirs.state_dict().items()}
    torch.save(state, tmp_path / "tagger.pt")
    rules = recipe("torch-gru.toml")
    text = rules.read_text() + (
        "[step.inverse]\nstrip_prefix = 'tagger/'\n"
        "rename = [['/kernel$', '/weight_ih'], ['/recurrent_kernel$', '/weight_hh'],\n"
        "    ['^l(\\d+)/(forward|backward)_gru/gru_cell/(\\w+)$', 'gru.\\3_l\\1_\\2'],\n"
        "    ['_forward$', ''], ['_backward$', '_reverse']]\n"
    )
    rules.write_text(text)
    initreg.convert(tmp_path / "tagger.pt", tmp_path / "there.npz", rules=rules)
    initreg.convert(tmp_path / "there.npz", tmp_path / "back.npz", rules=rules, reverse=True)
    found = initreg.load(tmp_path / "back.npz")
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: value.numpy().tobytes() for name, value in state.items()
    }


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_onnx(kind: str, recipe: Recipe, tmp_path: Path) -> None:
    """The operators LSTM and GRU, in both directions, beside ONNX's reference implementation."""
    rng = np.random.default_rng(1)
    gates = {"LSTM": 4, "GRU": 3}[kind]
    shapes = {"W": (gates * UNITS, IN), "R": (gates * UNITS, UNITS), "B": (2 * gates * UNITS,)}
    arrays = {name: rng.normal(size=(2, *shape)).astype("f4") for name, shape in shapes.items()}
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}

    def model(direction: str, values: dict[str, np.ndarray]) -> onnx.ModelProto:
        node = helper.make_node(
            kind, ["X", *values], ["Y"], hidden_size=UNITS, direction=direction, **attributes
        )
        inputs = [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [TIME, BATCH, IN])]
        result = [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)]
        weights = [numpy_helper.from_array(array, name) for name, array in values.items()]
        graph = helper.make_graph([node], "tagger", inputs, result, weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])

    onnx.save(model("bidirectional", arrays), tmp_path / "tagger.onnx")
    # The reference implementation knows one direction. The other one is the reversed sequence.
    both = []
    for number, step in enumerate([1, -1]):
        one = model("forward", {name: array[number : number + 1] for name, array in arrays.items()})
        run = onnx.reference.ReferenceEvaluator(one)
        both.append(run.run(None, {"X": X.transpose(1, 0, 2)[::step]})[0][:, 0][::step])
    ours = keras_model(kind)
    SmartInit(
        tmp_path / "tagger.onnx",
        rules=recipe(f"onnx-{kind.lower()}.toml"),
        on_missing="error",
        on_unused="error",
    ).init(ours)
    expected = np.concatenate(both, -1).transpose(1, 0, 2)
    np.testing.assert_allclose(outputs(ours), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")  # the cells are of TensorFlow 1
@pytest.mark.filterwarnings("ignore:.*add_variable. is deprecated:UserWarning")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_tensorflow_1(kind: str, recipe: Recipe, tmp_path: Path) -> None:
    """BasicLSTMCell, with the forget_bias that it adds when it runs, and GRUCell, from a
    checkpoint that a Saver wrote."""
    from tensorflow.python.keras.layers.legacy_rnn import rnn_cell_impl

    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.set_random_seed(3)
        cell = {"LSTM": rnn_cell_impl.BasicLSTMCell, "GRU": rnn_cell_impl.GRUCell}[kind](UNITS)
        state = cell.zero_state(BATCH, tf.float32)
        steps = []
        for time in range(TIME):
            found, state = cell(tf.constant(X[:, time]), state)
            steps.append(found)
        session.run(tf1.global_variables_initializer())
        rng = np.random.default_rng(2)
        for variable in tf1.global_variables():
            variable.load(rng.normal(size=variable.shape).astype("f4"), session)
        expected = session.run(tf.stack(steps, 1))
        tf1.train.Saver().save(session, str(tmp_path / "model"), write_meta_graph=False)
    ours = keras_model(kind, both=False, **({"reset_after": False} if kind == "GRU" else {}))
    SmartInit(
        tmp_path / "model",
        rules=recipe(f"tf1-{kind.lower()}.toml"),
        on_missing="error",
        on_unused="error",
    ).init(ours)
    np.testing.assert_allclose(outputs(ours), expected, atol=1e-6)


def test_flax(tmp_path: Path) -> None:
    """Flax keeps each gate in a layer of its own. They are put together in any order."""
    import flax.linen as nn
    import flax.serialization
    import jax

    cell = nn.OptimizedLSTMCell(UNITS)
    rnn = nn.RNN(cell)
    variables = rnn.init(jax.random.key(0), X)
    path = tmp_path / "flax.msgpack"
    path.write_bytes(flax.serialization.to_bytes(variables))
    cell_of = "params/cell"
    rules = {
        "kernel": (1, [f"{cell_of}/i{gate}/kernel" for gate in "ifgo"]),
        "recurrent_kernel": (1, [f"{cell_of}/h{gate}/kernel" for gate in "ifgo"]),
        "bias": (0, [f"{cell_of}/h{gate}/bias" for gate in "ifgo"]),
    }
    names = {name: f"tagger/l0/lstm_cell/{name}" for name in rules}
    source = SmartInit(
        initreg.open(path, concat=rules), rename=names, on_missing="error", on_unused="error"
    )
    ours = keras_model("LSTM", both=False)
    source.init(ours)
    np.testing.assert_allclose(outputs(ours), rnn.apply(variables, X), atol=1e-6)
