"""SRC, scene revisit consistency (SlowFast-VGen, section 4.2): how alike a place looks when it is seen again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from sfvgen_plan.errors import reason
from sfvgen_plan.metrics.weights import Unavailable

if TYPE_CHECKING:
    from transformers import ResNetModel

MODEL = "microsoft/resnet-18"

SIDE = 224
"""Pixels that frames are resized to, ResNet-18's own size."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine similarity (...) of features (..., D); 0 where one of them is zero."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny)


class SceneRevisit:
    """Cosine of ResNet-18's features between a first visit and a revisit.

    The paper gives it in per cent, and doesn't say how frames are prepared: here resized to ``SIDE`` pixels and
    normalised as ImageNet's, features taken after the average pooling (He et al. 2015).
    """

    def __init__(self, network: ResNetModel) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def published(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> SceneRevisit:
        """With the weights that were published for ImageNet as ``MODEL``: of ``folder``/resnet-18, or else of
        transformers' cache.

        Raises:
            Unavailable: they are in neither.
        """
        from transformers import ResNetModel

        own = folder / "resnet-18" if folder is not None else None
        try:
            place = str(own) if own is not None and own.is_dir() else MODEL
            return cls(ResNetModel.from_pretrained(place, local_files_only=True).to(device))
        except (OSError, ValueError) as error:
            where = f"put https://huggingface.co/{MODEL} there"
            raise Unavailable(f"SRC needs {MODEL} ({reason(error)}); {where}") from None

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
