"""The readings of an open question: the lines of each are tried, and the outputs are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import initreg
from initreg import Mapped, Reading, SmartInit

pytestmark = pytest.mark.framework

Arrays = dict[str, Any]
RANDOM = np.random.default_rng(0)
SIZES = {"CHANNELS": 4, "HEIGHT": 2, "WIDTH": 2}


class Scale(keras.layers.Layer):
    """One of somebody's own, of which it is not known that it scales."""

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), name="factor")

    def call(self, x: Any) -> Any:
        return x * self.factor


class Mixer(keras.layers.Layer):
    """One of somebody's own that multiplies."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x: Any) -> Any:
        return x @ self.kernel


def behind_an_image() -> tuple[Any, Arrays]:
    """A model, and its weights as PyTorch has them."""
    L = keras.layers
    inputs = keras.Input((4, 4, 3))
    x = Scale(name="scale")(L.Flatten()(L.Conv2D(4, 3, name="conv")(inputs)))
    model = keras.Model(inputs, L.Dense(3, name="head")(x))
    weights = randomised(model)
    first = {
        "scale/factor": np.moveaxis(weights["scale/factor"].reshape(2, 2, 4), -1, 0),
        "head/kernel": np.moveaxis(weights["head/kernel"].reshape(2, 2, 4, 3), (3, 2), (0, 1)),
    }
    return model, {
        "conv.weight": weights["conv/kernel"].transpose(3, 2, 0, 1),
        "conv.bias": weights["conv/bias"],
        "scale.factor": first["scale/factor"].reshape(16),
        "head.weight": first["head/kernel"].reshape(3, 16),
        "head.bias": weights["head/bias"],
    }


def of_squares(make: Any) -> tuple[Any, Arrays]:
    """A model with a kernel of 6 by 6, and its weights as they are in Keras, with PyTorch's names
    for those of the layer."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(6, name="out")(make(inputs)))
    weights = randomised(model)
    return model, {name.replace("/", "."): value for name, value in weights.items()}


def randomised(model: Any) -> Arrays:
    for variable in model.weights:
        variable.assign(RANDOM.uniform(0.5, 1.5, variable.shape))
    return {variable.path: variable.numpy().copy() for variable in model.weights}


def restored(
    model: Any,
    arrays: Arrays,
    mapped: Mapped,
    chosen: list[Reading],
    folder: Path,
    sizes: Arrays = SIZES,
) -> Any:
    """The outputs of a model that was restored with the lines of some readings."""
    lines = "\n".join(line for reading in chosen for line in reading.lines)
    for word, size in sizes.items():
        lines = lines.replace(word, str(size))
    rules = folder / "rules.toml"
    rules.write_text(f"{mapped}\n{lines}\n", "utf-8")
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    SmartInit(arrays, rules=rules, on_missing="error", on_unused="error").init(model)
    return outputs(model)


def outputs(model: Any) -> Any:
    data = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("f4")
    return np.asarray(model(data))


