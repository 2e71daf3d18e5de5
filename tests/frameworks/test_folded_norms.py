"""Layers with a batch norm behind them, of PyTorch and of Keras, into layers without one."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from initreg import SmartInit

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 6, 6, 3)).astype("f4")


def trained(norm: torch.nn.Module) -> torch.nn.Module:
    """With numbers in it that are neither 0 nor 1."""
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.1, 2)
    return norm


@pytest.mark.parametrize("bias", [True, False])
def test_torch_convolutions_into_keras(bias: bool, tmp_path: Path) -> None:
    """Two convolutions of PyTorch, each with its norm, are two of Keras that compute the same."""
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, bias=bias),
        trained(torch.nn.BatchNorm2d(5)),
        torch.nn.ReLU(),
        torch.nn.Conv2d(5, 5, 3, bias=bias),
        trained(torch.nn.BatchNorm2d(5, eps=1e-2)),
    ).eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    rules = tmp_path / "rules.toml"
    rules.write_text("""
        [[step]]
        drop = "*.num_batches_tracked"
        [step.fold_batch_norm]
        "0.weight" = [0, 1e-5, "0.bias", "1.running_mean", "1.running_var", "1.weight", "1.bias"]
        "3.weight" = [0, 1e-2, "3.bias", "4.running_mean", "4.running_var", "4.weight", "4.bias"]
        [[step]]
        rename = [['^0\\.', "a/"], ['^3\\.', "b/"], ['weight$', "kernel"]]
        permute = { "*kernel" = [2, 3, 1, 0] }
    """)
    layers = [
        keras.layers.Conv2D(5, 3, activation="relu", name="a"),
        keras.layers.Conv2D(5, 3, name="b"),
    ]
    ours = keras.Sequential([keras.Input((6, 6, 3)), *layers])
    SmartInit(tmp_path / "model.pt", rules=rules, on_missing="error", on_unused="error").init(ours)
    expected = theirs(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(np.asarray(ours(IMAGES)), expected.transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (lambda **more: keras.layers.Conv2D(4, 3, name="layer", **more), 3),
        (lambda **more: keras.layers.DepthwiseConv2D(3, name="layer", **more), 2),
        (lambda **more: keras.layers.Conv2DTranspose(4, 3, name="layer", **more), 2),
        (lambda **more: keras.layers.Dense(3, name="layer", **more), 1),
    ],
    ids=["conv", "depthwise", "transposed", "dense and square"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_keras_layers_without_their_norms(layer, axis: int, bias: bool) -> None:
    """The same model without norms computes the same. The axis is that of the layer's outputs."""
    before = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layer(use_bias=bias),
            keras.layers.BatchNormalization(epsilon=1e-2, name="norm"),
        ],
        name="model",
    )
    for variable in before.weights:
        variable.assign(RNG.uniform(0.5, 2, variable.shape))
    arrays = {v.path: np.asarray(v) for v in before.weights}
    after = keras.Sequential([keras.Input((6, 6, 3)), layer()], name="model")
    fold = {
        "model/layer/kernel": {
            "axis": axis,
            "epsilon": 1e-2,
            "bias": "model/layer/bias",
            "mean": "model/norm/moving_mean",
            "variance": "model/norm/moving_variance",
            "gamma": "model/norm/gamma",
            "beta": "model/norm/beta",
        }
    }
    SmartInit(arrays, fold_batch_norm=fold, on_missing="error", on_unused="error").init(after)
    np.testing.assert_allclose(
        np.asarray(after(IMAGES)), np.asarray(before(IMAGES)), rtol=1e-4, atol=1e-4
    )
