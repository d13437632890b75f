"""A small untrained model with unequal episodes to learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline

EPISODES = 3


@pytest.fixture(scope="session")
def pipeline(make_pipeline) -> SlowFastVGenPipeline:
    """With all kinds of blocks that a denoiser has, since each of them has layers to adapt."""
    return make_pipeline(unet_widths=(16, 16), head_dim=8, norm_groups=8)


@pytest.fixture(scope="session")
def unet(pipeline):
    return pipeline.unet


@pytest.fixture(scope="session")
def seeds() -> torch.Tensor:
    return torch.arange(EPISODES) * 7 + 3


@pytest.fixture(scope="session")
def chunks() -> torch.Tensor:
    """Six chunks of every episode, (6, N, T, C, h, w)."""
    return torch.randn(6, EPISODES, 5, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(pipeline) -> Checkpoint:
    card = CheckpointCard({"reach-v3": "reach the red goal"}, size=32, camera="corner4", repeat=5)
    starts = {"reach-v3": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))}
    return Checkpoint(pipeline, card, starts, Path("untrained"))
