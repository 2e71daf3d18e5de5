"""Models of PyTorch's own layers, and the same of the layers of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from keras import layers
from torch import nn

from tests.frameworks.zoo.pairs import Pair, tensor

TOKENS = np.random.default_rng(0).integers(0, 20, (2, 7))


class Tagger(nn.Module):
    """A label for each word."""

    def __init__(self, kind: str, depth: int, both: bool) -> None:
        super().__init__()
        self.emb = nn.Embedding(20, 6)
        self.rnn = getattr(nn, kind)(6, 5, depth, bidirectional=both, batch_first=True)
        self.fc = nn.Linear(10 if both else 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(self.emb(x))[0])


def _tagger(kind: str, depth: int, both: bool) -> Pair:
    theirs = Tagger(kind, depth, both)
    given = keras.Input((7,), dtype="int32")
    y = layers.Embedding(20, 6)(given)
    make = layers.SimpleRNN if kind == "RNN" else getattr(layers, kind)
    for _ in range(depth):
        layer = make(5, return_sequences=True)
        y = (layers.Bidirectional(layer) if both else layer)(y)
    ours = keras.Model(given, layers.Dense(3)(y))
    return Pair(theirs, ours, lambda: theirs(tensor(TOKENS)), lambda: ours(TOKENS))


def lstm() -> Pair:
    return _tagger("LSTM", 2, True)


def gru() -> Pair:
    return _tagger("GRU", 2, True)


def rnn() -> Pair:
    return _tagger("RNN", 3, False)


def transformer_encoder() -> Pair:
    """As people write it with MultiHeadAttention."""
    width, heads, inner = 32, 4, 48
    one = nn.TransformerEncoderLayer(width, heads, inner, dropout=0, batch_first=True)
    theirs = nn.TransformerEncoder(one, 3, enable_nested_tensor=False)
    given = keras.Input((5, width))
    y: Any = given
    for at in range(3):
        attention = layers.MultiHeadAttention(heads, width // heads, name=f"block_{at}_attention")
        y = layers.LayerNormalization(epsilon=1e-5, name=f"block_{at}_norm1")(y + attention(y, y))
        z = layers.Dense(inner, "relu", name=f"block_{at}_ffn1")(y)
        z = layers.Dense(width, name=f"block_{at}_ffn2")(z)
        y = layers.LayerNormalization(epsilon=1e-5, name=f"block_{at}_norm2")(y + z)
    ours = keras.Model(given, y)
    x = np.random.default_rng(0).normal(size=(2, 5, width)).astype("float32")
    return Pair(theirs, ours, lambda: theirs(tensor(x)), lambda: ours(x))
