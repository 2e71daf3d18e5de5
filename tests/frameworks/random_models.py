"""The same random model in torch and in Keras, with names as people give them.

A model is a list of operations. :func:`torch_model` and :func:`keras_model` build it, each with
names of its own style. Widths are drawn from few numbers, so that many kernels are square and many
layers have the same shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

WIDTHS = (4, 6, 8)
EPSILON = 1e-5


@dataclass(frozen=True)
class Op:
    """One operation: its kind, its width, and those of its branches."""

    kind: str
    width: int = 0
    window: int = 3
    inner: tuple[Op, ...] = ()
    shortcut: bool = False


@dataclass(frozen=True)
class Architecture:
    """A random model, and how its layers are called on each side.

    Args:
        domain: what comes in: ``"vector"``, ``"image"``, ``"sequence"`` or ``"tokens"``.
        width: how many channels come in.
        ops: the operations.
        torch_names: ``"numbers"`` or ``"words"``.
        keras_names: ``"none"``, ``"same"`` or ``"blocks"``.
        shortcut_first: whether torch's modules hold the shortcut before the other layers.
    """

    domain: str
    width: int
    ops: tuple[Op, ...] = field(default_factory=tuple)
    torch_names: str = "words"
    keras_names: str = "none"
    shortcut_first: bool = False


widths = st.sampled_from(WIDTHS)
vector_ops = st.one_of(
    st.builds(Op, st.just("dense"), widths),
    st.builds(Op, st.just("layer_norm")),
    st.builds(Op, st.just("batch_norm")),
)
image_ops = st.one_of(
    st.builds(Op, st.just("conv"), widths, st.sampled_from((1, 3))),
    st.builds(Op, st.just("depthwise"), st.just(0), st.just(3)),
    st.builds(Op, st.just("transposed"), widths, st.just(2)),
    st.builds(Op, st.just("batch_norm")),
)
sequence_ops = st.one_of(
    st.builds(Op, st.just("dense"), widths),
    st.builds(Op, st.just("layer_norm")),
    st.builds(Op, st.just("attention")),
    st.builds(Op, st.sampled_from(("lstm", "gru")), widths),
    st.builds(Op, st.just("conv1d"), widths, st.just(3)),
)


def _residuals(ops: st.SearchStrategy[Op], shortcut: str) -> st.SearchStrategy[Op]:
    inner = st.lists(ops, min_size=1, max_size=3).map(tuple)
    blocks = st.builds(Op, st.just("residual"), widths, st.just(1), inner, st.booleans())
    return st.one_of(ops, ops, blocks)


@st.composite
def architectures(draw: Any) -> Architecture:
    """A random architecture of up to ten operations."""
    domain = draw(st.sampled_from(("vector", "image", "sequence", "tokens")))
    ops = {"vector": vector_ops, "image": image_ops}.get(domain, sequence_ops)
    shortcut = "conv" if domain == "image" else "dense"
    found = list(draw(st.lists(_residuals(ops, shortcut), min_size=2, max_size=8)))
    if domain == "image":
        found.append(Op(draw(st.sampled_from(("flatten", "pool")))))
        found.append(Op("dense", draw(widths)))
    return Architecture(
        domain,
        draw(widths),
        tuple(found),
        draw(st.sampled_from(("numbers", "words"))),
        draw(st.sampled_from(("none", "same", "blocks"))),
        draw(st.booleans()),
    )


SIZE = 6  # of images and sequences
TOKENS = 11


def inputs(made: Architecture, seed: int = 0) -> np.ndarray:
    """What goes into the model, as Keras takes it."""
    random = np.random.default_rng(seed)
    if made.domain == "tokens":
        return random.integers(0, TOKENS, (2, SIZE)).astype("int32")
    shape = {"vector": (), "image": (SIZE, SIZE), "sequence": (SIZE,)}[made.domain]
    return random.normal(size=(2, *shape, made.width)).astype("float32")


# --- torch ----------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """The output of an LSTM or a GRU at each step, without its state."""

    def __init__(self, kind: str, width: int, units: int) -> None:
        super().__init__()
        self.rnn = (nn.LSTM if kind == "lstm" else nn.GRU)(width, units, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.rnn(x)[0]


class Attention(nn.Module):
    """Self-attention with two heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.attn(x, x, x, need_weights=False)[0]


class Swapped(nn.Module):
    """A module that wants the channels first, for values that have them last."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x.movedim(-1, 1)).movedim(1, -1)


class Residual(nn.Module):
    """The sum of a sequence of modules and of a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, shortcut_first: bool) -> None:
        super().__init__()
        if shortcut_first:
            self.shortcut = shortcut
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        return self.body(x) + self.shortcut(x)


