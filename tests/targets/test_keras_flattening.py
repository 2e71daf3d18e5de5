"""What was flattened before it came into a layer: PyTorch has its channels first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_specs import by_layer, specs

import initreg
from initreg import SmartInit

pytestmark = pytest.mark.framework

RANDOM = np.random.default_rng(0)
PLAIN: tuple[tuple[str, ...], tuple[int, ...]] = (("in", "out"), ())
OPEN: tuple[tuple[str, ...], tuple[int, ...]] = (("flattened", "out"), ())


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    found = importlib.import_module(request.param)
    found.backend.clear_session()
    return found


def image(*shape: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return ("in", "out"), shape


def head_of(K: Any, shape: tuple[int, ...], between: Callable[[Any, Any], Any]) -> Any:
    """What a Dense layer gets after the layers between it and an input."""
    inputs = K.Input(shape)
    x = between(K.layers, inputs)
    found = by_layer(K.Model(inputs, K.layers.Dense(3, name="head")(x)))["head"]
    return found.axes, found.flattened


def conv(L: Any, x: Any) -> Any:
    return L.Conv2D(4, 3)(x)


SEEN_THROUGH: dict[str, Callable[[Any, Any], Any]] = {
    "nothing": lambda L, x: L.Flatten()(x),
    "dropout": lambda L, x: L.Dropout(0.1)(L.Flatten()(x)),
    "activation": lambda L, x: L.Activation("relu")(L.ReLU()(L.Flatten()(x))),
    "a norm": lambda L, x: L.BatchNormalization()(L.Flatten()(x)),
    "pooling before": lambda L, x: L.Flatten()(L.ReLU()(L.ZeroPadding2D(((0, 0), (0, 0)))(x))),
    "a norm before": lambda L, x: L.Flatten()(L.BatchNormalization()(x)),
    "a reshape": lambda L, x: L.Reshape((64,))(x),
    "two reshapes": lambda L, x: L.Reshape((64,))(L.Flatten()(x)),
    "a sum": lambda L, x: L.Add()([L.Flatten()(x), L.Flatten()(L.ReLU()(x))]),
}


@pytest.mark.parametrize("how", SEEN_THROUGH)
def test_an_image_that_was_flattened(K: Any, how: str) -> None:
    """Its shape is known through all that leaves each value where it is."""
    between = SEEN_THROUGH[how]
    assert head_of(K, (6, 6, 3), lambda L, x: between(L, conv(L, x))) == image(4, 4, 4)


PLAIN_ONES: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "an image that is pooled": ((6, 6, 3), lambda L, x: L.GlobalAveragePooling2D()(conv(L, x))),
    "a pixel": ((3, 3, 3), lambda L, x: L.Flatten()(conv(L, x))),
    "one channel": ((6, 6, 1), lambda L, x: L.Flatten()(x)),
    "rows of an input": ((5, 4), lambda L, x: L.Flatten()(x)),
    "an embedding": ((6,), lambda L, x: L.Flatten()(L.Embedding(9, 4)(x))),
    "a sequence of a Dense": ((5, 4), lambda L, x: L.Flatten()(L.Dense(4)(x))),
    "a sequence of an LSTM": (
        (5, 4),
        lambda L, x: L.Flatten()(L.LSTM(4, return_sequences=True)(x)),
    ),
    "a Dense in between": ((6, 6, 3), lambda L, x: L.Dense(64)(L.Flatten()(conv(L, x)))),
    "each pixel": ((6, 6, 3), lambda L, x: conv(L, x)),
    "no axes": ((4,), lambda L, x: L.Flatten()(x)),
}


@pytest.mark.parametrize("how", PLAIN_ONES)
def test_what_both_have_in_one_order(K: Any, how: str) -> None:
    """Sequences are not permuted, nor what another layer has mixed."""
    assert head_of(K, *PLAIN_ONES[how]) == PLAIN


def test_a_sequence_of_a_convolution(K: Any) -> None:
    """PyTorch has its channels before the time."""
    found = head_of(K, (6, 3), lambda L, x: L.Flatten()(L.Conv1D(4, 3, padding="same")(x)))
    assert found == image(6, 4)


def test_an_image_that_comes_in(K: Any) -> None:
    """Three axes are an image."""
    assert head_of(K, (8, 8, 3), lambda L, x: L.Flatten()(x)) == image(8, 8, 3)


OPEN_ONES: dict[str, Callable[[Any, Any], Any]] = {
    "axes that were moved": lambda L, x: L.Flatten()(L.Permute((3, 1, 2))(x)),
    "two images beside each other": lambda L, x: L.Concatenate()([L.Flatten()(x), L.Flatten()(x)]),
    "pixels as rows": lambda L, x: L.Flatten()(L.Reshape((16, 4))(x)),
}


@pytest.mark.parametrize("how", OPEN_ONES)
def test_what_is_not_known(K: Any, how: str) -> None:
    """It is said that several axes are in one, and not in which order."""
    between = OPEN_ONES[how]
    assert head_of(K, (6, 6, 3), lambda L, x: between(L, conv(L, x))) == OPEN


CELLS: dict[str, tuple[tuple[int, ...], bool, Callable[[Any, Any], Any]]] = {
    "columns": ((5, 6, 2), True, lambda L, x: L.Reshape((5, 24))(L.Conv2D(4, 1)(x))),
    "images": (
        (5, 4, 3, 2),
        True,
        lambda L, x: L.TimeDistributed(L.Flatten())(L.TimeDistributed(L.Conv2D(2, 1))(x)),
    ),
    "columns of one channel": ((5, 24, 1), False, lambda L, x: L.Reshape((5, 24))(x)),
    "a signal": ((7, 2), False, lambda L, x: L.Conv1D(24, 3)(x)),
    "rows beside each other": ((10, 12), False, lambda L, x: L.Reshape((5, 24))(L.Dense(12)(x))),
    "pixels": ((5, 6, 2), False, lambda L, x: L.Reshape((30, 24))(L.Conv2D(24, 1)(x))),
}


@pytest.mark.parametrize("how", CELLS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "MultiHeadAttention"])
def test_what_comes_into_a_cell_or_attention(K: Any, kind: str, how: str) -> None:
    """It is open if it was flattened. The state of a cell is not, and nothing behind it."""
    shape, is_open, between = CELLS[how]
    inputs = K.Input(shape)
    x = between(K.layers, inputs)
    if kind == "MultiHeadAttention":
        y = K.layers.MultiHeadAttention(2, 4, name="cell")(x, x)
        wanted = {("kernel", ("flattened", "out", "out"))}
    else:
        y = getattr(K.layers, kind)(3, name="cell")(x)
        wanted = {("kernel", ("flattened", "gates"))}
    found = specs(K.Model(inputs, K.layers.Dense(2, name="head")(y))).values()
    open_ones = {(spec.role, spec.axes) for spec in found if "flattened" in spec.axes}
    assert open_ones == (wanted if is_open else set())


def test_operations_that_are_no_layers() -> None:
    """``keras.ops`` are seen through like the layers of their names."""
    keras = importlib.import_module("keras")
    ops = keras.ops
    reshaped = head_of(keras, (6, 6, 3), lambda L, x: ops.reshape(conv(L, x), (-1, 64)))
    assert reshaped == image(4, 4, 4)
    through = head_of(keras, (6, 6, 3), lambda L, x: ops.relu(L.Flatten()(conv(L, x))))
    assert through == image(4, 4, 4)
    moved = head_of(
        keras, (6, 6, 3), lambda L, x: L.Flatten()(ops.transpose(conv(L, x), (0, 3, 1, 2)))
    )
    assert moved == OPEN


def test_models_in_models(K: Any) -> None:
    """It does not matter in which of them something is flattened, and where it comes from."""
    L = K.layers
    inside = K.Input((6, 6, 3))
    base = K.Model(inside, conv(L, inside), name="base")
    flat = K.Model(inside, L.Flatten()(conv(L, inside)), name="flat")
    assert head_of(K, (6, 6, 3), lambda L, x: L.Flatten()(base(x))) == image(4, 4, 4)
    assert head_of(K, (6, 6, 3), lambda L, x: flat(x)) == image(4, 4, 4)
    inputs = K.Input((6, 6, 3))
    head = K.Sequential([K.Input((64,)), L.Dense(3, name="fc")], name="head")
    model = K.Model(inputs, head(L.Flatten()(conv(L, inputs))))
    assert by_layer(model)["head/fc"].flattened == (4, 4, 4)


def test_a_layer_that_is_called_twice(K: Any) -> None:
    """It is known if all calls agree, and open if they do not."""
    L = K.layers
    one, two = K.Input((6, 6, 3)), K.Input((6, 6, 3))
    other = K.Input((64,))
    shared, flat, head = L.Conv2D(4, 3), L.Flatten(), L.Dense(3, name="head")
    both = [head(flat(shared(each))) for each in (one, two)]
    agreed = by_layer(K.Model([one, two], L.Add()(both)))["head"]
    assert (agreed.axes, agreed.flattened) == image(4, 4, 4)
    mixed = [both[0], head(other)]
    differing = by_layer(K.Model([one, other], L.Add()(mixed)))["head"]
    assert (differing.axes, differing.flattened) == OPEN


def test_a_norm_of_what_was_flattened(K: Any) -> None:
    """It has a weight for each of the values, in the same order."""
    L = K.layers
    inputs = K.Input((6, 6, 3))
    x = L.BatchNormalization(name="bn")(L.Flatten()(conv(L, inputs)))
    found = by_layer(K.Model(inputs, x))["bn"]
    assert (found.axes, found.flattened) == (("out",), (4, 4, 4))


def test_a_weight_for_each_feature_of_what_was_flattened(K: Any) -> None:
    """PReLU has one. The groups of a GroupNormalization are others if the features come in another
    order."""
    for make, is_known in (
        (K.layers.PReLU, True),
        (lambda name: K.layers.GroupNormalization(4, name=name), False),
    ):
        inputs = K.Input((4, 4, 4))
        x = conv(K.layers, make(name="of_channels")(inputs))
        x = make(name="of_features")(K.layers.Flatten()(x))
        model = K.Model(inputs, K.layers.Dense(3, name="head")(x))
        assert by_layer(model)["head"].flattened == (2, 2, 4)
        found = [spec for spec in specs(model).values() if spec.name == "of_features"]
        assert {spec.flattened for spec in found} == {(2, 2, 4) if is_known else ()}
        assert {"flattened" in spec.axes for spec in found} == {not is_known}
        found = [spec for spec in specs(model).values() if spec.name == "of_channels"]
        assert {spec.flattened for spec in found} == {()}
        assert not any("flattened" in spec.axes for spec in found)


def own_layers(K: Any) -> dict[str, type]:
    """Layers of somebody's own with weights, which compute different things of 16 features."""

    class Scale(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(shape[-1],), name="factor", initializer="ones")

        def call(self, x: Any) -> Any:
            return x * self.factor

    class Rolled(Scale):
        def call(self, x: Any) -> Any:
            return K.ops.roll(x, 1, axis=1) * self.factor

    class Residual(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

        def call(self, x: Any) -> Any:
            return x + x @ self.kernel

    class ResidualDense(K.layers.Dense):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + super().call(x)

    class Beside(K.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = K.layers.Dense(4)

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return K.layers.concatenate([x, self.inner(x)])

        def compute_output_shape(self, shape: Any) -> Any:
            return (*shape[:-1], shape[-1] + 4)

    return {
        "scales": Scale,
        "mixes": Rolled,
        "adds": Residual,
        "adds, and is a Dense": ResidualDense,
        "puts beside": Beside,
    }


@pytest.mark.parametrize("what", ["scales", "mixes", "adds", "adds, and is a Dense", "puts beside"])
def test_a_layer_of_ones_own_behind_what_was_flattened(what: str) -> None:
    """It may leave the features where they are, or not: its weights along them are open, and so is
    the layer behind it."""
    K = importlib.import_module("keras")
    make = own_layers(K)[what]
    options = {"units": 16} if what == "adds, and is a Dense" else {}
    inputs = K.Input((4, 4, 4))
    x = make(**options, name="own")(K.layers.Flatten()(conv(K.layers, inputs)))
    model = K.Model(inputs, K.layers.Dense(3, name="head")(x))
    found = by_layer(model)
    assert (found["head"].axes, found["head"].flattened) == OPEN
    found = [spec for spec in specs(model).values() if spec.name.startswith("own")]
    assert found
    assert not any(spec.flattened for spec in found)
    along = [spec for spec in found if spec.role in ("factor", "kernel")]
    assert all("flattened" in spec.axes for spec in along)


@pytest.mark.parametrize("kind", ["Layer", "Model"])
@pytest.mark.parametrize("ends_with", ["Flatten", "GlobalAveragePooling2D"])
def test_a_layer_of_ones_own_that_makes_features(K: Any, kind: str, ends_with: str) -> None:
    """The layer behind one that may flatten an image is open, whatever size the image had."""

    class Encoder(getattr(K, kind) if kind == "Model" else K.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = K.layers.Conv2D(5, 3, strides=2)
            self.last = getattr(K.layers, ends_with)()

        def build(self, shape: Any) -> None:
            self.conv.build(shape)
            self.built = True

        def call(self, x: Any) -> Any:
            return self.last(self.conv(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return self.last.compute_output_shape(self.conv.compute_output_shape(shape))

    found = head_of(K, (7, 7, 3), lambda L, x: Encoder()(x))
    assert found == (OPEN if ends_with == "Flatten" else PLAIN)


def test_a_layer_of_ones_own_elsewhere(K: Any) -> None:
    """Behind what both frameworks have in one order, nothing is open."""
    make = own_layers(K)["scales"]
    for shape, between in PLAIN_ONES.values():
        found = head_of(K, shape, lambda L, x, b=between: make()(b(L, x)))
        assert found == PLAIN


def test_a_subclassed_model_is_not_known(K: Any) -> None:
    """What might be flattened in it is open. What cannot be is not."""

    class Net(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.flat = K.layers.Conv2D(4, 3), K.layers.Flatten()
            self.head, self.last = K.layers.Dense(5), K.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.last(self.head(self.flat(self.conv(x))))

    model = Net()
    model(np.zeros((1, 6, 6, 3), "f4"))
    found = by_layer(model)
    assert (found["head"].axes, found["head"].flattened) == OPEN
    assert (found["last"].axes, found["last"].flattened) == PLAIN


def flattened_by_hand(x: Any) -> Any:
    """A function that a model calls."""
    return importlib.import_module("tensorflow").reshape(x, (-1, 64))


@pytest.mark.parametrize("how", ["a method", "a function of its module", "a function in it"])
def test_a_subclassed_model_that_flattens_elsewhere(K: Any, how: str) -> None:
    """What ``call`` calls by name is looked at, too."""

    class Net(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = K.layers.Conv2D(4, 3), K.layers.Dense(5)

    class WithMethod(Net):
        def features(self, x: Any) -> Any:
            return importlib.import_module("tensorflow").reshape(x, (-1, 64))

        def call(self, x: Any) -> Any:
            return self.head(self.features(self.conv(x)))

    class WithFunction(Net):
        def call(self, x: Any) -> Any:
            return self.head(flattened_by_hand(self.conv(x)))

    class WithLambda(Net):
        def call(self, x: Any) -> Any:
            flat = lambda y: importlib.import_module("tensorflow").reshape(y, (-1, 64))  # noqa: E731
            return self.head(flat(self.conv(x)))

    kinds = {
        "a method": WithMethod,
        "a function of its module": WithFunction,
        "a function in it": WithLambda,
    }
    model = kinds[how]()
    model(np.zeros((1, 6, 6, 3), "f4"))
    found = by_layer(model)
    assert (found["head"].axes, found["head"].flattened) == OPEN


def test_only_the_first_dense_layer_of_a_subclassed_model_is_open(K: Any) -> None:
    """What a layer right before returns is not flattened, and neither are channels of a norm. All
    of these sizes are several for each channel of a convolution."""

    class LeNet(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            L = K.layers
            self.conv1, self.norm1 = L.Conv2D(2, 3), L.BatchNormalization()
            self.norm2, self.conv2 = L.BatchNormalization(), L.Conv2D(4, 3)
            self.norm3, self.flat = L.BatchNormalization(), L.Flatten()
            self.head1, self.norm4 = L.Dense(12), L.BatchNormalization()
            self.head2, self.head3 = L.Dense(8), L.Dense(3)

        def call(self, x: Any) -> Any:
            x = self.norm3(self.conv2(self.norm2(self.norm1(self.conv1(x)))))
            return self.head3(self.head2(self.norm4(self.head1(self.flat(x)))))

    model = LeNet()
    model(np.zeros((1, 6, 6, 3), "f4"))
    found = {spec.name for spec in specs(model).values() if "flattened" in spec.axes}
    assert found == {"head1"}


def test_one_of_two_dense_layers_of_a_subclassed_model(K: Any) -> None:
    """Both are open if any of them may get what was flattened."""

    class Heads(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.flat = K.layers.Conv2D(4, 3), K.layers.Flatten()
            self.policy, self.value = K.layers.Dense(16), K.layers.Dense(2)

        def call(self, x: Any) -> Any:
            x = self.flat(self.conv(x))
            return self.policy(x), self.value(x)

    model = Heads()
    model(np.zeros((1, 4, 4, 3), "f4"))
    found = {spec.name for spec in specs(model).values() if "flattened" in spec.axes}
    assert found == {"policy", "value"}


def mixing_layers(K: Any) -> dict[str, Callable[[], Any]]:
    """Layers of somebody's own that make 6 new features of 16."""

    class Own(K.layers.Dense):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return super().call(x) * 2.0

    class Linear(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], 6), name="w")

        def call(self, x: Any) -> Any:
            return K.backend.dot(x, self.w) if K.__name__ == "tf_keras" else x @ self.w

    class Block(K.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.one, self.two = K.layers.Dense(10), K.layers.Dense(6)

        def call(self, x: Any) -> Any:
            return self.two(self.one(x))

    return {
        "a Dense": lambda: Own(6, name="own"),
        "a kernel": lambda: Linear(name="own"),
        "two layers": lambda: Block(name="own"),
    }


@pytest.mark.parametrize("what", ["a Dense", "a kernel", "two layers"])
def test_new_features_of_a_layer_of_ones_own(K: Any, what: str) -> None:
    """Nothing of what was flattened is left, if there are others as many as its kernel says. Only
    its kernel along what was flattened is open, and no bias."""
    inputs = K.Input((4, 4, 4))
    x = mixing_layers(K)[what]()(K.layers.Flatten()(conv(K.layers, inputs)))
    model = K.Model(inputs, K.layers.Dense(3, name="head")(x))
    found = [spec for spec in specs(model).values() if "flattened" in spec.axes]
    assert len(found) == 1
    assert found[0].name.startswith("own")
    assert found[0].role in ("kernel", "w")


def test_what_is_in_a_layer_behind_one_of_ones_own(K: Any) -> None:
    """What comes into it is not known, but no weight of its own along it is open that is of another
    length."""
    L = K.layers

    class Doubled(L.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + x

    inputs = K.Input((4, 4, 4))
    x = Doubled()(L.Flatten()(conv(L, inputs)))
    model = K.Model(inputs, mixing_layers(K)["two layers"]()(x))
    found = [spec for spec in specs(model).values() if "flattened" in spec.axes]
    assert [spec.name for spec in found] == ["own/one"]


def image_layers(K: Any) -> dict[str, Callable[[Any], Any]]:
    """What somebody does with an image before it is flattened."""
    L = K.layers

    class Doubled(L.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + x

    class Block(L.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = L.Conv2D(3, 1), L.Conv2D(5, 1)

        def call(self, x: Any) -> Any:
            return self.two(self.one(x))

    return {
        "each value": Doubled(),
        "convolutions": Block(),
        "a Lambda": L.Lambda(lambda x: x / 2),
        "another size": L.Resizing(3, 2),
    }


@pytest.mark.parametrize("what", ["each value", "convolutions", "a Lambda", "another size"])
def test_an_image_of_a_layer_of_ones_own(K: Any, what: str) -> None:
    """Its last axis has the channels if it is as long as that of what comes in, or of a convolution
    in it, and the others are not. If all are, they may have been moved."""
    made = (3, 2, 4) if what == "another size" else (4, 4, 5 if what == "convolutions" else 6)
    layer = image_layers(K)[what]
    first = K.layers.Conv2D(4 if what == "another size" else 6, 3)
    assert head_of(K, (6, 6, 3), lambda L, x: L.Flatten()(layer(first(x)))) == image(*made)
    if what in ("each value", "a Lambda"):
        layer = image_layers(K)[what]
        assert head_of(K, (6, 6, 3), lambda L, x: L.Flatten()(layer(conv(L, x)))) == OPEN


def test_a_sequence_of_a_layer_of_ones_own(K: Any) -> None:
    """Its last layer that makes as many features says that it is one."""

    class Block(K.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = K.layers.Dense(4)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    assert head_of(K, (5, 4), lambda L, x: L.Flatten()(Block()(x))) == PLAIN
    assert head_of(K, (5, 3), lambda L, x: L.Flatten()(Block()(x))) == PLAIN


def channels_first(a: Any, shape: tuple[int, ...]) -> Any:
    """The first axis, which was flattened from this shape, as PyTorch has it."""
    return np.moveaxis(a.reshape(*shape, *a.shape[1:]), len(shape) - 1, 0).reshape(a.shape)


@pytest.mark.parametrize("how", ["norm and dropout", "sequence", "twice"])
def test_the_outputs_are_those_of_the_other_framework(K: Any, how: str, tmp_path: Path) -> None:
    """Weights as PyTorch saves them give the outputs that they had."""
    L = K.layers
    inputs = K.Input((6, 3) if how == "sequence" else (6, 6, 3))
    first = L.Dense(4) if how == "sequence" else L.Conv2D(4, 3)
    norm, head = L.BatchNormalization(), L.Dense(5)
    x = L.Dropout(0.1)(norm(L.Flatten()(first(inputs))))
    y = head(x)
    if how == "twice":
        y = L.Add()([y, head(L.ReLU()(x))])
    model = K.Model(inputs, y)
    for variable in model.weights:
        variable.assign(RANDOM.uniform(0.5, 1.5, tuple(variable.shape)))
    shape = (24,) if how == "sequence" else (4, 4, 4)
    kernel, bias = (np.asarray(w) for w in first.get_weights())
    arrays = {
        "first.weight": np.moveaxis(kernel, (-1, -2), (0, 1)),
        "first.bias": bias,
        "fc.weight": channels_first(head.get_weights()[0], shape).T,
        "fc.bias": head.get_weights()[1],
    }
    names = ("weight", "bias", "running_mean", "running_var")
    for name, weight in zip(names, norm.get_weights(), strict=True):
        arrays[f"bn.{name}"] = channels_first(weight, shape)
    data = RANDOM.normal(size=(2, *inputs.shape[1:])).astype("f4")
    expected = np.asarray(model(data))
    for variable in model.weights:
        variable.assign(np.zeros(tuple(variable.shape)))
    found = initreg.map(arrays, model)
    assert found.is_complete, str(found)
    found.save(tmp_path / "rules.toml")
    SmartInit(arrays, rules=tmp_path / "rules.toml", on_missing="error", on_unused="error").init(
        model
    )
    np.testing.assert_allclose(np.asarray(model(data)), expected, rtol=1e-4)


def test_two_images_that_are_flattened_in_a_subclassed_model(K: Any) -> None:
    """A Dense layer with as many inputs as the one before it has units may get the other image."""

    class Two(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            L = K.layers
            self.conv, self.small = L.Conv2D(4, 3), L.MaxPooling2D(2)
            self.flatten, self.flat = L.Flatten(), L.Flatten()
            self.one, self.two = L.Dense(16), L.Dense(3)

        def call(self, x: Any) -> Any:
            x = self.conv(x)
            return self.one(self.flatten(x)), self.two(self.flat(self.small(x)))

    model = Two()
    model(np.zeros((1, 6, 6, 3), "f4"))
    found = by_layer(model)
    assert (found["one"].axes, found["one"].flattened) == OPEN
    assert (found["two"].axes, found["two"].flattened) == OPEN


def test_the_name_of_a_layer_is_no_code_that_flattens(K: Any) -> None:
    """``self.flatten`` is one layer, and so the Dense layers after the first one are not open."""

    class Net(K.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            L = K.layers
            self.conv, self.flatten = L.Conv2D(4, 3), L.Flatten()
            self.one, self.two = L.Dense(16), L.Dense(3)

        def call(self, x: Any) -> Any:
            return self.two(self.one(self.flatten(self.conv(x))))

    model = Net()
    model(np.zeros((1, 6, 6, 3), "f4"))
    found = by_layer(model)
    assert (found["one"].axes, found["one"].flattened) == OPEN
    assert (found["two"].axes, found["two"].flattened) == PLAIN
