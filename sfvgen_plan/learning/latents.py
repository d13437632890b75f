"""Training data in latent space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.learning.trainer import training_precision
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline

STARTS_PER_TASK = 40


def encoded(pipeline: SlowFastVGenPipeline, data: TrainingData) -> Tensor:
    """Latents (F, C, h, w) of all frames, in half precision."""
    with training_precision(data.frames.device):
        return torch.cat([pipeline.encode(part).half() for part in data.frames.split(4096)])


def start_frames(data: TrainingData, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Latents (n, C, h, w) of real start frames of every task."""
    starts = {}
    assert data.latents is not None
    number = torch.arange(len(data.task), device=data.task.device)
    for index, task in enumerate(tasks):
        first = number[(number == data.first) & (data.task == index) & ~data.held_out]
        starts[task] = data.latents[first[:STARTS_PER_TASK]]
    return starts
