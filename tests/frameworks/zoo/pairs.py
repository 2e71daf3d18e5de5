"""What an architecture of the zoo is, and how it gets its random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Pair:
    """The same model in both frameworks, and what each computes of the same input.

    Args:
        theirs: the model of PyTorch.
        ours: the model of Keras.
        expected: computes the output of ``theirs``.
        computed: computes the output of ``ours``.
    """

    theirs: torch.nn.Module
    ours: keras.Model
    expected: Callable[[], Any]
    computed: Callable[[], Any]


@dataclass(frozen=True)
class Architecture:
    """A row of the table in docs/from-pytorch.md.

    Args:
        name: the architecture.
        source: the class of PyTorch.
        target: the class of Keras.
        make: makes both.
        left: why some variables are left, "" if none are.
        fill: fills what is left by hand: the arrays of the source, and the variables by path. The
            outputs are compared after that, so what is mapped is right.
        unused: the arrays that no variable takes, which the user drops.
        converter: whether keras-hub loads such a folder itself, for a comparison of the values.
    """

    name: str
    source: str
    target: str
    make: Callable[[], Pair]
    left: str = ""
    fill: Callable[[Arrays, Mapping[str, Any]], None] | None = None
    unused: tuple[str, ...] = ()
    converter: bool = False

    @property
    def test_id(self) -> str:
        return f"{self.name} ({self.source})"


def randomize(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights and statistics, none of them 0 or 1, of which no layer drowns the others."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1 / math.sqrt(math.prod(parameter.shape[1:])))
            elif name.endswith("weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(std=0.2)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.2)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return module.eval()


IDS = np.array([[5, 7, 9, 11, 2, 3], [4, 4, 8, 3, 12, 6]])
TOKENS = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}
SEGMENTS = {**TOKENS, "segment_ids": np.zeros_like(IDS)}


def seq2seq() -> dict[str, np.ndarray]:
    """The inputs of an encoder and a decoder in keras-hub."""
    return {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in TOKENS.items()}


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


def images(size: int, count: int = 2) -> np.ndarray:
    """Random images, with the channels last."""
    return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype("float32")


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())