def test_what_was_flattened(tmp_path: Path) -> None:
    """With the second reading and the numbers of the image, the outputs are those of the source.
    With the first one they are others, and a restore warns of that."""
    model, arrays = behind_an_image()
    expected = outputs(model)
    mapped = initreg.map(arrays, model)
    assert [question.variables for question in mapped.open] == [("scale/factor",), ("head/kernel",)]
    for question in mapped.open:
        assert [each.words for each in question.readings] == [(), ("CHANNELS", "HEIGHT", "WIDTH")]
    last = [question.readings[1] for question in mapped.open]
    found = restored(model, arrays, mapped, last, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    first = [question.readings[0] for question in mapped.open]
    with pytest.warns(initreg.AxesWarning, match="PyTorch has the channels first"):
        other = restored(model, arrays, mapped, first, tmp_path)
    assert not np.allclose(other, expected, rtol=1e-2)


SIGNALS: dict[str, tuple[tuple[int, ...], Arrays]] = {
    "Conv1D": ((5,), {"CHANNELS": 4, "LENGTH": 5}),
    "Conv2D": ((2, 5), {"CHANNELS": 4, "HEIGHT": 2, "WIDTH": 5}),
    "Conv3D": ((2, 5, 3), {"CHANNELS": 4, "DEPTH": 2, "HEIGHT": 5, "WIDTH": 3}),
}


@pytest.mark.parametrize("kind", SIGNALS)
def test_what_was_flattened_has_the_axes_of_the_convolutions(kind: str, tmp_path: Path) -> None:
    """The words are those of a signal, an image or a volume. With their numbers the outputs are
    those of the source, for what was flattened and for what such a thing is made of."""
    L = keras.layers
    window, sizes = SIGNALS[kind]
    shape = (*window, 4)
    size = 4 * int(np.prod(window))
    inputs = keras.Input(shape)
    x = L.Flatten()(getattr(L, kind)(4, 1, name="conv")(inputs))
    x = L.Dense(3, name="into")(Scale(name="scale")(x))
    x = Scale(name="other")(L.Dense(size, name="out")(x))
    model = keras.Model(inputs, getattr(L, kind)(2, 1, name="last")(L.Reshape(shape)(x)))
    weights = randomised(model)
    first = np.moveaxis(np.arange(size).reshape(shape), -1, 0).reshape(-1)
    for name in ("scale/factor", "into/kernel", "other/factor", "out/bias"):
        weights[name] = weights[name][first]
    weights["out/kernel"] = weights["out/kernel"][:, first]
    arrays = {
        name.replace("/", ".").replace("kernel", "weight"): np.moveaxis(value, (-1, -2), (0, 1))
        if value.ndim > 1
        else value
        for name, value in weights.items()
    }
    expected = outputs(model)
    mapped = initreg.map(arrays, model)
    asked = {question.variables[0] for question in mapped.open}
    assert asked == {"scale/factor", "into/kernel", "out/kernel", "out/bias", "other/factor"}
    assert {question.readings[-1].words for question in mapped.open} == {tuple(sizes)}
    last = [question.readings[-1] for question in mapped.open]
    found = restored(model, arrays, mapped, last, tmp_path, sizes)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_columns_of_an_image_that_a_cell_gets(kind: str, tmp_path: Path) -> None:
    """PyTorch has the channels of each column before its rows, and its gates in another order."""
    L = keras.layers
    inputs = keras.Input((5, 6, 2))
    x = L.Reshape((5, 24))(L.Conv2D(4, 1, name="conv")(inputs))
    cell = getattr(L, kind)(3, name="cell", return_sequences=True)
    last = getattr(L, kind)(3, name="last")
    model = keras.Model(inputs, last(cell(x)))
    weights = randomised(model)
    first = np.arange(24).reshape(6, 4).T.reshape(-1)
    order = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}[kind]

    def gated(value: Any) -> Any:
        parts = np.split(value, len(order), -1)
        return np.concatenate([parts[i] for i in order], -1)

    arrays = {
        "conv.weight": weights["conv/kernel"].transpose(3, 2, 0, 1),
        "conv.bias": weights["conv/bias"],
    }
    for name, layer in (("cell", cell), ("last", last)):
        kernel, state, bias = (np.asarray(each) for each in layer.get_weights())
        arrays[f"{name}.weight_ih_l0"] = gated(kernel[first] if name == "cell" else kernel).T
        arrays[f"{name}.weight_hh_l0"] = gated(state).T
        into, other = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
        arrays[f"{name}.bias_ih_l0"], arrays[f"{name}.bias_hh_l0"] = gated(into), gated(other)
    expected = outputs(model)
    mapped = initreg.map(arrays, model)
    (question,) = mapped.open
    assert question.arrays == ("cell.weight_ih_l0",)
    sizes = {"CHANNELS": 4, "HEIGHT": 6, "WIDTH": 1}
    found = restored(model, arrays, mapped, [question.readings[-1]], tmp_path, sizes)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_kernel_of_somebodys_own_layer(is_moved: bool, tmp_path: Path) -> None:
    """It is open whether it is transposed, and one of the readings is right."""
    model, weights = of_squares(Mixer(name="mixer"))
    expected = outputs(model)
    kernel = weights["mixer.kernel"]
    arrays = {
        "mixer.weight": kernel.T.copy() if is_moved else kernel,
        "out.weight": weights["out.kernel"].T.copy(),
        "out.bias": weights["out.bias"],
    }
    mapped = initreg.map(arrays, model)
    question = next(each for each in mapped.open if each.variables == ("mixer/kernel",))
    assert question.why.endswith("the target does not say how Mixer multiplies it")
    found = restored(model, arrays, mapped, [question.readings[is_moved]], tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    other = restored(model, arrays, mapped, [question.readings[not is_moved]], tmp_path)
    assert not np.allclose(other, expected, rtol=1e-2)


class Linear(keras.layers.Layer):
    """One of somebody's own that is written as in the guide of Keras."""

    is_moved = False

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        sizes = (self.units, shape[-1]) if self.is_moved else (shape[-1], self.units)
        self.w = self.add_weight(shape=sizes, name="w")
        self.b = self.add_weight(shape=(self.units,), name="b")

    def call(self, x: Any) -> Any:
        return x @ (keras.ops.transpose(self.w) if self.is_moved else self.w) + self.b


class AsInPyTorch(Linear):
    is_moved = True


@pytest.mark.parametrize("kind", [Linear, AsInPyTorch])
def test_a_kernel_of_somebodys_own_layer_that_is_not_square(
    kind: type[Linear], tmp_path: Path
) -> None:
    """It fits in one way only. So does a square one of the same class, by the other."""
    inputs = keras.Input((6,))
    layers = [kind(9, name="one"), kind(9, name="two"), keras.layers.Dense(2, name="out")]
    model = keras.Model(inputs, layers[2](layers[1](layers[0](inputs))))
    weights = randomised(model)
    expected = outputs(model)
    arrays = {}
    for layer in ("one", "two"):
        kernel = weights[f"{layer}/w"]
        arrays[f"{layer}.weight"] = kernel if kind.is_moved else kernel.T.copy()
        arrays[f"{layer}.bias"] = weights[f"{layer}/b"]
    arrays["out.weight"], arrays["out.bias"] = weights["out/kernel"].T.copy(), weights["out/bias"]
    mapped = initreg.map(arrays, model)
    assert mapped.is_complete, str(mapped)
    found = restored(model, arrays, mapped, [], tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_kernel_of_somebodys_own_layer_behind_an_image(tmp_path: Path) -> None:
    """If it is not square, only the order of what was flattened is open."""
    inputs = keras.Input((2, 2, 3))
    conv, own = keras.layers.Conv2D(4, 1, name="conv"), Linear(5, name="own")
    model = keras.Model(inputs, own(keras.layers.Flatten()(conv(inputs))))
    weights = randomised(model)
    expected = outputs(model)
    kernel = weights["own/w"].reshape(2, 2, 4, 5).transpose(3, 2, 0, 1)
    arrays = {
        "conv.weight": weights["conv/kernel"].transpose(3, 2, 0, 1),
        "conv.bias": weights["conv/bias"],
        "own.weight": kernel.reshape(5, 16),
        "own.bias": weights["own/b"],
    }
    mapped = initreg.map(arrays, model)
    assert [question.variables for question in mapped.open] == [("own/w",)]
    found = restored(model, arrays, mapped, [mapped.open[0].readings[-1]], tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_square_kernel(is_moved: bool, tmp_path: Path) -> None:
    """There is a reading for each framework, if neither the names nor other layers say it."""
    model, weights = of_squares(keras.layers.Dense(6, name="first"))
    expected = outputs(model)
    arrays = {
        name.replace("kernel", "filters"): value.T.copy() if is_moved else value
        for name, value in weights.items()
    }
    mapped = initreg.map(arrays, model)
    assert [each.variables for each in mapped.open] == [("first/kernel",), ("out/kernel",)]
    framework = "PyTorch" if is_moved else "TensorFlow"
    chosen = [
        reading
        for question in mapped.open
        for reading in question.readings
        if reading.what == f"the source has its axes as {framework}"
    ]
    found = restored(model, arrays, mapped, chosen, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_embeddings_are_looked_up() -> None:
    """A square table of somebody's own class is not multiplied, so nothing is open."""

    class PositionEmbedding(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.embeddings = self.add_weight(shape=(6, 6), name="embeddings")

        def call(self, x: Any) -> Any:
            return x + self.embeddings

    inputs = keras.Input((6, 6))
    model = keras.Model(inputs, PositionEmbedding(name="positions")(inputs))
    found = initreg.map({"positions.weight": np.zeros((6, 6), "f4")}, model)
    assert found.is_complete, str(found)


def test_names_of_keras_say_the_order() -> None:
    """A kernel that is called as in Keras stands as there."""
    model, weights = of_squares(Mixer(name="mixer"))
    found = initreg.map(weights, model)
    assert found.is_complete, str(found)
