"""Models with the names and the computation that torchvision gives them, at the epsilon and the
strides of keras.applications."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

EPSILON = 1.001e-5  # of the batch norms in keras.applications


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=EPSILON)


class Bottleneck(nn.Module):
    def __init__(self, given: int, width: int, stride: int, down: bool) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(given, width, 1, stride=stride), norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1), norm(out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(given, out, 1, stride=stride), norm(out)) if down else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """ResNet-50 if it has 3, 4, 6 and 3 blocks."""

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6, 3), classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3), norm(64)
        given = 64
        for number, depth in enumerate(depths):
            width, blocks = 64 << number, []
            for block in range(depth):
                stride = 2 if number and not block else 1
                blocks.append(Bottleneck(given, width, stride, not block))
                given = 4 * width
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(given, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, 2)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class VGG(nn.Module):
    """VGG16 and VGG19, by the number of convolutions in each block."""

    def __init__(self, depths: tuple[int, ...], size: int, width: int, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        given = 3
        for depth, out in zip(depths, (64, 128, 256, 512, 512), strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(given, out, 3, padding=1), nn.ReLU()]
                given = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(given * (size // 32) ** 2, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class DenseLayer(nn.Module):
    def __init__(self, given: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(given), nn.Conv2d(given, 128, 1, bias=False)
        self.norm2, self.conv2 = norm(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    """DenseNet-121 if it has 6, 12, 24 and 16 layers."""

    def __init__(self, depths: tuple[int, ...] = (6, 12, 24, 16), classes: int = 10) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            norm0=norm(64),
            relu0=nn.ReLU(),
            pad0=nn.ZeroPad2d(1),
            pool0=nn.MaxPool2d(3, 2),
        )
        width = 64
        for number, depth in enumerate(depths, 1):
            block = OrderedDict(
                (f"denselayer{at + 1}", DenseLayer(width + 32 * at)) for at in range(depth)
            )
            parts[f"denseblock{number}"] = nn.Sequential(block)
            width += 32 * depth
            if number < len(depths):
                transition = OrderedDict(
                    norm=norm(width),
                    relu=nn.ReLU(),
                    conv=nn.Conv2d(width, width // 2, 1, bias=False),
                    pool=nn.AvgPool2d(2),
                )
                parts[f"transition{number}"] = nn.Sequential(transition)
                width //= 2
        parts["norm5"] = norm(width)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


class DoubleConv(nn.Sequential):
    def __init__(self, given: int, width: int) -> None:
        layers: list[nn.Module] = []
        for channels in (given, width):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers)


class UNet(nn.Module):
    """A U-Net of two levels, as in many repositories."""

    def __init__(self) -> None:
        super().__init__()
        self.enc1, self.enc2, self.bottleneck = (
            DoubleConv(3, 8),
            DoubleConv(8, 16),
            DoubleConv(16, 32),
        )
        self.up2, self.dec2 = nn.ConvTranspose2d(32, 16, 2, 2), DoubleConv(32, 16)
        self.up1, self.dec1 = nn.ConvTranspose2d(16, 8, 2, 2), DoubleConv(16, 8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.enc1(x)
        two = self.enc2(nn.functional.max_pool2d(one, 2))
        y = self.bottleneck(nn.functional.max_pool2d(two, 2))
        y = self.dec2(torch.cat([self.up2(y), two], 1))
        y = self.dec1(torch.cat([self.up1(y), one], 1))
        return self.out(y)
