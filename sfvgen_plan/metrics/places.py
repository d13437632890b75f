"""SRC, scene revisit consistency (SlowFast-VGen, section 4.2): how alike a place looks when it is seen again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sfvgen_plan.metrics.weights import RESNET18

if TYPE_CHECKING:
    from transformers import ResNetModel

SIDE = 224
"""Pixels that frames are resized to, ResNet-18's own size."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine similarity (...) of features (..., D); 0 where one of them is zero."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny)


def resnet18(published: Mapping[str, Tensor]) -> ResNetModel:
    """ResNet-18 (He et al. 2015) up to its average pooling, with the weights of torchvision's; its classifier is not
    used."""
    from transformers import ResNetConfig, ResNetModel

    network = ResNetModel(
        ResNetConfig(
            embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2] * 4, layer_type="basic", hidden_act="relu"
        )
    )
    network.load_state_dict({_renamed(k): v for k, v in published.items() if not k.startswith("fc.")})
    return network


def _renamed(name: str) -> str:
    """The name in transformers' ResNet of one of torchvision's weights."""
    kinds = {
        "conv": "convolution",
        "bn": "normalization",
        "downsample.0": "convolution",
        "downsample.1": "normalization",
    }
    stem = re.fullmatch(r"(conv|bn)1\.(\w+)", name)
    if stem:
        return f"embedder.embedder.{kinds[stem[1]]}.{stem[2]}"
    found = re.fullmatch(r"layer(\d)\.(\d)\.(conv|bn|downsample\.\d)(\d?)\.(\w+)", name)
    if not found:
        return name
    stage, block, kind, layer, leaf = found.groups()
    part = f"layer.{int(layer) - 1}" if layer else "shortcut"
    return f"encoder.stages.{int(stage) - 1}.layers.{block}.{part}.{kinds[kind]}.{leaf}"


class SceneRevisit:
    """Cosine of ResNet-18's features between a first visit and a revisit.

    The paper gives it in per cent, and doesn't say how frames are prepared: here resized to ``SIDE`` pixels and
    normalised as ImageNet's, features taken after the average pooling.
    """

    def __init__(self, network: ResNetModel) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def published(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> SceneRevisit:
        """With ImageNet's published weights.

        Raises:
            Unavailable: they are not there. UserError: they are something else.
        """
        weights = torch.load(RESNET18.find(folder), map_location="cpu", weights_only=True)
        return cls(resnet18(weights).to(device))

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Frames of first visits and of revisits (N, H, W, 3) uint8 -> (N,) in [-1, 1]."""
        return cosine(self.features(first), self.features(second))

    @torch.inference_mode()
    def features(self, frames: np.ndarray, batch: int = 64) -> np.ndarray:
        """Frames (N, H, W, 3) uint8 -> (N, 512) float32."""
        parts = []
        for part in torch.from_numpy(frames).split(batch):
            pictures = part.to(self.network.device).movedim(-1, 1).float() / 255
            pictures = interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
            mean, std = (pictures.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
            parts.append(self.network((pictures - mean) / std).pooler_output.flatten(1))
        return torch.cat(parts).cpu().numpy()
