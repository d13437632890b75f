"""LPIPS (Zhang et al. 2018), version 0.1 on AlexNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.extras import import_extra
from sfvgen_plan.metrics.networks import AlexNetFeatures
from sfvgen_plan.metrics.weights import ALEXNET

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What LPIPS normalises pictures in [-1, 1] with."""

SMALLEST = 63
"""Pixels of a side below which AlexNet has nothing left to compare."""

_EPSILON = 1e-10


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
            WeightsMissing: AlexNet's weights are not there.
            UserError: they are something else, or torchmetrics is missing.
        """
        network = AlexNetFeatures()
        network.load(torch.load(ALEXNET.find(folder), map_location="cpu", weights_only=True))
        package = Path(str(import_extra("torchmetrics").__file__)).parent
        file = package / "functional" / "image" / "lpips_models" / "alex.pth"
        if not file.is_file():
            raise UserError(f"torchmetrics holds no {file.name}; install a release that ships LPIPS (1.5 or later)")
        learned = torch.load(file, map_location="cpu", weights_only=True)
        importance = [learned[f"lin{number}.model.1.weight"].to(device) for number in range(5)]
        return cls(network.to(device), importance)

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray, batch: int = 64) -> np.ndarray:
        """Frames (..., H, W, 3) uint8, twice -> distance (...) float32.

        Raises:
            ValueError: the shapes differ or are no frames.
            UserError: the frames are too small.
        """
        if first.shape != second.shape or first.ndim < 3:
            raise ValueError(f"frames of shape {first.shape} and {second.shape} can't be compared")
        if min(first.shape[-3:-1]) < SMALLEST:
            raise UserError(
                f"size={min(first.shape[-3:-1])} is too small for LPIPS; give frames of at least {SMALLEST}"
            )
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
