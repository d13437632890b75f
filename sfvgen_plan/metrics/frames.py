"""How close imagined frames are to real ones, pixel by pixel."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

PEAK = 255.0
"""Largest pixel value."""

MAX_PSNR = 100.0
"""Stands for equal frames, whose ratio is infinite and would swallow every mean."""

Frames = TypeVar("Frames", np.ndarray, Tensor)


def psnr(first: Frames, second: Frames) -> Frames:
    """Peak signal-to-noise ratio (...) float32 in dB of each of two frames (..., H, W, C) of values 0 to 255, NumPy
    arrays or tensors, at most ``MAX_PSNR``. Raises ValueError: the shapes differ or are no frames."""
    if first.shape != second.shape or first.ndim < 3:
        raise ValueError(f"frames of shape {tuple(first.shape)} and {tuple(second.shape)} can't be compared")
    if isinstance(first, Tensor):
        error = (first.float() - second.float()).square().mean(dim=(-3, -2, -1))
        return (10 * torch.log10(PEAK**2 / error)).clamp(max=MAX_PSNR)
    error = np.square(first.astype(np.float32) - second.astype(np.float32)).mean(axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(PEAK**2 / error), MAX_PSNR).astype(np.float32)
