"""Decoders and encoders of transformers, and the same written with the layers of Keras: one has the
queries, keys and values in one array, and the other one has them apart."""

from __future__ import annotations

from typing import Any

import keras
import transformers as hf
from keras import layers, ops

from tests.frameworks.zoo.decoders import SIZES
from tests.frameworks.zoo.pairs import IDS, Pair, channels_first, images, tensor

WIDTH, HEADS, SIZE = 32, 4, 8


def _turned(x: Any) -> Any:
    """Rotary positions for (batch, time, heads, size)."""
    half = x.shape[-1] // 2
    angles = ops.arange(x.shape[1], dtype="float32")[:, None] / ops.power(
        10000.0, ops.arange(half, dtype="float32") / half
    )
    cos, sin = (ops.tile(f(angles), (1, 2))[:, None, :] for f in (ops.cos, ops.sin))
    other = ops.concatenate([-x[..., half:], x[..., :half]], -1)
    return x * cos + other * sin


@keras.saving.register_keras_serializable("initreg")
class Attention(layers.Layer):
    """Causal attention with rotary positions. Groups of heads share a key and a value.

    Args:
        groups: how many keys and values there are.
        bias: whether its layers have biases.
        flat: whether its kernels have two axes, which do not say how many heads there are.
    """

    def __init__(self, groups: int = HEADS, bias: bool = True, flat: bool = False, **more: Any):
        super().__init__(**more)
        self.groups, self.flat = groups, flat

        def make(name: str, heads: int) -> layers.Layer:
            if flat:
                return layers.Dense(heads * SIZE, use_bias=bias, name=name)
            return layers.EinsumDense(
                "btd,dhs->bths", (None, heads, SIZE), bias_axes="hs" if bias else None, name=name
            )

        self.query = make("query", HEADS)
        self.key = make("key", groups)
        self.value = make("value", groups)
        self.out = layers.Dense(WIDTH, use_bias=bias, name="out")

    def build(self, shape: Any) -> None:
        for each in (self.query, self.key, self.value):
            each.build(shape)
        self.out.build((*shape[:-1], HEADS * SIZE))

    def call(self, x: Any) -> Any:
        length = x.shape[1]
        parts = [
            ops.reshape(layer(x), (-1, length, heads, SIZE))
            for layer, heads in ((self.query, HEADS), (self.key, self.groups))
        ]
        query, key = map(_turned, parts)
        value = ops.reshape(self.value(x), (-1, length, self.groups, SIZE))
        key, value = (ops.repeat(each, HEADS // self.groups, 2) for each in (key, value))
        scores = ops.einsum("bqhs,bkhs->bhqk", query, key) / SIZE**0.5
        scores = ops.where(ops.tril(ops.ones((length, length), "bool")), scores, -1e9)
        mixed = ops.einsum("bhqk,bkhs->bqhs", ops.softmax(scores), value)
        return self.out(ops.reshape(mixed, (-1, length, HEADS * SIZE)))


def _decoder(norms: int, epsilon: float = 1e-5, inner: int = 48, **options: Any) -> keras.Model:
    """A decoder whose feed-forward layers are beside the attention.

    Args:
        norms: how many norms a block has: one for both, or one for each.
    """
    tokens = keras.Input((IDS.shape[1],), dtype="int32")
    x = layers.Embedding(50, WIDTH, name="embedding")(tokens)
    bias = options.get("bias", True)
    for at in range(2):
        block = f"block_{at}"

        def norm(x: Any, name: str, block: str = block) -> Any:
            return layers.LayerNormalization(epsilon=epsilon, name=f"{block}_{name}_norm")(x)

        one = norm(x, "attention" if norms == 2 else "input")
        other = norm(x, "feedforward") if norms == 2 else one
        y = layers.Dense(inner, "gelu", use_bias=bias, name=f"{block}_feedforward_up")(other)
        y = layers.Dense(WIDTH, use_bias=bias, name=f"{block}_feedforward_down")(y)
        x = x + Attention(name=f"{block}_attention", **options)(one) + y
    x = layers.LayerNormalization(epsilon=epsilon, name="final_norm")(x)
    return keras.Model(tokens, x)


def _pair(theirs: Any, ours: Any) -> Pair:
    return Pair(theirs, ours, lambda: theirs(tensor(IDS)).last_hidden_state, lambda: ours(IDS))


def gpt_neox(flat: bool = False) -> Pair:
    config = hf.GPTNeoXConfig(
        **{**SIZES, "num_hidden_layers": 2},
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1},
    )
    return _pair(hf.GPTNeoXModel(config), _decoder(2, flat=flat))


def gpt_neox_flat() -> Pair:
    return gpt_neox(True)


def _falcon(**options: Any) -> hf.FalconModel:
    config = hf.FalconConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        alibi=False,
        bias=False,
        ffn_hidden_size=48,
        **options,
    )
    return hf.FalconModel(config)


