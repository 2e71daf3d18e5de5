"""What the weights of Keras layers are: kinds, roles, and what each axis stands for."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from keras_specs import specs

from initreg_targets.keras_layers import axes_of

pytestmark = pytest.mark.framework


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    found = importlib.import_module(request.param)
    found.backend.clear_session()
    return found


def axes(K: Any, layer: Any, *shape: int) -> dict[str, tuple[str, ...]]:
    """The axes of each weight of a layer, by its role."""
    inputs = K.Input(shape)
    found = specs(K.Model(inputs, layer(inputs))).values()
    return {spec.role: spec.axes for spec in found}


W = "window"


@pytest.mark.parametrize(
    ("kind", "options", "shape", "kernel"),
    [
        ("Dense", {"units": 3}, (4,), ("in", "out")),
        ("Dense", {"units": 4}, (5, 4), ("in", "out")),
        ("Conv1D", {"filters": 3, "kernel_size": 3}, (3, 3), (W, "in", "out")),
        ("Conv2D", {"filters": 3, "kernel_size": 3}, (3, 3, 3), (W, W, "in", "out")),
        ("Conv3D", {"filters": 3, "kernel_size": 3}, (3, 3, 3, 3), (W, W, W, "in", "out")),
        ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 3}, (3, 3, 3), (W, W, "in", "out")),
        ("Conv1DTranspose", {"filters": 3, "kernel_size": 3}, (3, 3), (W, "out", "in")),
        ("Conv2DTranspose", {"filters": 3, "kernel_size": 3}, (3, 3, 3), (W, W, "out", "in")),
        ("Conv3DTranspose", {"filters": 2, "kernel_size": 1}, (2, 2, 2, 2), (W, W, W, "out", "in")),
    ],
)
def test_a_kernel_and_a_bias(
    K: Any, kind: str, options: dict[str, Any], shape: tuple[int, ...], kernel: tuple[str, ...]
) -> None:
    """The order of the axes is the layer's, for square kernels too."""
    layer = getattr(K.layers, kind)(**options)
    assert axes(K, layer, *shape) == {"kernel": kernel, "bias": ("out",)}


@pytest.mark.parametrize("multiplier", [1, 3])
def test_a_depthwise_kernel(K: Any, multiplier: int) -> None:
    """Channels come before multipliers. Keras 3 calls it the kernel, tf_keras the depthwise one."""
    role = "kernel" if K.__name__ == "keras" else "depthwise_kernel"
    for dimensions in (1, 2):
        layer = getattr(K.layers, f"DepthwiseConv{dimensions}D")(3, depth_multiplier=multiplier)
        kernel = (*(W,) * dimensions, "channels", "multiplier")
        assert axes(K, layer, *(3,) * (dimensions + 1)) == {role: kernel, "bias": ("out",)}


def test_a_separable_convolution_has_two_kernels(K: Any) -> None:
    """One of each kind, in one layer."""
    layer = K.layers.SeparableConv2D(4, 3, depth_multiplier=2)
    assert axes(K, layer, 5, 5, 4) == {
        "depthwise_kernel": (W, W, "channels", "multiplier"),
        "pointwise_kernel": (W, W, "in", "out"),
        "bias": ("out",),
    }


def test_an_embedding(K: Any) -> None:
    """Its table has the role of a kernel."""
    assert axes(K, K.layers.Embedding(4, 4), 3) == {"kernel": ("tokens", "width")}


def test_norms(K: Any) -> None:
    """Statistics have the same roles in all of them."""
    affine = {"gamma": ("out",), "beta": ("out",)}
    statistics = {"mean": ("out",), "variance": ("out",)}
    assert axes(K, K.layers.BatchNormalization(), 4) == affine | statistics
    assert axes(K, K.layers.LayerNormalization(), 4) == affine
    assert axes(K, K.layers.GroupNormalization(2), 3, 4) == affine


