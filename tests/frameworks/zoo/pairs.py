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
        fill: what is left, of the arrays of the source by hand, by the name of the variable. The
            outputs are compared with it, so what is mapped is right.
        unused: the arrays that no variable takes, which the user drops.
        converter: whether keras-hub itself loads a folder of this model, for a comparison.
    """

    name: str
    source: str
    target: str
    make: Callable[[], Pair]
    left: str = ""
    fill: Callable[[Arrays], Arrays] | None = None
    unused: tuple[str, ...] = ()
    converter: bool = False


def randomize(pair: Pair, seed: int = 0) -> None:
    """Random weights and statistics for the model of PyTorch, none of them 0 or 1, with which what
    comes in reaches the output."""
    module = pair.theirs
    torch.manual_seed(seed)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                fan_in = math.prod(parameter.shape[1:])
                parameter.normal_(std=math.sqrt((2 if parameter.ndim == 4 else 1) / fan_in))
            elif name.endswith("weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(std=0.1)
        if norms:  # with statistics that are those of its values
            module.train()
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.momentum = 1.0
            pair.expected()
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    module.eval()


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
