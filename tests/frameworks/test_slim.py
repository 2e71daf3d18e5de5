"""PyTorch into graphs of TensorFlow 1 whose variables are called as slim calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

import initreg
from initreg import SmartInit
from tests.frameworks.zoo.pairs import Pair, images, randomize
from tests.frameworks.zoo.torchvision_like import VGG, ResNet

tf1 = tf.compat.v1
# The functions of a graph are those of TensorFlow 1.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")


class Net:
    """Layers with slim's names: ``conv1/weights``, ``conv1/BatchNorm/gamma``."""

    def variable(self, name: str, shape: list[int]) -> Any:
        return tf1.get_variable(name, shape, initializer=tf1.zeros_initializer())

    def conv(self, x: Any, width: int, window: int, stride: int, scope: str, norm: bool) -> Any:
        with tf1.variable_scope(scope):
            shape = [window, window, x.shape[-1], width]
            if stride > 1 and window > 1:  # slim's conv2d_same
                before, after = (window - 1) // 2, window - 1 - (window - 1) // 2
                x = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
                padding = "VALID"
            else:
                padding = "SAME"
            x = tf.nn.conv2d(x, self.variable("weights", shape), stride, padding)
            if not norm:
                return x + self.variable("biases", [width])
            return self.norm(x)

    def norm(self, x: Any) -> Any:
        with tf1.variable_scope("BatchNorm"):
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            gamma, beta, mean, variance = (self.variable(n, [x.shape[-1]]) for n in names)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1.001e-5)


def resnet(x: Any) -> Any:
    """resnet_v1_50 with 3, 4, 6 and 3 units, and the stride in the first convolution."""
    net = Net()
    with tf1.variable_scope("resnet_v1_50"):
        x = tf.nn.relu(net.conv(x, 64, 7, 2, "conv1", True))
        x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
        for block, units in enumerate((3, 4, 6, 3), 1):
            width = 32 << block
            for unit in range(1, units + 1):
                stride = 2 if block > 1 and unit == 1 else 1
                with tf1.variable_scope(f"block{block}/unit_{unit}/bottleneck_v1"):
                    shortcut = x
                    if unit == 1:
                        shortcut = net.conv(x, 4 * width, 1, stride, "shortcut", True)
                    y = tf.nn.relu(net.conv(x, width, 1, stride, "conv1", True))
                    y = tf.nn.relu(net.conv(y, width, 3, 1, "conv2", True))
                    x = tf.nn.relu(net.conv(y, 4 * width, 1, 1, "conv3", True) + shortcut)
        x = tf.reduce_mean(x, [1, 2], keepdims=True)
        return tf.squeeze(net.conv(x, 10, 1, 1, "logits", False), [1, 2])


class UnbiasedResNet(ResNet):
    """As torchvision has it: no biases before norms."""

    def __init__(self) -> None:
        super().__init__()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.register_parameter("bias", None)


def vgg(x: Any) -> Any:
    """vgg_16, whose dense layers are convolutions. Images of 32 x 32 leave one pixel for them."""
    net = Net()
    with tf1.variable_scope("vgg_16"):
        for block, (count, width) in enumerate(
            zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True), 1
        ):
            for number in range(1, count + 1):
                scope = f"conv{block}/conv{block}_{number}"
                x = tf.nn.relu(net.conv(x, width, 3, 1, scope, False))
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.nn.relu(net.conv(x, 128, 1, 1, "fc6", False))
        x = tf.nn.relu(net.conv(x, 96, 1, 1, "fc7", False))
        return tf.squeeze(net.conv(x, 10, 1, 1, "fc8", False), [1, 2])


class SmallVGG(VGG):
    def __init__(self) -> None:
        super().__init__((2, 2, 3, 3, 3), 32, 128)
        self.classifier[3], self.classifier[6] = nn.Linear(128, 96), nn.Linear(96, 10)


class Separable(nn.Sequential):
    """A depthwise convolution and a pointwise one, each with its norm, as in MobileNet V1."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(given, given, 3, stride, 1, groups=given, bias=False),
            nn.BatchNorm2d(given, eps=1.001e-5),
            nn.ReLU6(),
            nn.Conv2d(given, width, 1, bias=False),
            nn.BatchNorm2d(width, eps=1.001e-5),
            nn.ReLU6(),
        )


_WIDTHS = (16, 32, 32, 64, 64, 128)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8, eps=1.001e-5), nn.ReLU6()]
        self.model = nn.Sequential(
            nn.Sequential(*first),
            *(Separable(g, w, 1) for g, w in zip((8, *_WIDTHS), _WIDTHS, strict=False)),
        )
        self.fc = nn.Linear(_WIDTHS[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.model(x).mean((2, 3)))


def mobilenet(x: Any) -> Any:
    """MobilenetV1, with the names of slim."""
    net = Net()
    with tf1.variable_scope("MobilenetV1"):
        x = tf.nn.relu6(net.conv(x, 8, 3, 1, "Conv2d_0", True))
        for number, width in enumerate(_WIDTHS, 1):
            with tf1.variable_scope(f"Conv2d_{number}_depthwise"):
                kernel = net.variable("depthwise_weights", [3, 3, x.shape[-1], 1])
                x = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")
                x = tf.nn.relu6(net.norm(x))
            x = tf.nn.relu6(net.conv(x, width, 1, 1, f"Conv2d_{number}_pointwise", True))
        x = tf.reduce_mean(x, [1, 2], keepdims=True)
        with tf1.variable_scope("Logits"):
            return tf.squeeze(net.conv(x, 10, 1, 1, "Conv2d_1c_1x1", False), [1, 2])


@dataclass(frozen=True)
class Graph:
    """A module of PyTorch, the graph of the same network, and how large its images are."""

    theirs: Callable[[], nn.Module]
    ours: Callable[[Any], Any]
    size: int


GRAPHS = {
    "resnet_v1_50": Graph(UnbiasedResNet, resnet, 64),
    "vgg_16": Graph(SmallVGG, vgg, 32),
    "mobilenet_v1": Graph(MobileNet, mobilenet, 16),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_session(name: str, tmp_path: Path) -> None:
    """Each variable of the graph has its array, and the session computes what PyTorch computes."""
    made = GRAPHS[name]
    x = images(made.size)
    theirs = made.theirs()
    given = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    pair = Pair(theirs, None, lambda: theirs(given), lambda: None)  # type: ignore[arg-type]
    randomize(pair)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    with torch.no_grad():
        expected = theirs(given).numpy()
    with tf.Graph().as_default(), tf1.Session() as session:
        output = made.ours(tf.constant(x))
        mapped = initreg.map(tmp_path / "model.pth", session)
        assert mapped.is_complete, mapped.to_text()
        mapped.save(tmp_path / "rules.toml")
        SmartInit(
            tmp_path / "model.pth",
            rules=tmp_path / "rules.toml",
            on_missing="error",
            on_unused="error",
        ).init(session)
        found = session.run(output)
    scale = float(np.abs(expected).max())
    assert expected.std(0).mean() > 1e-2 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * scale)