@pytest.mark.parametrize(
    ("equation", "output", "bias_axes", "kernel", "bias"),
    [
        ("abc,cd->abd", (5, 3), "d", ("in", "out"), ("out",)),
        ("abc,dc->abd", (5, 3), "d", ("out", "in"), ("out",)),
        ("abc,cde->abde", (5, 2, 3), "de", ("in", "out", "out"), ("out", "out")),
        ("abc,bcd->ad", (3,), "d", ("in", "in", "out"), ("out",)),
        ("abc,bcd->abd", (5, 3), "d", (), ("out",)),  # a kernel for each step
    ],
)
def test_the_equation_says_what_an_axis_is(
    K: Any,
    equation: str,
    output: tuple[int, ...],
    bias_axes: str,
    kernel: tuple[str, ...],
    bias: tuple[str, ...],
) -> None:
    """What is summed over comes in, what is left goes out."""
    layer = K.layers.EinsumDense(equation, output_shape=output, bias_axes=bias_axes)
    assert axes(K, layer, 5, 4) == {"kernel": kernel, "bias": bias}


@pytest.mark.parametrize("equation", ["...c,cd->...d", " abc , cd -> abd "])
def test_equations_in_other_spellings(equation: str) -> None:
    """Dots and blanks change nothing."""
    layer = type("Layer", (), {"equation": equation})()
    assert axes_of(layer, "EinsumDense", "kernel", 2) == ("in", "out")


def test_attention(K: Any) -> None:
    """Each of its projections is a layer of its own, with heads as axes."""
    inputs = K.Input((5, 8))
    found = specs(K.Model(inputs, K.layers.MultiHeadAttention(2, 4, name="mha")(inputs, inputs)))
    into = (("in", "out", "out"), ("out", "out"))
    expected = {f"mha/{name}": into for name in ("query", "key", "value")}
    expected["mha/attention_output"] = (("in", "in", "out"), ("out",))
    for path, (kernel, bias) in expected.items():
        roles = {spec.role: spec.axes for spec in found.values() if spec.name == path}
        assert roles == {"kernel": kernel, "bias": bias}
    assert {spec.kind for spec in found.values()} == {"EinsumDense"}
    assert {spec.inside for spec in found.values()} == {"mha"}


@pytest.mark.parametrize(
    ("kind", "bias"), [("LSTM", ("out",)), ("GRU", ()), ("SimpleRNN", ("out",))]
)
def test_cells(K: Any, kind: str, bias: tuple[str, ...]) -> None:
    """The weights are those of the cell. GRU has two rows of biases."""
    inputs = K.Input((5, 4))
    found = specs(K.Model(inputs, getattr(K.layers, kind)(4, name="rnn")(inputs)))
    assert {spec.role: spec.axes for spec in found.values()} == {
        "kernel": ("in", "gates"),
        "recurrent_kernel": ("in", "gates"),
        "bias": bias,
    }
    assert {spec.kind for spec in found.values()} == {f"{kind}Cell"}
    assert {spec.inside for spec in found.values()} == {"rnn"}


def test_a_gru_that_resets_first(K: Any) -> None:
    """Its weights are those of another computation."""
    inputs = K.Input((5, 4))
    for reset_after, last in ((True, "gates"), (False, "gates_reset_first")):
        layer = K.layers.GRU(4, reset_after=reset_after, use_bias=False)
        found = specs(K.Model(inputs, layer(inputs)))
        assert {spec.axes for spec in found.values()} == {("in", last)}


def test_both_directions_are_two_cells(K: Any) -> None:
    """Forward comes first, whatever the order of the variables."""
    inputs = K.Input((5, 4))
    model = K.Model(inputs, K.layers.Bidirectional(K.layers.LSTM(4), name="bi")(inputs))
    found = {spec.name: spec.order for spec in specs(model).values()}
    assert found == {"bi/forward_lstm/lstm_cell": 0, "bi/backward_lstm/lstm_cell": 1}


def test_a_class_of_ones_own(K: Any) -> None:
    """It is of the kind of Keras that it comes from. Roles of other weights are their names."""

    class Mine(K.layers.Dense):  # type: ignore[misc]
        pass

    class Odd(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(4, 4), name="odd_weight")

        def call(self, x: Any) -> Any:
            return x * 1.0

    inputs = K.Input((4,))
    model = K.Model(inputs, Odd(name="odd")(Mine(4, use_bias=False, name="mine")(inputs)))
    found = {s.name: (s.kind, s.role, s.axes) for s in specs(model).values()}
    assert found == {
        "mine": ("Dense", "kernel", ("in", "out")),
        "odd": ("Odd", "odd_weight", ()),
    }
