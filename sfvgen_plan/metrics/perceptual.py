"""LPIPS (Zhang et al. 2018), version 0.1 on AlexNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sfvgen_plan.metrics.frames import check_pair
from sfvgen_plan.metrics.weights import ALEXNET, Unavailable, check_side, import_extra

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What LPIPS normalises pictures in [-1, 1] with."""

SMALLEST = 63
"""Pixels of a side below which AlexNet has nothing left to compare."""

_EPSILON = 1e-10


class AlexNetFeatures(nn.Module):
    """The outputs of AlexNet's five convolutions after their ReLU, with the layer names of the published weights."""

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
        """Normalised pictures (B, 3, H, W), sides of at least ``SMALLEST`` -> five maps (B, C, h, w)."""
        maps = []
        for name, convolution in self.features.items():
            pictures = torch.relu(convolution(self.pool(pictures) if name in ("3", "6") else pictures))
            maps.append(pictures)
        return maps

    def load(self, published: Mapping[str, Tensor]) -> None:
        """Take the weights of a whole AlexNet; its classifier is not used."""
        self.load_state_dict({name: value for name, value in published.items() if name.startswith("features.")})


class Lpips:
    """Perceptual distance of frames, 0 for equal ones.

    Args:
        network: AlexNet's features.
        importance: weights (C,) of the channels of each of its five maps, not negative.
    """

    def __init__(self, network: AlexNetFeatures, importance: Sequence[Tensor]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.importance = [weights.reshape(-1) for weights in importance]

    @classmethod
    def published(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> Lpips:
        """With AlexNet's published weights, and the channels' weights that torchmetrics ships.

        Raises:
            Unavailable: AlexNet's weights or torchmetrics are not there.
            UserError: the weights are something else.
        """
        network = AlexNetFeatures()
        network.load(torch.load(ALEXNET.find(folder), map_location="cpu", weights_only=True))
        package = Path(str(import_extra("torchmetrics").__file__)).parent
        file = package / "functional" / "image" / "lpips_models" / "alex.pth"
        if not file.is_file():
            raise Unavailable(f"torchmetrics holds no {file.name}; install a release that ships LPIPS (1.5 or later)")
        learned = torch.load(file, map_location="cpu", weights_only=True)
        importance = [learned[f"lin{number}.model.1.weight"].to(device) for number in range(5)]
        return cls(network.to(device), importance)

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray, batch: int = 64) -> np.ndarray:
        """Frames (..., H, W, 3) uint8, twice -> distance (...) float32.

        Raises:
            ValueError: the shapes differ or are no frames.
            Unavailable: the frames are too small.
        """
        check_pair(first, second)
        check_side("LPIPS", first.shape, SMALLEST)
        flat = [torch.from_numpy(frames.reshape(-1, *frames.shape[-3:])) for frames in (first, second)]
        parts = [self._distance(one, other) for one, other in zip(*(f.split(batch) for f in flat), strict=True)]
        return torch.cat(parts).cpu().numpy().reshape(first.shape[:-3])

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        total = torch.zeros(len(first), device=self.importance[0].device)
        for one, other, weights in zip(self._maps(first), self._maps(second), self.importance, strict=True):
            total += torch.einsum("bchw,c->bhw", (one - other).square(), weights).mean((1, 2))
        return total

    def _maps(self, frames: Tensor) -> list[Tensor]:
        """Features of unit length at every place."""
        pictures = frames.to(self.importance[0].device).movedim(-1, 1).float() / 127.5 - 1
        pictures = (pictures - pictures.new_tensor(SHIFT).view(3, 1, 1)) / pictures.new_tensor(SCALE).view(3, 1, 1)
        return [values / (values.norm(dim=1, keepdim=True) + _EPSILON) for values in self.network(pictures)]
