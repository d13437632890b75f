"""SRC, scene revisit consistency (SlowFast-VGen, section 4.2): how alike a place looks when it is seen again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from sfvgen_plan.metrics.networks import IMAGENET_MEAN, IMAGENET_STD, ResNet18Features
from sfvgen_plan.metrics.weights import RESNET18

SIDE = 224
"""Pixels that frames are resized to, ResNet-18's own size."""


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine similarity (...) of features (..., D); 0 where one of them is zero."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny)


class SceneRevisit:
    """Cosine of ResNet-18's features between a first visit and a revisit.

    The paper gives it in per cent, and doesn't say how frames are prepared: here resized to ``SIDE`` pixels and
    normalised as ImageNet's, features taken after the average pooling.
    """

    def __init__(self, network: ResNet18Features) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def published(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> SceneRevisit:
        """With ImageNet's published weights.

        Raises:
            WeightsMissing: they are not there. UserError: they are something else.
        """
        network = ResNet18Features()
        network.load(torch.load(RESNET18.find(folder), map_location="cpu", weights_only=True))
        return cls(network.to(device))

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Frames of first visits and of revisits (N, H, W, 3) uint8 -> (N,) in [-1, 1]."""
        return cosine(self.features(first), self.features(second))

    @torch.inference_mode()
    def features(self, frames: np.ndarray, batch: int = 64) -> np.ndarray:
        """Frames (N, H, W, 3) uint8 -> (N, 512) float32."""
        device = self.network.conv1.weight.device
        parts = []
        for part in torch.from_numpy(frames).split(batch):
            pictures = part.to(device).movedim(-1, 1).float() / 255
            pictures = interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
            mean, std = (pictures.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
            parts.append(self.network((pictures - mean) / std))
        return torch.cat(parts).cpu().numpy()
