"""Images that are made of what a Dense layer returns: PyTorch has their channels first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_specs import by_layer, specs

import initreg
from initreg import Mapped, SmartInit

pytestmark = pytest.mark.framework

Arrays = dict[str, Any]
Shape = tuple[int, ...]
RANDOM = np.random.default_rng(0)
SHAPE = (2, 3, 4)
FIRST = np.arange(24).reshape(SHAPE).transpose(2, 0, 1).reshape(24)  # as PyTorch has the features
PLAIN: tuple[tuple[str, ...], tuple[int, ...]] = (("in", "out"), ())
OPEN: tuple[tuple[str, ...], tuple[int, ...]] = (("in", "unflattened"), ())


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    found = importlib.import_module(request.param)
    found.backend.clear_session()
    return found


def made_of(K: Any, behind: Callable[[Any, Any], Any], units: int = 24) -> Any:
    """What a Dense layer says of the axes of its kernel, with the layers behind it."""
    inputs = K.Input((5,))
    x = K.layers.Dense(units, name="start")(inputs)
    found = by_layer(K.Model(inputs, behind(K.layers, x)))["start"]
    return found.axes, found.unflattened


def conv(L: Any, x: Any) -> Any:
    return L.Conv2D(4, 1)(x)


IMAGES: dict[str, Callable[[Any, Any], Any]] = {
    "nothing": lambda L, x: conv(L, L.Reshape(SHAPE)(x)),
    "a transposed convolution": lambda L, x: L.Conv2DTranspose(3, 2)(L.Reshape(SHAPE)(x)),
    "a norm before": lambda L, x: conv(L, L.Reshape(SHAPE)(L.ReLU()(L.BatchNormalization()(x)))),
    "a norm behind": lambda L, x: conv(L, L.ReLU()(L.BatchNormalization()(L.Reshape(SHAPE)(x)))),
    "a larger image": lambda L, x: conv(L, L.UpSampling2D()(L.Reshape(SHAPE)(x))),
    "a sum": lambda L, x: conv(L, L.Add()([L.Reshape(SHAPE)(x), L.Reshape(SHAPE)(L.ReLU()(x))])),
}


@pytest.mark.parametrize("how", IMAGES)
def test_an_image(K: Any, how: str) -> None:
    """Its shape is known through all that leaves each value where it is."""
    assert made_of(K, IMAGES[how]) == (("in", "out"), SHAPE)


PLAIN_ONES: dict[str, Callable[[Any, Any], Any]] = {
    "features": lambda L, x: L.Dense(3)(x),
    "a sequence": lambda L, x: L.LSTM(3)(L.Reshape((6, 4))(x)),
    "rows": lambda L, x: L.Reshape((6, 4))(x),
    "one channel": lambda L, x: conv(L, L.Reshape((4, 6, 1))(x)),
    "a pixel": lambda L, x: conv(L, L.Reshape((1, 1, 24))(x)),
    "tokens": lambda L, x: conv(L, L.Reshape(SHAPE)(L.Dense(4)(L.Reshape((6, 4))(x)))),
}


@pytest.mark.parametrize("how", PLAIN_ONES)
def test_what_both_have_in_one_order(K: Any, how: str) -> None:
    """Sequences are the same in both, and so is an image of one channel or of one pixel."""
    assert made_of(K, PLAIN_ONES[how]) == PLAIN


def test_weights_of_each_pixel_are_those_of_its_channels(K: Any) -> None:
    """What comes into a Reshape with several axes is in the order of these already."""
    L = K.layers
    inputs = K.Input((4, 6, 3))
    x = L.LayerNormalization(name="norm")(L.Dense(4, name="dense")(inputs))
    model = K.Model(inputs, conv(L, L.Reshape((6, 4, 4))(x)))
    assert {(spec.axes[-1], spec.unflattened) for spec in specs(model).values()} == {("out", ())}


def doubled(L: Any, x: Any) -> Any:
    """What a layer of somebody's own returns, of which it is not known what it moves."""

    class Doubled(L.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + x

    return Doubled()(x)


def reshaped(L: Any, x: Any) -> Any:
    """An image of a layer whose code is not known."""
    return L.Lambda(
        importlib.import_module("tensorflow").reshape, arguments={"shape": (-1, *SHAPE)}
    )(x)


OPEN_ONES: dict[str, Callable[[Any, Any], Any]] = {
    "axes that are moved": lambda L, x: conv(L, L.Permute((3, 1, 2))(L.Reshape(SHAPE)(x))),
    "a layer of one's own": lambda L, x: conv(L, L.Reshape(SHAPE)(doubled(L, x))),
    "a Lambda": lambda L, x: conv(L, reshaped(L, x)),
    "others beside it": lambda L, x: conv(
        L, L.Reshape((4, 3, 4))(L.Concatenate()([x, L.Dense(24)(x)]))
    ),
    "what the model returns": lambda L, x: L.Reshape(SHAPE)(x),
    "two shapes": lambda L, x: L.Add()(
        [L.GlobalMaxPooling2D()(L.Reshape(shape)(x)) for shape in (SHAPE, (3, 2, 4))]
    ),
}


@pytest.mark.parametrize("how", OPEN_ONES)
def test_what_is_not_known(K: Any, how: str) -> None:
    """It is said that several axes are made of one, and not in which order."""
    assert made_of(K, OPEN_ONES[how]) == OPEN


def test_channels_first(K: Any) -> None:
    """An image with its channels first is that of PyTorch."""
    behind = lambda L, x: L.MaxPooling2D(1, data_format="channels_first")(L.Reshape(SHAPE)(x))  # noqa: E731
    assert made_of(K, behind) == PLAIN


def test_models_in_models(K: Any) -> None:
    """It does not matter in which of them the image is made, and in which it is used."""
    L = K.layers
    start = K.Sequential([K.Input((5,)), L.Dense(24, name="start")], name="one")
    shaped = K.Sequential([K.Input((24,)), L.Reshape(SHAPE), L.ReLU()], name="two")
    end = K.Sequential([K.Input(SHAPE), L.Conv2D(3, 1)], name="three")
    found = by_layer(K.Sequential([K.Input((5,)), start, shaped, end]))["one/start"]
    assert (found.axes, found.unflattened) == (("in", "out"), SHAPE)


def decoders(K: Any) -> dict[str, Callable[[], Any]]:
    """Subclassed models, of which it is not recorded what they make an image of."""

    class OfLayers(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.start, self.shaped = K.layers.Dense(24), K.layers.Reshape(SHAPE)
            self.conv = K.layers.Conv2DTranspose(3, 2)

        def call(self, x: Any) -> Any:
            return self.conv(self.shaped(self.start(x)))

    class OfCode(OfLayers):
        def __init__(self) -> None:
            super().__init__()
            self.shaped = importlib.import_module("tensorflow").identity

        def call(self, x: Any) -> Any:
            tf = importlib.import_module("tensorflow")
            return self.conv(tf.reshape(self.start(x), (-1, *SHAPE)))

    return {"layers": OfLayers, "code": OfCode}


@pytest.mark.parametrize("how", ["layers", "code"])
def test_a_subclassed_model_is_not_known(K: Any, how: str) -> None:
    """It is open what might become an image, and the second reading is right."""
    model = decoders(K)[how]()
    model(np.zeros((1, 5), "f4"))
    found = by_layer(model)["start"]
    assert (found.axes, found.unflattened) == OPEN


def test_features_of_a_subclassed_classifier(K: Any) -> None:
    """Nothing becomes an image if no convolution follows."""

    class Net(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = K.layers.Conv2D(4, 3)
            self.head, self.last = K.layers.Dense(24), K.layers.Dense(2)

        def call(self, x: Any) -> Any:
            tf = importlib.import_module("tensorflow")
            return self.last(self.head(tf.reshape(self.conv(x), (-1, 64))))

    model = Net()
    model(np.zeros((1, 6, 6, 3), "f4"))
    assert {by_layer(model)[name].axes[-1] for name in ("head", "last")} == {"out"}


def generator(K: Any) -> tuple[Any, Arrays]:
    """A model that makes images of what it flattened, and its weights as PyTorch has them."""
    L = K.layers
    inputs = K.Input(SHAPE)
    first, start, norm, last = L.Conv2D(4, 1), L.Dense(24), L.BatchNormalization(), L.Conv2D(3, 2)
    image = L.Reshape(SHAPE)(L.ReLU()(norm(start(L.Flatten()(first(inputs))))))
    model = K.Model(inputs, last(image))
    for variable in model.weights:
        variable.assign(RANDOM.uniform(0.5, 1.5, tuple(variable.shape)))
    arrays = {
        "first.weight": first.get_weights()[0].transpose(3, 2, 0, 1),
        "first.bias": first.get_weights()[1],
        "start.weight": start.get_weights()[0][np.ix_(FIRST, FIRST)].T,
        "start.bias": start.get_weights()[1][FIRST],
    }
    names = ("weight", "bias", "running_mean", "running_var")
    for name, weight in zip(names, norm.get_weights(), strict=True):
        arrays[f"norm.{name}"] = weight[FIRST]
    arrays["last.weight"] = last.get_weights()[0].transpose(3, 2, 0, 1)
    arrays["last.bias"] = last.get_weights()[1]
    return model, arrays


def check_outputs(model: Any, shape: Shape, arrays: Arrays, rules: str, folder: Path) -> None:
    """A model that is restored with some rules computes what it did before."""
    path = folder / "rules.toml"
    path.write_text(rules, "utf-8")
    data = RANDOM.normal(size=(2, *shape)).astype("f4")
    expected = np.asarray(model(data))
    for variable in model.weights:
        variable.assign(np.zeros(tuple(variable.shape)))
    SmartInit(arrays, rules=path, on_missing="error", on_unused="error").init(model)
    np.testing.assert_allclose(np.asarray(model(data)), expected, rtol=1e-4)


def test_the_outputs_are_those_of_the_other_framework(K: Any, tmp_path: Path) -> None:
    """A Dense layer between two images has both of its axes in another order."""
    model, arrays = generator(K)
    mapped = initreg.map(arrays, model)
    assert mapped.is_complete, str(mapped)
    check_outputs(model, SHAPE, arrays, str(mapped), tmp_path)


def last_readings(mapped: Mapped) -> str:
    """The rules with the last reading of each question, and the shape of the image."""
    lines = [line for question in mapped.open for line in question.readings[-1].lines]
    text = "\n".join([str(mapped), *lines])
    for word, size in zip(("HEIGHT", "WIDTH", "CHANNELS"), SHAPE, strict=True):
        text = text.replace(word, str(size))
    return text


@pytest.mark.parametrize("how", ["layers", "code"])
def test_the_readings_of_a_subclassed_model(K: Any, how: str, tmp_path: Path) -> None:
    """The last reading of its kernel and its bias is that of PyTorch."""
    model = decoders(K)[how]()
    model(np.zeros((1, 5), "f4"))
    for variable in model.weights:
        variable.assign(RANDOM.uniform(0.5, 1.5, tuple(variable.shape)))
    kernel, bias = model.start.get_weights()
    arrays = {
        "start.weight": kernel[:, FIRST].T,
        "start.bias": bias[FIRST],
        "conv.weight": model.conv.get_weights()[0].transpose(3, 2, 0, 1),
        "conv.bias": model.conv.get_weights()[1],
    }
    mapped = initreg.map(arrays, model)
    assert len(mapped.open) == 2
    check_outputs(model, (5,), arrays, last_readings(mapped), tmp_path)


def test_a_plan_says_so(K: Any) -> None:
    """Rules that only transpose such a kernel are doubted, and a hint to do so says that it is not
    all."""
    inputs = K.Input((5,))
    x = K.layers.Reshape(SHAPE)(K.layers.Dense(24, name="start")(inputs))
    model = K.Model(inputs, K.layers.Conv2D(6, (1, 2), name="conv")(x))
    arrays = {
        "start/kernel": RANDOM.normal(size=(24, 5)).astype("f4"),
        "start/bias": np.zeros(24, "f4"),
        "conv/kernel": RANDOM.normal(size=(6, 4, 1, 2)).astype("f4"),
        "conv/bias": np.zeros(6, "f4"),
    }
    plan = SmartInit(arrays, ignore_mismatch=True).plan(model)
    words = [hint.words for hint in plan.hints]
    assert any("outputs of start/kernel that become an image are in another" in w for w in words)
    axes = {"start/kernel": (1, 0), "conv/kernel": (2, 3, 1, 0)}
    with pytest.warns(initreg.AxesWarning, match="an image is made of what its layer returns"):
        SmartInit(arrays, permute=axes).init(model)
