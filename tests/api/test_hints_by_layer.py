"""The hints about the order of axes, judged by the output of the Keras layer that they are for.

The layers of PyTorch are computed here as its documentation defines them. ``x`` is
(batch, channels, *window), and a convolution is a cross-correlation.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest

import initreg
from initreg import SmartInit

rng = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype("f4")


class Flat(keras.layers.Layer):
    """A layer that nobody but its author knows."""

    def call(self, x: Any) -> Any:
        return keras.ops.reshape(x, (-1, 27))


# --- layers of PyTorch --------------------------------------------------------------------------


def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """torch.nn.Linear: weight is (out, in)."""
    return x @ weight.T


def conv(x: np.ndarray, weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """torch.nn.Conv1d to Conv3d: weight is (out, in / groups, *window)."""
    ndim = weight.ndim - 2
    space = tuple(range(2, 2 + ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=space)
    found = []
    for xs, ws in zip(np.split(windows, groups, 1), np.split(weight, groups, 0), strict=True):
        axes = [1, *range(2 + ndim, 2 + 2 * ndim)], [1, *space]
        found.append(np.moveaxis(np.tensordot(xs, ws, axes), -1, 1))
    return np.concatenate(found, 1)


def conv_transpose(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """torch.nn.ConvTranspose1d to 3d: weight is (in, out, *window)."""
    window = weight.shape[2:]
    size = [n + k - 1 for n, k in zip(x.shape[2:], window, strict=True)]
    out = np.zeros((len(x), weight.shape[1], *size), "f4")
    for at in np.ndindex(*window):
        part = tuple(slice(a, a + n) for a, n in zip(at, x.shape[2:], strict=True))
        one = weight[(slice(None), slice(None), *at)]
        out[(slice(None), slice(None), *part)] += np.moveaxis(np.tensordot(x, one, (1, 0)), -1, 1)
    return out


def lstm(x: np.ndarray, ih: np.ndarray, hh: np.ndarray) -> np.ndarray:
    """torch.nn.LSTM without biases: the gates are i, f, g, o, the last hidden state is returned."""
    h = c = np.zeros((len(x), hh.shape[1]), "f4")
    for step in np.moveaxis(x, 1, 0):
        i, f, g, o = np.split(step @ ih.T + h @ hh.T, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    return h


def last(x: np.ndarray) -> np.ndarray:
    """(batch, channels, *window) as (batch, *window, channels)."""
    return np.moveaxis(x, 1, -1)


# --- following a hint -----------------------------------------------------------------------------


def follow(source: dict[str, np.ndarray], model: Any, **options: Any) -> initreg.Plan:
    """Do what the first hint prints. Warnings are errors, but those of a reshape."""
    hint = SmartInit(source, **options).plan(model).hints[0]
    assert hint.code in str(hint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", initreg.ReshapeWarning)
        return eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(model)


def model_of(layer: Any, *shape: int | None) -> Any:
    x = keras.Input(shape)
    return keras.Model(x, layer(x))


def same(model: Any, x: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(model(last(x))), last(want), rtol=1e-4, atol=1e-4)


L = keras.layers


@pytest.mark.parametrize(
    "shape",
    [
        (8, 3, 5, 5),
        (8, 5, 5, 5),
        (5, 3, 5, 5),
        (4, 6, 2, 3),
        (6, 4, 1, 1),
        (4, 4, 1, 1),
        (3, 1, 3, 3),
        (1, 3, 3, 3),
    ],
    ids=str,
)
def test_conv2d(shape: tuple[int, ...]) -> None:
    """Whatever axes are equal, height and width keep their places, and in and out change theirs."""
    out, channels, *window = shape
    w, x = random(*shape), random(2, channels, 7, 7)
    model = model_of(L.Conv2D(out, window, use_bias=False, name="c"), 7, 7, channels)
    follow({"c/kernel": w}, model)
    same(model, x, conv(x, w))


@pytest.mark.parametrize("shape", [(8, 3, 5), (5, 3, 8), (4, 3, 1), (4, 4, 1), (1, 3, 3)], ids=str)
def test_conv1d(shape: tuple[int, ...]) -> None:
    """One axis of the window: (out, in, width) becomes (width, in, out)."""
    out, channels, width = shape
    w, x = random(*shape), random(2, channels, 9)
    model = model_of(L.Conv1D(out, width, use_bias=False, name="c"), 9, channels)
    follow({"c/kernel": w}, model)
    same(model, x, conv(x, w))


@pytest.mark.parametrize("shape", [(4, 2, 3, 3, 3), (2, 3, 2, 3, 4), (4, 4, 1, 1, 1)], ids=str)
def test_conv3d(shape: tuple[int, ...]) -> None:
    """Three axes of the window keep their order."""
    out, channels, *window = shape
    w, x = random(*shape), random(2, channels, 5, 5, 5)
    model = model_of(L.Conv3D(out, window, use_bias=False, name="c"), 5, 5, 5, channels)
    follow({"c/kernel": w}, model)
    same(model, x, conv(x, w))


def test_grouped_conv2d() -> None:
    """A convolution in groups has the same order, also if each channel is a group."""
    for groups, channels, out in ((2, 4, 6), (4, 4, 8), (3, 3, 3)):
        w, x = random(out, channels // groups, 3, 3), random(2, channels, 6, 6)
        layer = L.Conv2D(out, 3, groups=groups, use_bias=False, name="c")
        model = model_of(layer, 6, 6, channels)
        follow({"c/kernel": w}, model)
        same(model, x, conv(x, w, groups))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (3, 2, 3, 3), (2, 3, 3, 2), (4, 4, 1, 1)], ids=str)
def test_conv2d_transpose(shape: tuple[int, ...]) -> None:
    """(in, out, height, width) becomes (height, width, out, in)."""
    channels, out, *window = shape
    w, x = random(*shape), random(2, channels, 5, 5)
    model = model_of(L.Conv2DTranspose(out, window, use_bias=False, name="c"), 5, 5, channels)
    follow({"c/kernel": w}, model)
    same(model, x, conv_transpose(x, w))


def test_conv1d_and_conv3d_transpose() -> None:
    """The same for one and three axes of the window."""
    w, x = random(6, 4, 3), random(2, 6, 5)
    model = model_of(L.Conv1DTranspose(4, 3, use_bias=False, name="c"), 5, 6)
    follow({"c/kernel": w}, model)
    same(model, x, conv_transpose(x, w))
    w, x = random(3, 2, 2, 3, 3), random(2, 3, 4, 4, 4)
    model = model_of(L.Conv3DTranspose(2, (2, 3, 3), use_bias=False, name="c"), 4, 4, 4, 3)
    follow({"c/kernel": w}, model)
    same(model, x, conv_transpose(x, w))


@pytest.mark.parametrize("name", ["kernel", "depthwise_kernel"])
@pytest.mark.parametrize("channels", [8, 3, 1])
def test_depthwise_conv2d(channels: int, name: str) -> None:
    """(channels, 1, height, width) becomes (height, width, channels, 1), also where three channels
    under a window of 3 x 3 could be reshaped."""
    w, x = random(channels, 1, 3, 3), random(2, channels, 6, 6)
    model = model_of(L.DepthwiseConv2D(3, use_bias=False, name="c"), 6, 6, channels)
    path = model.weights[0].path
    source = {path.rpartition("/")[0] + f"/{name}": w}
    if channels == 1:
        with pytest.warns(initreg.ReshapeWarning):
            SmartInit(source, rename=[("/[^/]*$", "/" + path.rpartition("/")[2])]).init(model)
    else:
        follow(source, model, rename=[("/[^/]*$", "/" + path.rpartition("/")[2])])
    same(model, x, conv(x, w, channels))


@pytest.mark.parametrize("channels", [8, 3])
def test_depthwise_conv1d(channels: int) -> None:
    """(channels, 1, width) becomes (width, channels, 1)."""
    w, x = random(channels, 1, 3), random(2, channels, 6)
    model = model_of(L.DepthwiseConv1D(3, use_bias=False, name="c"), 6, channels)
    follow({model.weights[0].path: w}, model)
    same(model, x, conv(x, w, channels))


def test_a_depthwise_multiplier_is_not_a_matter_of_the_order_of_axes() -> None:
    """With a multiplier of 2 no order is right. The hint says what to do, and types no code; what
    it says gives the right output."""
    channels, multiplier = 3, 2
    w, x = random(channels * multiplier, 1, 3, 3), random(2, channels, 6, 6)
    layer = L.DepthwiseConv2D(3, depth_multiplier=multiplier, use_bias=False, name="c")
    model = model_of(layer, 6, 6, channels)
    path = model.weights[0].path
    (hint,) = SmartInit({path: w}).plan(model).hints
    assert hint.code == ""
    assert "multiplier is not 1" in hint.words
    code = hint.words.partition("Give ")[2]
    assert code == "array.reshape(3, 2, 3, 3).transpose(2, 3, 0, 1)"
    SmartInit({path: eval(code, {"array": w})}).init(model)
    same(model, x, conv(x, w, channels))


@pytest.mark.parametrize("multiplier", [1, 2])
def test_separable_conv2d(multiplier: int) -> None:
    """The depthwise kernel and the pointwise one each have their order."""
    channels, out = 3, 6 if multiplier == 2 else 3
    depth, point = random(channels * multiplier, 1, 3, 3), random(out, channels * multiplier, 1, 1)
    x = random(2, channels, 6, 6)
    layer = L.SeparableConv2D(out, 3, depth_multiplier=multiplier, use_bias=False, name="c")
    model = model_of(layer, 6, 6, channels)
    ours = depth
    if multiplier > 1:
        ours = depth.reshape(channels, multiplier, 3, 3).transpose(2, 3, 0, 1)
    follow({"c/depthwise_kernel": ours, "c/pointwise_kernel": point}, model)
    same(model, x, conv(conv(x, depth, channels), point))


def test_separable_conv1d() -> None:
    """The same with one axis of the window."""
    depth, point, x = random(3, 1, 3), random(3, 3, 1), random(2, 3, 6)
    model = model_of(L.SeparableConv1D(3, 3, use_bias=False, name="c"), 6, 3)
    follow({"c/depthwise_kernel": depth, "c/pointwise_kernel": point}, model)
    same(model, x, conv(conv(x, depth, 3), point))


def test_a_dense_layer_and_a_convolution_of_width_1_stand_for_each_other() -> None:
    """Axes of length 1 come and go, and in and out change places."""
    w, x = random(6, 4, 1, 1), random(2, 4)
    model = model_of(L.Dense(6, use_bias=False, name="d"), 4)
    follow({"d/kernel": w}, model)
    np.testing.assert_allclose(np.asarray(model(x)), x @ w[:, :, 0, 0].T, rtol=1e-4, atol=1e-5)
    w, x = random(6, 4), random(2, 4, 3, 3)
    model = model_of(L.Conv2D(6, 1, use_bias=False, name="c"), 3, 3, 4)
    follow({"c/kernel": w}, model)
    same(model, x, conv(x, w[:, :, None, None]))


# --- square kernels -------------------------------------------------------------------------------


def dense_model(*widths: int) -> tuple[Any, dict[str, np.ndarray]]:
    x = out = keras.Input((widths[0],))
    source = {}
    for number, width in enumerate(widths[1:]):
        out = L.Dense(width, name=f"fc{number}")(out)
        source[f"fc{number}.weight"] = random(width, widths[number])
        source[f"fc{number}.bias"] = random(width)
    return keras.Model(x, out), source


RENAMED = [(r"\.", "/"), ("/weight$", "/kernel")]


@pytest.mark.parametrize("widths", [(8, 4, 4, 3), (4, 4, 4, 4, 2), (6, 4, 4, 4, 4)], ids=str)
def test_square_dense_kernels_go_with_the_others(widths: tuple[int, ...]) -> None:
    """One hint transposes all kernels, and its words name the square ones."""
    model, source = dense_model(*widths)
    plan = SmartInit(source, rename=RENAMED).plan(model)
    square = [n for n in range(len(widths) - 1) if widths[n] == widths[n + 1]]
    assert [f"fc{n}/kernel" in plan.hints[0].words for n in square] == [True] * len(square)
    follow(source, model, rename=RENAMED)
    x = random(3, widths[0])
    want = x
    for n in range(len(widths) - 1):
        want = linear(want, source[f"fc{n}.weight"]) + source[f"fc{n}.bias"]
    np.testing.assert_allclose(np.asarray(model(x)), want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "shape", "weight"),
    [
        (L.Dense(4, use_bias=False, name="a"), (4,), (4, 4)),
        (L.Conv1D(3, 3, use_bias=False, name="a"), (5, 1), (3, 1, 3)),
        (L.Conv2D(3, 3, use_bias=False, name="a"), (5, 5, 3), (3, 3, 3, 3)),
    ],
    ids=["dense", "conv1d", "conv2d"],
)
def test_a_square_kernel_alone_is_doubted_for_its_name(layer: Any, shape: Any, weight: Any) -> None:
    """Nothing else in the source tells, but PyTorch calls it a weight and Keras a kernel."""
    w, x = random(*weight), random(2, *shape)
    model = model_of(layer, *shape)
    source, renamed = {"a.weight": w}, {"a.weight": "a/kernel"}
    with pytest.warns(initreg.AxesWarning, match=r"as well, as 'a.weight' of PyTorch would"):
        SmartInit(source, rename=renamed).init(model)
    follow(source, model, rename=renamed)
    first = np.moveaxis(x, -1, 1)
    want = linear(x, w) if w.ndim == 2 else last(conv(first, w))
    np.testing.assert_allclose(np.asarray(model(x)), want, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::initreg.ReshapeWarning")
@pytest.mark.parametrize("sizes", [(1, 4, 4, 1), (1, 4, 4), (4, 4, 4, 1)])
def test_a_square_kernel_beside_those_of_one_input_or_output(sizes: tuple[int, ...]) -> None:
    """Their reshapes show that the source is in the other order. With the hint, and the kernels
    called as Keras calls them, the output is that of PyTorch."""
    model, given = dense_model(*sizes)
    source = {n.replace(".weight", "/kernel").replace(".bias", "/bias"): given[n] for n in given}
    with pytest.warns(initreg.AxesWarning, match="needs no reshape if"):
        plan = SmartInit(source).init(model)
    square = [n for n, w in source.items() if w.shape == (4, 4)]
    assert [row.name for row in plan.doubtful] == square
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", initreg.ReshapeWarning)
        eval(plan.hints[0].code, {"SmartInit": SmartInit, "source": source}).init(model)
    want = x = random(3, sizes[0])
    for n in range(len(sizes) - 1):
        want = linear(want, given[f"fc{n}.weight"]) + given[f"fc{n}.bias"]
    np.testing.assert_allclose(np.asarray(model(x)), want, rtol=1e-4, atol=1e-4)


def test_a_square_kernel_that_the_user_forgot_is_warned_of() -> None:
    """The warning names it, why it is doubted, and what to type. What it says to type is right."""
    model, source = dense_model(8, 4, 4, 3)
    renamed = SmartInit(source, rename=RENAMED)
    with pytest.warns(initreg.AxesWarning) as caught:
        plan = SmartInit(renamed, transpose=["fc0/kernel", "fc2/kernel"]).init(model)
    (row,) = plan.doubtful
    assert (row.name, row.kind) == ("fc1/kernel", "matched")
    message = str(caught[0].message)
    assert "fc1/kernel  (4, 4) float32, fits transposed as well, and fc0/kernel is tra" in message
    assert "pass permute={'fc1/kernel': (0, 1)} for it" in message
    assert plan.hints[0].code in message
    x = random(3, 8)
    eval(plan.hints[0].code, {"SmartInit": SmartInit, "source": source}).init(model)
    want = x
    for n in range(3):
        want = linear(want, source[f"fc{n}.weight"]) + source[f"fc{n}.bias"]
    np.testing.assert_allclose(np.asarray(model(x)), want, rtol=1e-3, atol=1e-3)


def test_attention_with_three_square_projections_and_an_embedding() -> None:
    """Three of four projections are square, and so is the embedding, which is never transposed."""
    x = keras.Input((5,), dtype="int32")
    embedded = L.Embedding(8, 8, name="embed")(x)
    q, k, v = (L.Dense(8, use_bias=False, name=f"{n}_proj")(embedded) for n in "qkv")
    scores = keras.ops.softmax(keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))))
    out = L.Dense(4, use_bias=False, name="o_proj")(keras.ops.matmul(scores, v))
    model = keras.Model(x, out)
    source = {f"{n}_proj.weight": random(4 if n == "o" else 8, 8) for n in "qkvo"}
    source["embed.weight"] = random(8, 8)
    plan = follow(source, model, rename=[*RENAMED, ("embed/kernel", "embed/embeddings")])
    assert plan.ok
    ids = np.array([[1, 2, 3, 7, 0]])
    e = source["embed.weight"][ids]
    q, k, v = (linear(e, source[f"{n}_proj.weight"]) for n in "qkv")
    s = np.exp(q @ k.transpose(0, 2, 1))
    want = linear(s / s.sum(-1, keepdims=True) @ v, source["o_proj.weight"])
    np.testing.assert_allclose(np.asarray(model(ids)), want, rtol=1e-3, atol=1e-3)


def test_a_square_convolution_and_a_square_dense_layer_go_with_a_convolution() -> None:
    """All axes of one kernel are equal, and those of the dense one: nothing but the first
    convolution shows that the source is PyTorch's."""
    x = keras.Input((8, 8, 2))
    h = L.Conv2D(3, 3, use_bias=False, name="a")(x)
    h = L.Conv2D(3, 3, use_bias=False, name="b")(h)
    out = L.Dense(3, use_bias=False, name="d")(L.GlobalAveragePooling2D()(h))
    model = keras.Model(x, out)
    a, b, d = random(3, 2, 3, 3), random(3, 3, 3, 3), random(3, 3)
    follow({"a/kernel": a, "b/kernel": b, "d/kernel": d}, model)
    images = random(2, 2, 8, 8)
    want = linear(conv(conv(images, a), b).mean((2, 3)), d)
    np.testing.assert_allclose(np.asarray(model(last(images))), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("inputs", [3, 8])
def test_lstm(inputs: int) -> None:
    """Both kernels of an LSTM are transposed; the order of its gates is the same. One of them is
    square here if there are 8 inputs."""
    ih, hh, x = random(8, inputs), random(8, 2), random(2, 4, inputs)
    model = model_of(L.LSTM(2, use_bias=False, name="lstm"), 4, inputs)
    names = [v.path for v in model.weights]
    follow(dict(zip(names, (ih, hh), strict=True)), model)
    np.testing.assert_allclose(np.asarray(model(x)), lstm(x, ih, hh), rtol=1e-4, atol=1e-4)


def test_the_square_kernel_of_a_simple_rnn() -> None:
    """The recurrent kernel is always square, and called otherwise than the one that shows it."""
    ih, hh, x = random(4, 3), random(4, 4), random(2, 5, 3)
    model = model_of(L.SimpleRNN(4, use_bias=False, name="rnn"), 5, 3)
    names = [v.path for v in model.weights]
    follow(dict(zip(names, (ih, hh), strict=True)), model)
    h = np.zeros((2, 4), "f4")
    for step in np.moveaxis(x, 1, 0):
        h = np.tanh(step @ ih.T + h @ hh.T)
    np.testing.assert_allclose(np.asarray(model(x)), h, rtol=1e-4, atol=1e-4)


def test_the_gates_of_a_gru_are_no_matter_of_axes() -> None:
    """Its kernels would fit transposed, with the wrong gates: the hint says so, and has no code."""
    model = model_of(L.GRU(2, use_bias=False, name="gru"), 4, 3)
    names = [v.path for v in model.weights]
    source = dict(zip(names, (random(6, 3), random(6, 2)), strict=True))
    (hint,) = SmartInit(source).plan(model).hints
    assert hint.code == ""
    assert "gates are in the order z, r, h in Keras, and r, z, n in PyTorch" in hint.words
    with pytest.warns(initreg.AxesWarning, match="z, r, h in Keras"):
        SmartInit(source, transpose="*").init(model)


@pytest.mark.parametrize("units", [4, 1])
@pytest.mark.filterwarnings("ignore::initreg.ReshapeWarning")
def test_a_dense_layer_behind_a_flatten_is_warned_of(units: int) -> None:
    """PyTorch flattens the channels first: the hint says so, and so does a warning. With the rows
    in order, the output is right. A kernel of one output is reshaped, with no rule of its own."""
    x = keras.Input((5, 5, 2))
    h = L.Conv2D(3, 3, use_bias=False, name="c")(x)
    model = keras.Model(x, L.Dense(units, use_bias=False, name="d")(L.Flatten()(h)))
    w, d = random(3, 2, 3, 3), random(units, 27)
    source = {"c/kernel": w, "d/kernel": d}
    (hint,) = SmartInit(source).plan(model).hints
    if units > 1:
        assert "inputs of d/kernel that are flattened are in another order, too" in hint.words
    doubted = "its 27 inputs are 9 for each of 3 channels"
    with pytest.warns(initreg.AxesWarning, match=doubted):
        SmartInit(source, **hint.options).init(model)
    ours = d.reshape(units, 3, 3, 3).transpose(2, 3, 1, 0).reshape(27, units)
    SmartInit({"c/kernel": w, "d/kernel": ours}, permute={"c/kernel": (2, 3, 1, 0)}).init(model)
    images = random(2, 2, 5, 5)
    want = linear(conv(images, w).reshape(2, 27), d)
    np.testing.assert_allclose(np.asarray(model(last(images))), want, rtol=1e-3, atol=1e-4)


def test_what_the_target_knows_not_to_be_flattened_is_not_warned_of() -> None:
    """Six pooled features come from a convolution of three channels, as in a DenseNet. The order of
    pooled features is the same in both frameworks, and the output is right."""
    x = keras.Input((5, 5, 2))
    h = L.Conv2D(3, 3, use_bias=False, name="c")(x)
    h = L.GlobalAveragePooling2D()(L.Concatenate()([h, L.ReLU()(h)]))
    model = keras.Model(x, L.Dense(4, use_bias=False, name="d")(h))
    w, d = random(3, 2, 3, 3), random(4, 6)
    (hint,) = SmartInit({"c/kernel": w, "d/kernel": d}).plan(model).hints
    assert "flattened" not in hint.words
    plan = SmartInit({"c/kernel": w, "d/kernel": d}, **hint.options).init(model)
    assert not plan.doubtful
    images = random(2, 2, 5, 5)
    convolved = conv(images, w)
    pooled = np.concatenate([convolved, np.maximum(convolved, 0)], 1).mean((2, 3))
    np.testing.assert_allclose(
        np.asarray(model(last(images))), linear(pooled, d), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("how", ["permuted", "a layer of its own", "a fault"])
def test_what_the_target_does_not_know_is_warned_of(how: str) -> None:
    """What is flattened in an order that is not known, or if the target cannot say it."""
    x = keras.Input((5, 5, 2))
    h = L.Conv2D(3, 3, use_bias=False, name="c")(x)
    if how == "permuted":
        h = L.Flatten()(L.Permute((2, 1, 3))(h))
    elif how == "a layer of its own":
        h = Flat(name="flat")(h)
    else:
        h = L.GlobalAveragePooling2D()(L.Concatenate()([h, h]))
    h = L.Dense(4, use_bias=False, name="d")(h)
    odd = L.EinsumDense("ab,bc->ac", 5, name="odd")
    model = keras.Model(x, odd(h))
    if how == "a fault":
        del odd.equation  # what its kernel is can no longer be found out
    inputs = 6 if how == "a fault" else 27
    source = {"c/kernel": random(3, 2, 3, 3), "d/kernel": random(4, inputs)}
    source["odd/kernel"] = random(4, 5)
    rules = {"permute": {"c/kernel": (2, 3, 1, 0)}, "transpose": "d/kernel"}
    with pytest.warns(initreg.AxesWarning, match="each of 3 channels"):
        SmartInit(source, **rules).init(model)


# --- what is right as it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (L.Dense(4, name="d"), (4,)),
        (L.Conv2D(3, 3, name="d"), (5, 5, 3)),
        (L.DepthwiseConv2D(3, name="d"), (5, 5, 3)),
        (L.Embedding(4, 4, name="d"), (4,)),
        (L.LSTM(2, name="d"), (4, 8)),
        (L.MultiHeadAttention(4, 4, name="d"), None),
    ],
    ids=lambda value: getattr(type(value), "__name__", "") + "",
)
def test_weights_of_keras_itself_are_not_doubted(layer: Any, shape: Any) -> None:
    """Square kernels of the same framework are restored without a warning or a hint."""
    if shape is None:
        x = keras.Input((3, 16))
        model = keras.Model(x, layer(x, x))
    else:
        model = model_of(layer, *shape)
    source = {v.path: random(*v.shape) for v in model.weights}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = SmartInit(source).init(model)
    assert (plan.doubtful, plan.hints) == ((), ())
    for v in model.weights:
        np.testing.assert_array_equal(np.asarray(v), source[v.path])


def test_a_vector_may_be_a_row_or_a_column() -> None:
    """(1, 8) for (8, 1) has one order only, and is reshaped with a warning."""
    w, x = random(1, 8), random(2, 8)
    model = model_of(L.Dense(1, use_bias=False, name="d"), 8)
    with pytest.warns(initreg.ReshapeWarning):
        SmartInit({"d/kernel": w}).init(model)
    np.testing.assert_allclose(np.asarray(model(x)), linear(x, w), rtol=1e-4, atol=1e-5)
