"""Models of Keras into those of PyTorch and Flax: the same sources and rules, other targets."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import keras
import numpy as np
import torch
from initreg_jax import Tree

import initreg
from initreg import SmartInit

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 6, 6, 3)).astype("f4")
STRICT = {"on_missing": "error", "on_unused": "error"}


def keras_model(path: Path) -> keras.Model:
    """A convolution, a norm, pooling and a dense layer, with random numbers."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.BatchNormalization(epsilon=1e-5, name="norm"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="fc"),
        ],
        name="net",
    )
    for variable in model.weights:
        variable.assign(RNG.uniform(0.5, 2, variable.shape))
    initreg.save(path, {v.path: np.asarray(v) for v in model.weights})
    return model


def test_keras_into_torch(tmp_path: Path) -> None:
    """Square kernels among them. The file of rules is used in reverse, so it is that for Keras."""
    theirs = keras_model(tmp_path / "net.npz")
    ours = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 3),
        torch.nn.BatchNorm2d(3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(3, 3),
    ).eval()
    rules = tmp_path / "rules.toml"
    rules.write_text("""
        [rename]
        "0.weight" = "net/conv/kernel"
        "0.bias" = "net/conv/bias"
        "1.weight" = "net/norm/gamma"
        "1.bias" = "net/norm/beta"
        "1.running_mean" = "net/norm/moving_mean"
        "1.running_var" = "net/norm/moving_variance"
        "4.weight" = "net/fc/kernel"
        "4.bias" = "net/fc/bias"
        [permute]
        "net/conv/kernel" = [2, 3, 1, 0]
        "net/fc/kernel" = [1, 0]
    """)
    back = tmp_path / "back.toml"
    back.write_text(initreg.rules_text(rules=rules, reverse=True))
    expected_missing = "*.num_batches_tracked"
    SmartInit(tmp_path / "net.npz", rules=back, expect_missing=expected_missing, **STRICT).init(
        ours
    )
    found = ours(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(found, np.asarray(theirs(IMAGES)), rtol=1e-4, atol=1e-4)
    # And back: the module's state dict is a source for Keras by the file as it is.
    torch.save(ours.state_dict(), tmp_path / "ours.pt")
    again = keras_model(tmp_path / "other.npz")
    SmartInit(tmp_path / "ours.pt", rules=rules, expect_unused=expected_missing, **STRICT).init(
        again
    )
    for one, other in zip(again.weights, theirs.weights, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_what_a_module_of_torch_flattens_is_left_open(tmp_path: Path) -> None:
    """The module does not know its order. With three lines added it computes the same."""
    theirs = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    source = initreg.save(tmp_path / "net.npz", theirs)
    ours = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 5))
    found = initreg.map(source, ours)
    (question,) = found.open
    assert question.variables == ("2.weight",)
    assert "16 for each of the 4 channels" in question.why
    (dense,) = question.arrays
    rules = tmp_path / "rules.toml"
    rules.write_text(f"""
        [[step]]
        [step.reshape]
        "{dense}" = [4, 4, 4, 5]
        [[step]]
        [step.permute]
        "{dense}" = [3, 2, 0, 1]
        [[step]]
        [step.reshape]
        "{dense}" = [5, 64]
        [[step]]
        [step.rename]
        "{dense}" = "2.weight"
        {found.to_text()}
    """)
    SmartInit(source, rules=rules, **STRICT).init(ours)
    made = ours(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(made, np.asarray(theirs(IMAGES)), rtol=1e-4, atol=1e-4)


def test_keras_into_flax(tmp_path: Path) -> None:
    """Both have the channels last, so that names are all that differs."""
    theirs = keras_model(tmp_path / "net.npz")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(3, (3, 3), padding="VALID", name="conv")(x)
            x = nn.BatchNorm(use_running_average=True, name="norm")(x)
            return nn.Dense(3, name="fc")(x.mean((1, 2)))

    tree = Tree(jax.eval_shape(Net().init, jax.random.key(0), IMAGES))
    rename = [
        ("^net/(norm)/moving_mean$", r"batch_stats/\1/mean"),
        ("^net/(norm)/moving_variance$", r"batch_stats/\1/var"),
        ("^net/", "params/"),
        ("gamma$", "scale"),
        ("beta$", "bias"),
    ]
    SmartInit(tmp_path / "net.npz", rename=rename, **STRICT).init(tree)
    found = Net().apply(tree.value, IMAGES)
    np.testing.assert_allclose(found, np.asarray(theirs(IMAGES)), rtol=1e-4, atol=1e-4)
