"""PSNR and SSIM against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import MAX_PSNR, psnr, ssim


def test_known_values_for_arrays_and_tensors() -> None:
    first = np.zeros((3, 2, 4, 4, 3), np.uint8)
    second = np.full_like(first, 255)
    second[1] = 0
    second[2] = 16
    expected = [0.0, MAX_PSNR, 24.0485]  # 20 log10(255 / 16)
    assert psnr(first, second).shape == (3, 2)
    assert psnr(first, second)[:, 0] == pytest.approx(expected, abs=1e-3)
    assert psnr(torch.from_numpy(first), torch.from_numpy(second))[:, 1].numpy() == pytest.approx(expected, abs=1e-3)


def test_frames_of_different_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        psnr(np.zeros((4, 4, 3)), np.zeros((5, 4, 3)))


def ssim_by_definition(first: np.ndarray, second: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004 around every pixel, frames (H, W, C) mirrored at their edges; the mean."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for channel in range(first.shape[2]):
        padded = [np.pad(f[..., channel].astype(float), 5, mode="reflect") for f in (first, second)]
        for y in range(first.shape[0]):
            for x in range(first.shape[1]):
                a, b = (f[y : y + 11, x : x + 11] for f in padded)
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                both = (window * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


def test_ssim_by_its_definition() -> None:
    pytest.importorskip("torchmetrics")
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (2, 1, 16, 14, 3), np.uint8)
    second = (0.7 * first + 0.3 * random.integers(0, 256, first.shape)).astype(np.uint8)
    values = ssim(first, second)
    assert values.shape == (2, 1)
    for number in range(2):
        assert values[number, 0] == pytest.approx(ssim_by_definition(first[number, 0], second[number, 0]), abs=1e-4)
    assert ssim(first, first) == pytest.approx(1.0, abs=1e-6)


def test_frames_too_small_for_a_window() -> None:
    with pytest.raises(UserError, match="size=8"):
        ssim(np.zeros((8, 16, 3), np.uint8), np.zeros((8, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="can't be compared"):
        ssim(np.zeros((16, 16, 3), np.uint8), np.zeros((17, 16, 3), np.uint8))
