"""Training data in latent space: as it was, and as the model imagines it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.learning.trainer import training_precision
from sfvgen_plan.model.noise import normal
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline

STARTS_PER_TASK = 40


def encoded(pipeline: SlowFastVGenPipeline, data: TrainingData) -> Tensor:
    """Latents (F, C, h, w) of all frames, in half precision."""
    with training_precision(data.frames.device):
        return torch.cat([pipeline.encode(part).half() for part in data.frames.split(4096)])


def dreamt(
    pipeline: SlowFastVGenPipeline, data: TrainingData, text: Tensor, context_frames: int, chunk: int = 8
) -> Tensor:
    """Latents (F, C, h, w) of every episode again as the model imagines it, in chunks from real context: what heads
    will have to read. ``text`` (T, L, E) are the features of the data's tasks."""
    latents = data.latents
    assert latents is not None
    imagined = latents.clone()
    number = torch.arange(len(latents), device=latents.device)
    steps = torch.arange(1, chunk + 1, device=latents.device)
    starts = number[((number - data.first) % chunk == 0) & (number < data.last)]
    for part in starts.split(1024):
        window = torch.minimum(part[:, None] + steps, data.last[part][:, None])
        noise = normal(part, torch.zeros_like(part), (chunk, *latents.shape[1:]))
        with training_precision(latents.device):
            context = latents[data.window(part, context_frames)].float()
            made = pipeline.generate(context, data.told_actions[window], text[data.task[part]], noise, 2)
        # Windows that run past the end of the episode repeat its last frame: keep only frames that exist.
        real = part[:, None] + steps <= data.last[part][:, None]
        imagined[window[real]] = made[real].half()
    return imagined


def start_frames(data: TrainingData, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Latents (n, C, h, w) of real start frames of every task."""
    starts = {}
    assert data.latents is not None
    number = torch.arange(len(data.task), device=data.task.device)
    for index, task in enumerate(tasks):
        first = number[(number == data.first) & (data.task == index) & ~data.held_out]
        starts[task] = data.latents[first[:STARTS_PER_TASK]]
    return starts
