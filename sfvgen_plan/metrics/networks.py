"""AlexNet's and ResNet-18's features, with the layer names of the published weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class AlexNetFeatures(nn.Module):
    """The outputs of AlexNet's five convolutions after their ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
                "3": nn.Conv2d(64, 192, 5, padding=2),
                "6": nn.Conv2d(192, 384, 3, padding=1),
                "8": nn.Conv2d(384, 256, 3, padding=1),
                "10": nn.Conv2d(256, 256, 3, padding=1),
            }
        )
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Normalised pictures (B, 3, H, W), sides of at least 63 -> five maps (B, C, h, w)."""
        maps = []
        for name, convolution in self.features.items():
            if name in ("3", "6"):
                pictures = self.pool(pictures)
            pictures = torch.relu(convolution(pictures))
            maps.append(pictures)
        return maps

    def load(self, published: Mapping[str, Tensor]) -> None:
        """Take the weights of a whole AlexNet; its classifier is not used."""
        self.load_state_dict({name: value for name, value in published.items() if name.startswith("features.")})


class ResNet18Features(nn.Module):
    """ResNet-18 (He et al. 2015) up to its average pooling: 512 numbers per picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        widths = (64, 64, 128, 256, 512)
        for number, (narrow, wide) in enumerate(pairwise(widths), start=1):
            stage = nn.Sequential(_Block(narrow, wide, stride=1 if number == 1 else 2), _Block(wide, wide, stride=1))
            setattr(self, f"layer{number}", stage)

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> (B, 512)."""
        values = self.pool(torch.relu(self.bn1(self.conv1(pictures))))
        for number in range(1, 5):
            values = getattr(self, f"layer{number}")(values)
        return values.mean((-2, -1))

    def load(self, published: Mapping[str, Tensor]) -> None:
        """Take the weights of a whole ResNet-18; its classifier is not used."""
        self.load_state_dict({name: value for name, value in published.items() if not name.startswith("fc.")})


class _Block(nn.Module):
    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module | None = None
        if stride != 1 or narrow != wide:
            shortcut = nn.Conv2d(narrow, wide, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(wide))

    def forward(self, values: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(values)))))
        return torch.relu(inside + (values if self.downsample is None else self.downsample(values)))
