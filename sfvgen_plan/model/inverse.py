"""Inverse dynamics: which action leads from one frame to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

if TYPE_CHECKING:
    from sfvgen_plan.model.pipeline import SlowFastVGenPipeline


class InverseDynamics(ModelMixin, ConfigMixin):
    """A small network on two consecutive frames. It sees no text: what was meant is the video's business."""

    @register_to_config
    def __init__(self, latent_channels: int = 16, sample_size: int = 8, width: int = 48, action_dim: int = 4) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv2d(2 * latent_channels, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GroupNorm(8, 2 * width),
            nn.SiLU(),
        )
        # Flattened, not pooled: where something moved is what tells the action.
        places = ((sample_size + 1) // 2) ** 2
        self.out = nn.Sequential(nn.Linear(2 * width * places, 4 * width), nn.SiLU(), nn.Linear(4 * width, action_dim))

    def forward(self, latents: Tensor) -> Tensor:
        """Frame pairs (B, 2, C, h, w), older first -> actions (B, A), about [-1, 1]."""
        return self.out(self.frames(latents.flatten(1, 2)).flatten(1))


def build_inverse(pipeline: SlowFastVGenPipeline) -> InverseDynamics:
    """An untrained one for a pipeline with heads, as wide as those."""
    heads = pipeline.heads.config
    return InverseDynamics(heads.latent_channels, heads.sample_size, heads.width, pipeline.action_dim)