class _Torch:
    def __init__(self, made: Architecture) -> None:
        self.made = made
        self.is_image = made.domain == "image"

    def module(self, op: Op, width: int) -> tuple[nn.Module, int]:
        image = self.is_image
        if op.kind == "dense":
            return nn.Linear(width, op.width), op.width
        if op.kind == "layer_norm":
            return nn.LayerNorm(width, eps=EPSILON), width
        if op.kind == "batch_norm":
            return (nn.BatchNorm2d if image else nn.BatchNorm1d)(width, eps=EPSILON), width
        if op.kind == "conv":
            return nn.Conv2d(width, op.width, op.window, padding="same"), op.width
        if op.kind == "conv1d":
            return Swapped(nn.Conv1d(width, op.width, op.window, padding="same")), op.width
        if op.kind == "depthwise":
            return nn.Conv2d(width, width, op.window, padding="same", groups=width), width
        if op.kind == "transposed":
            return nn.ConvTranspose2d(width, op.width, 1), op.width
        if op.kind == "attention":
            return Attention(width), width
        if op.kind in ("lstm", "gru"):
            return Recurrent(op.kind, width, op.width), op.width
        if op.kind == "flatten":
            return nn.Flatten(), width * SIZE * SIZE
        if op.kind == "pool":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), width
        body, out = self.sequence(op.inner, width)
        if not op.shortcut and out == width:
            return Residual(body, nn.Identity(), False), width
        kind = "conv" if image else "dense"
        shortcut, _ = self.module(Op(kind, out, 1), width)
        return Residual(body, shortcut, self.made.shortcut_first), out

    def sequence(self, ops: tuple[Op, ...], width: int) -> tuple[nn.Module, int]:
        modules: dict[str, nn.Module] = {}
        counts: dict[str, int] = {}
        for op in ops:
            counts[op.kind] = counts.get(op.kind, 0) + 1
            words = f"{op.kind}{counts[op.kind]}"
            name = words if self.made.torch_names == "words" else str(len(modules))
            modules[name], width = self.module(op, width)
        made = nn.Sequential()
        for name, module in modules.items():
            made.add_module(name, module)
        return made, width


def torch_model(made: Architecture, seed: int = 0) -> nn.Module:
    """The model in torch, with random weights and statistics."""
    torch.manual_seed(seed)
    body, _ = _Torch(made).sequence(made.ops, made.width)
    if made.domain == "tokens":
        model: nn.Module = nn.Sequential()
        model.add_module("embedding", nn.Embedding(TOKENS, made.width))
        model.add_module("body", body)
    else:
        model = body
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer)
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2.0)
    return model.eval()


def torch_output(made: Architecture, model: nn.Module, x: np.ndarray) -> np.ndarray:
    """What the model computes, with the channels last."""
    value = torch.from_numpy(np.moveaxis(x, -1, 1).copy() if made.domain == "image" else x)
    with torch.no_grad():
        return model(value.long() if made.domain == "tokens" else value).numpy()


# --- Keras ----------------------------------------------------------------------------------------


class _Keras:
    def __init__(self, made: Architecture) -> None:
        self.made = made
        self.counts: dict[str, int] = {}

    def name(self, op: Op, path: str) -> str | None:
        style = self.made.keras_names
        if style == "none":
            return None
        if style == "same":
            return path.replace(".", "_")
        self.counts[op.kind] = self.counts.get(op.kind, 0) + 1
        return f"{op.kind}_{self.counts[op.kind]}_{op.kind}"

    def apply(self, op: Op, x: Any, path: str) -> Any:
        layers = keras.layers
        if op.kind == "flatten":
            return layers.Flatten()(x)
        if op.kind == "pool":
            return layers.GlobalAveragePooling2D()(x)
        if op.kind == "residual":
            body = self.sequence(op.inner, x, f"{path}.body")
            out = body.shape[-1]
            if op.shortcut or out != x.shape[-1]:
                kind = "conv" if self.made.domain == "image" else "dense"
                x = self.apply(Op(kind, out, 1), x, f"{path}.shortcut")
            return layers.Add()([body, x])
        name = self.name(op, path)
        if op.kind == "dense":
            return layers.Dense(op.width, name=name)(x)
        if op.kind == "layer_norm":
            return layers.LayerNormalization(epsilon=EPSILON, name=name)(x)
        if op.kind == "batch_norm":
            return layers.BatchNormalization(epsilon=EPSILON, name=name)(x)
        if op.kind == "conv":
            return layers.Conv2D(op.width, op.window, padding="same", name=name)(x)
        if op.kind == "conv1d":
            return layers.Conv1D(op.width, op.window, padding="same", name=name)(x)
        if op.kind == "depthwise":
            return layers.DepthwiseConv2D(op.window, padding="same", name=name)(x)
        if op.kind == "transposed":
            return layers.Conv2DTranspose(op.width, 1, name=name)(x)
        if op.kind == "attention":
            return layers.MultiHeadAttention(2, x.shape[-1] // 2, name=name)(x, x)
        kind = layers.LSTM if op.kind == "lstm" else layers.GRU
        return kind(op.width, return_sequences=True, name=name)(x)

    def sequence(self, ops: tuple[Op, ...], x: Any, path: str) -> Any:
        counts: dict[str, int] = {}
        for number, op in enumerate(ops):
            counts[op.kind] = counts.get(op.kind, 0) + 1
            words = f"{op.kind}{counts[op.kind]}"
            part = words if self.made.torch_names == "words" else f"layer{number}"
            x = self.apply(op, x, f"{path}.{part}" if path else part)
        return x


def keras_model(made: Architecture) -> Any:
    """The model in Keras, with other random weights."""
    keras.backend.clear_session()
    x = inputs(made)
    given = keras.Input(x.shape[1:], dtype="int32" if made.domain == "tokens" else "float32")
    value = given
    if made.domain == "tokens":
        named = made.keras_names != "none"
        value = keras.layers.Embedding(
            TOKENS, made.width, name="embedding_table" if named else None
        )(value)
    return keras.Model(given, _Keras(made).sequence(made.ops, value, ""))
