"""Preconditioning and noise levels of EDM (Karras et al. 2022), on data of unit variance."""

from __future__ import annotations

from torch import Tensor


def denoised(output: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
    """The clean frames that the network's output stands for (EDM's preconditioning, unit data variance)."""
    sigma = noise[..., None, None]
    total = 1 + sigma**2
    return noisy / total + output * sigma / total.sqrt()


def target(clean: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
    """The network's output that stands for the clean frames; of unit variance at every noise level."""
    sigma = noise[..., None, None]
    total = 1 + sigma**2
    return (clean - noisy / total) * total.sqrt() / sigma


def noise_levels(steps: int, highest: float = 20.0, lowest: float = 0.02) -> list[float]:
    """Noise levels of a sampler of so many steps, highest first (EDM's schedule, rho = 7)."""
    if steps == 1:
        return [highest]
    high, low = highest ** (1 / 7), lowest ** (1 / 7)
    return [(high + (low - high) * step / (steps - 1)) ** 7 for step in range(steps)]
