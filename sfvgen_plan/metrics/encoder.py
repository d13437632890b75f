"""A small encoder of our own, for metrics that need no download: features of frames.

Values depend on the encoder's weights, so compare them only where ``VideoEncoder.digest`` is the same. It was trained
to find a shifted, recoloured and blurred frame again among others (van den Oord et al. 2018), and to tell the action
between two: it knows a place in a blurred picture, too. PSNR tells blur, it tells what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from safetensors import SafetensorError
from torch import Tensor, nn

from sfvgen_plan.errors import UserError, reason

BUNDLED = Path(__file__).parents[1] / "checkpoints" / "video-encoder"  # where the package holds its encoder
SIDE = 128  # pixels that frames are resized to: one encoder serves all sizes
GRID = 4  # places along a side that a frame's features tell apart


class VideoEncoder(ModelMixin, ConfigMixin):
    """Frames as vectors; the layers of motion and action were for training alone.

    Args:
        widths: channels after each halving of the frame's side, multiples of 8.
        dim: numbers in a frame's features.
        action_dim: numbers in the actions that it was trained to tell.
    """

    @register_to_config
    def __init__(self, widths: Sequence[int] = (24, 48, 72, 96), dim: int = 128, action_dim: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in zip([3, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.SiLU()]
        self.frame_layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
        self.frame_out = nn.Linear(widths[-1] * GRID**2, dim)
        self.motion_layers = nn.Sequential(nn.Linear(2 * dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.action_out = nn.Linear(dim, action_dim)

    @classmethod
    def load(cls, path: str | Path = BUNDLED, device: str | torch.device = "cpu") -> VideoEncoder:
        """The encoder in a folder that ``save_pretrained`` wrote; that of the package if none is given. Raises
        UserError: there is none, or it is damaged."""
        try:
            encoder = cls.from_pretrained(
                str(path), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise UserError(f"encoder={str(path)!r} can't be loaded ({reason(error)}); give another") from error
        return encoder.to(device).eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [-1, 1] -> features (B, dim)."""
        if frames.shape[-2:] != (SIDE, SIDE):
            frames = F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return self.frame_out(self.frame_layers(frames))

    @torch.inference_mode()
    def frame_features(self, frames: np.ndarray, batch: int = 256) -> np.ndarray:
        """Frames (..., H, W, 3) uint8 -> (..., dim) float32."""
        flat = torch.from_numpy(np.ascontiguousarray(frames.reshape(-1, *frames.shape[-3:])))
        inputs = (part.to(self.device).movedim(-1, 1).float() / 127.5 - 1 for part in flat.split(batch))
        parts = [self.encode(part) for part in inputs]
        return torch.cat(parts).float().cpu().numpy().reshape(*frames.shape[:-3], -1)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine similarity (...) of features (..., D); 0 where one of them is zero."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny)
