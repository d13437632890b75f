"""What is known of frames beside their pictures, and its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WAVES = 5  # a place is told as waves of 1/4, 1/2, 1, 2 and 4 radians for each full action
LOWEST_NOISE = 0.01  # noise levels below it are told as this one: a clean frame's


@dataclass(frozen=True)
class Condition:
    """What is known of F frames of B episodes beside their pictures.

    Attributes:
        actions: (B, F, A) in [-1, 1], what led into each frame.
        given: (B, F) in {0, 1}: whether the action is known; a video can be imagined from its text alone.
        place: (B, F, A) the sum of the actions since the episode began, this frame's included if it is known.
        text: (B, F, E) features of what is to be done by the decision that led into each frame, or (B, 1, E) of all.
    """

    actions: Tensor
    given: Tensor
    place: Tensor
    text: Tensor


def noise_features(noise: Tensor, clean: Tensor) -> Tensor:
    """Noise levels and clean flags (...) -> (..., 17): sines and cosines of the level's logarithm, and the flag."""
    level = (noise.float().clamp_min(LOWEST_NOISE).log() / 4)[..., None]
    waves = level * torch.exp2(torch.arange(8, device=level.device) * 0.5)
    return torch.cat([waves.sin(), waves.cos(), clean.float()[..., None]], -1)


def place_features(place: Tensor) -> Tensor:
    """(..., M) -> (..., M * 11): a tenth of it, and its sines and cosines."""
    place = place.float()[..., None]
    waves = place * torch.exp2(torch.arange(WAVES, device=place.device) - 2.0)
    return torch.cat([place * 0.1, waves.sin(), waves.cos()], -1).flatten(-2)
