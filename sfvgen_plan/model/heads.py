"""Small networks on latents: what a frame is worth (heads) and what to do next (prior)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from sfvgen_plan.simulation import STATE_NAMES


class ConditionedBlock(nn.Module):
    """Residual block of two 3x3 convolutions, scaled and shifted by the task's text."""

    def __init__(self, channels: int, text_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(text_dim, 2 * channels)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        scale, shift = self.film(text)[..., None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class Trunk(nn.Module):
    """Latents (B, C, 8, 8) and text (B, E) -> features (B, 4 * width). Keeps positions: it flattens, never pools."""

    def __init__(self, channels: int, text_dim: int, width: int, sample_size: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.fine = nn.ModuleList(ConditionedBlock(width, text_dim) for _ in range(2))
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.coarse = ConditionedBlock(2 * width, text_dim)
        self.out = nn.Linear(2 * width * ((sample_size + 1) // 2) ** 2 + text_dim, 4 * width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.fine:
            x = block(x, text)
        x = self.coarse(self.down(x), text)
        return F.silu(self.out(torch.cat([x.flatten(1), text], dim=1)))


def _exactly(layer: nn.Linear, features: Tensor) -> Tensor:
    """The layer in float32 whatever the precision around it: eight bits of a metre are too few for a read-out."""
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.float())


@dataclass(frozen=True)
class Readout:
    """What the heads say of B frames.

    Attributes:
        reward: (B,) dense reward in the environment's unit.
        success: (B,) logit of the task being solved at this frame.
        value: (B,) discounted future progress, about 0 to 1.
        estimates: (B, D) state read-outs: ``STATE_NAMES`` in metres, or what the checkpoint's card names.
    """

    reward: Tensor
    success: Tensor
    value: Tensor
    estimates: Tensor


class Heads(ModelMixin, ConfigMixin):
    """Reward, success and state of a frame, and the value of being there with the frame before it.

    Args:
        estimate_mean, estimate_std: per state read-out, so that the network's outputs have unit scale.
        reward_scale: the environment's largest reward per decision.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        sample_size: int = 8,
        text_dim: int = 64,
        width: int = 48,
        reward_scale: float = 10.0,
        estimate_mean: tuple[float, ...] = (0.0,) * len(STATE_NAMES),
        estimate_std: tuple[float, ...] = (1.0,) * len(STATE_NAMES),
    ) -> None:
        super().__init__()
        self.frame = Trunk(latent_channels, text_dim, width, sample_size)
        self.frame_out = nn.Linear(4 * width, 2 + len(STATE_NAMES))
        self.pair = Trunk(2 * latent_channels, text_dim, width, sample_size)
        self.pair_out = nn.Linear(4 * width, 1)

    def read(self, latents: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (B, C, h, w) and pooled text (B, E) -> reward in [0, 1], success logit, unit-scale estimates."""
        out = _exactly(self.frame_out, self.frame(latents, text))
        return out[:, 0], out[:, 1], out[:, 2:]

    def value(self, latents: Tensor, text: Tensor) -> Tensor:
        """Frame pairs (B, 2, C, h, w), older first, and pooled text (B, E) -> value (B,)."""
        return _exactly(self.pair_out, self.pair(latents.flatten(1, 2), text)).squeeze(1)

    def forward(self, latents: Tensor, text: Tensor) -> Readout:
        """Frame pairs (B, 2, C, h, w), older first, and pooled text (B, E): everything about the newer frame."""
        reward, success, units = self.read(latents[:, 1], text)
        mean = units.new_tensor(self.config.estimate_mean)
        std = units.new_tensor(self.config.estimate_std)
        return Readout(reward * self.config.reward_scale, success, self.value(latents, text), units * std + mean)


class ActionPrior(ModelMixin, ConfigMixin):
    """Behaviour-cloned policy on the two newest frames: where planners begin to search."""

    @register_to_config
    def __init__(
        self, latent_channels: int = 16, sample_size: int = 8, text_dim: int = 64, width: int = 64, action_dim: int = 4
    ) -> None:
        super().__init__()
        self.trunk = Trunk(2 * latent_channels, text_dim, width, sample_size)
        self.out = nn.Linear(4 * width, action_dim)

    def forward(self, latents: Tensor, text: Tensor) -> Tensor:
        """Frame pairs (B, 2, C, h, w), older first, and pooled text (B, E) -> actions (B, A), about [-1, 1]."""
        return self.out(self.trunk(latents.flatten(1, 2), text))
