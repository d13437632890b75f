"""How close imagined frames are to real ones, pixel by pixel: PSNR and SSIM."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.metrics.weights import check_side, import_extra

PEAK = 255.0
"""Largest pixel value."""

MAX_PSNR = 100.0
"""Stands for equal frames, whose ratio is infinite and would swallow every mean."""

SSIM_WINDOW = 11
"""Pixels of a side of the Gaussian window (sigma 1.5), as in Wang et al. 2004."""

Frames = TypeVar("Frames", np.ndarray, Tensor)


def check_pair(first: Frames, second: Frames) -> None:
    """Refuse frames (..., H, W, C) that can't be compared.

    Raises:
        ValueError: the shapes differ or are no frames.
    """
    if first.shape != second.shape or first.ndim < 3:
        raise ValueError(f"frames of shape {tuple(first.shape)} and {tuple(second.shape)} can't be compared")


def psnr(first: Frames, second: Frames) -> Frames:
    """Peak signal-to-noise ratio in dB of each frame, at most ``MAX_PSNR``.

    Args:
        first, second: (..., H, W, C) with values 0 to 255, both NumPy arrays or both tensors.

    Returns:
        (...) float32, of the same kind.

    Raises:
        ValueError: the shapes differ or are no frames.
    """
    check_pair(first, second)
    if isinstance(first, Tensor):
        error = (first.float() - second.float()).square().mean(dim=(-3, -2, -1))
        return (10 * torch.log10(PEAK**2 / error)).clamp(max=MAX_PSNR)
    error = np.square(first.astype(np.float32) - second.astype(np.float32)).mean(axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(PEAK**2 / error), MAX_PSNR).astype(np.float32)


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of each frame (Wang et al. 2004), by torchmetrics: the mean over all pixels, frames
    mirrored at their edges; 1 for equal frames.

    Args:
        first, second: (..., H, W, C) with values 0 to 255 and sides of at least ``SSIM_WINDOW``.

    Returns:
        (...) float32.

    Raises:
        ValueError: the shapes differ or are no frames.
        Unavailable: torchmetrics is missing, or the frames are too small.
    """
    check_pair(first, second)
    check_side("SSIM", first.shape, SSIM_WINDOW)
    functional = import_extra("torchmetrics.functional.image")
    pair = [torch.from_numpy(f.reshape(-1, *f.shape[-3:])).movedim(-1, 1).float() for f in (first, second)]
    values = functional.structural_similarity_index_measure(*pair, data_range=PEAK, reduction="none")
    return values.numpy().reshape(first.shape[:-3])
