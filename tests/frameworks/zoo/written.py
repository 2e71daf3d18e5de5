"""Models of transformers that neither keras.applications nor keras-hub has, written with the layers
of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import transformers as hf
from keras import layers, ops
from keras_hub.src.models.clip.clip_text_encoder import CLIPTextEncoder

from tests.frameworks.zoo.encoders import SIZES
from tests.frameworks.zoo.pairs import IDS, Pair, channels_first, images, tensor


def clip_text() -> Pair:
    config = hf.CLIPTextConfig(**SIZES, layer_norm_eps=1e-5, eos_token_id=49, pad_token_id=1)
    theirs = hf.CLIPTextModel(config)
    ours = CLIPTextEncoder(50, 32, 32, 3, 4, 64, max_sequence_length=24)
    return Pair(
        theirs,
        ours,
        lambda: theirs(tensor(IDS)).last_hidden_state,
        lambda: ours({"token_ids": IDS}),
    )


# --- ConvNeXt V2 ----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("initreg")
class GlobalResponse(layers.Layer):
    """Global response normalization: each channel by its part of the norms of all of them."""

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(shape[-1],), initializer="zeros")
        self.beta = self.add_weight(name="beta", shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        norms = ops.sqrt(ops.sum(ops.square(x), (1, 2), keepdims=True))
        part = norms / (ops.mean(norms, -1, keepdims=True) + 1e-6)
        return self.gamma * (x * part) + self.beta + x


def convnext_v2() -> Pair:
    widths, depths = (8, 16), (1, 2)
    config = hf.ConvNextV2Config(
        hidden_sizes=list(widths), depths=list(depths), num_stages=2, num_labels=5
    )
    theirs = hf.ConvNextV2ForImageClassification(config)

    def norm(x: Any, name: str, epsilon: float = 1e-6) -> Any:
        return layers.LayerNormalization(epsilon=epsilon, name=name)(x)

    given = keras.Input((32, 32, 3))
    x = norm(layers.Conv2D(8, 4, 4, name="stem_conv")(given), "stem_norm")
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            x = norm(x, f"stage_{stage}_downsample_norm")
            x = layers.Conv2D(width, 2, 2, name=f"stage_{stage}_downsample_conv")(x)
        for at in range(depth):
            block = f"stage_{stage}_block_{at}"
            y = layers.DepthwiseConv2D(7, padding="same", name=f"{block}_depthwise")(x)
            y = norm(y, f"{block}_norm")
            y = layers.Dense(4 * width, "gelu", name=f"{block}_pointwise_1")(y)
            y = GlobalResponse(name=f"{block}_grn")(y)
            x = x + layers.Dense(width, name=f"{block}_pointwise_2")(y)
    x = norm(layers.GlobalAveragePooling2D()(x), "head_norm", 1e-12)
    ours = keras.Model(given, layers.Dense(5, name="head")(x))
    x = images(32)
    return Pair(theirs, ours, lambda: theirs(channels_first(x)).logits, lambda: ours(x))


# --- RegNet ---------------------------------------------------------------------------------------


def regnet() -> Pair:
    """RegNet Y: with squeezing and excitation."""
    config = hf.RegNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2], groups_width=8, hidden_act="relu"
    )
    theirs = hf.RegNetModel(config)

    def conv(x: Any, width: int, size: int, name: str, stride: int = 1, groups: int = 1) -> Any:
        if size > 1:
            x = layers.ZeroPadding2D(size // 2)(x)
        y = layers.Conv2D(width, size, stride, groups=groups, use_bias=False, name=f"{name}_conv")(
            x
        )
        return layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(y)

    given = keras.Input((32, 32, 3))
    x = ops.relu(conv(given, 16, 3, "stem", 2))
    for stage, (before, width, depth) in enumerate(((16, 16, 1), (16, 32, 2))):
        for at in range(depth):
            block = f"stage_{stage}_block_{at}"
            stride = 1 if at else 2
            inner = before if not at else width
            y = ops.relu(conv(x, width, 1, f"{block}_1"))
            y = ops.relu(conv(y, width, 3, f"{block}_2", stride, width // 8))
            s = layers.GlobalAveragePooling2D(keepdims=True)(y)
            s = layers.Conv2D(round(inner / 4), 1, activation="relu", name=f"{block}_se_1")(s)
            y = y * layers.Conv2D(width, 1, activation="sigmoid", name=f"{block}_se_2")(s)
            y = conv(y, width, 1, f"{block}_3")
            x = x if at else conv(x, width, 1, f"{block}_shortcut", stride)
            x = ops.relu(x + y)
    ours = keras.Model(given, x)
    x = images(32)
    return Pair(
        theirs,
        ours,
        lambda: theirs(channels_first(x)).last_hidden_state.permute(0, 2, 3, 1),
        lambda: ours(x, training=False),
    )


# --- MPNet ----------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("initreg")
class Embeddings(layers.Layer):
    """Words and positions, of which the first two are for padding."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.words = layers.Embedding(50, 32, name="word_embeddings")
        self.positions = layers.Embedding(26, 32, name="position_embeddings")
        self.norm = layers.LayerNormalization(epsilon=1e-12, name="norm")

    def build(self, shape: Any) -> None:
        self.words.build(shape)
        self.positions.build(shape)
        self.norm.build((*shape, 32))

    def call(self, x: Any) -> Any:
        return self.norm(self.words(x) + self.positions(ops.arange(x.shape[1]) + 2))