def falcon_one_key() -> Pair:
    """Falcon 7B: all heads share one key and one value."""
    theirs = _falcon(multi_query=True, new_decoder_architecture=False, parallel_attn=True)
    return _pair(theirs, _decoder(1, groups=1, bias=False))


def falcon_groups() -> Pair:
    """Falcon 40B: two groups of heads."""
    theirs = _falcon(new_decoder_architecture=True, num_kv_heads=2)
    return _pair(theirs, _decoder(2, groups=2, bias=False))


@keras.saving.register_keras_serializable("initreg")
class FusedAttention(layers.Layer):
    """Attention with one kernel for queries, keys and values, as in timm."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.qkv = layers.Dense(3 * WIDTH, name="qkv")
        self.proj = layers.Dense(WIDTH, name="proj")

    def build(self, shape: Any) -> None:
        self.qkv.build(shape)
        self.proj.build(shape)

    def call(self, x: Any) -> Any:
        length = x.shape[1]
        parts = ops.reshape(self.qkv(x), (-1, length, 3, HEADS, SIZE))
        query, key, value = (parts[:, :, at] for at in range(3))
        scores = ops.softmax(ops.einsum("bqhs,bkhs->bhqk", query, key) / SIZE**0.5)
        mixed = ops.einsum("bhqk,bkhs->bqhs", scores, value)
        return self.proj(ops.reshape(mixed, (-1, length, WIDTH)))


@keras.saving.register_keras_serializable("initreg")
class Beginning(layers.Layer):
    """A class token before all others, and positions."""

    def build(self, shape: Any) -> None:
        self.cls_token = self.add_weight(name="cls_token", shape=(1, 1, WIDTH))
        self.positions = self.add_weight(name="pos_embed", shape=(1, shape[1] + 1, WIDTH))

    def call(self, x: Any) -> Any:
        first = ops.repeat(self.cls_token, ops.shape(x)[0], 0)
        return ops.concatenate([first, x], 1) + self.positions


def vit() -> Pair:
    """Three arrays of each block, with their biases, in one kernel and one bias."""
    config = hf.ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    theirs = hf.ViTModel(config, add_pooling_layer=False)
    given = keras.Input((32, 32, 3))
    x = layers.Conv2D(WIDTH, 8, 8, name="patch_embed")(given)
    x = Beginning(name="tokens")(layers.Reshape((16, WIDTH))(x))
    for at in range(3):
        y = layers.LayerNormalization(epsilon=1e-6, name=f"blocks_{at}_norm1")(x)
        x = x + FusedAttention(name=f"blocks_{at}_attn")(y)
        y = layers.LayerNormalization(epsilon=1e-6, name=f"blocks_{at}_norm2")(x)
        y = layers.Dense(64, "gelu", name=f"blocks_{at}_mlp_fc1")(y)
        x = x + layers.Dense(WIDTH, name=f"blocks_{at}_mlp_fc2")(y)
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    ours = keras.Model(given, x)
    x = images(32)
    return Pair(theirs, ours, lambda: theirs(channels_first(x)).last_hidden_state, lambda: ours(x))