@keras.saving.register_keras_serializable("initreg")
class BiasedAttention(layers.Layer):
    """Attention to which a bias for each head and distance is added."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for name in ("query", "key", "value", "output"):
            setattr(self, f"{name}_dense", layers.Dense(32, name=name))

    def build(self, shape: Any) -> None:
        for name in ("query", "key", "value", "output"):
            getattr(self, f"{name}_dense").build(shape)

    def call(self, x: Any, bias: Any) -> Any:
        def heads(layer: Any) -> Any:
            return ops.reshape(layer(x), (-1, x.shape[1], 4, 8))

        query, key = heads(self.query_dense), heads(self.key_dense)
        scores = ops.einsum("bqhs,bkhs->bhqk", query, key) / 8**0.5 + bias
        mixed = ops.einsum("bhqk,bkhs->bqhs", ops.softmax(scores), heads(self.value_dense))
        return self.output_dense(ops.reshape(mixed, (-1, x.shape[1], 32)))


@keras.saving.register_keras_serializable("initreg")
class Distances(layers.Layer):
    """The bias for each head and distance. Short distances have a bucket each."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.table = layers.Embedding(32, 4, name="relative_attention_bias")

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        at = np.arange(x.shape[1])
        distance = at[:, None] - at[None]
        buckets = np.where(distance < 0, 16 - distance, distance)
        return ops.transpose(self.table(buckets), (2, 0, 1))[None]


def mpnet() -> Pair:
    config = hf.MPNetConfig(**{**SIZES, "max_position_embeddings": 26})
    theirs = hf.MPNetModel(config, add_pooling_layer=False)
    tokens = keras.Input((IDS.shape[1],), dtype="int32")
    x = Embeddings(name="embeddings")(tokens)
    bias = Distances(name="distances")(x)
    for at in range(3):
        block = f"layer_{at}"
        y = BiasedAttention(name=f"{block}_attention")(x, bias)
        x = layers.LayerNormalization(epsilon=1e-12, name=f"{block}_attention_norm")(x + y)
        y = layers.Dense(64, "gelu", name=f"{block}_intermediate")(x)
        y = layers.Dense(32, name=f"{block}_output")(y)
        x = layers.LayerNormalization(epsilon=1e-12, name=f"{block}_output_norm")(x + y)
    ours = keras.Model(tokens, x)
    return Pair(theirs, ours, lambda: theirs(tensor(IDS)).last_hidden_state, lambda: ours(IDS))
