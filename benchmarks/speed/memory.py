"""Memories of many episodes in one batch, beside what they replace: a PEFT adapter for one episode at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sfvgen_plan.memory.learning import FastLearning
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

CHUNK = 8
"""Decisions imagined, and learned from, at a time."""


def memory_seconds(
    checkpoint: Checkpoint, episodes: int, sampler_steps: int, clock: Callable[[Callable[[], object]], float]
) -> tuple[float, float]:
    """Seconds to imagine a chunk and learn it, for ``episodes`` with a memory each: in one batch, and one after the
    other with a PEFT adapter and ``torch.optim.Adam``.

    Every episode costs the same where they come one after the other. So one is timed, again and again, and multiplied;
    putting each one's adapter in place would come on top.
    """
    import torch

    from sfvgen_plan.memory.learning import FastLearning, episode_losses

    simulator = checkpoint.simulator(sampler_steps, FastLearning())
    task = checkpoint.tasks[0]
    start = checkpoint.starts[task][:1, None].expand(episodes, -1, -1, -1, -1)
    state = simulator.begin_latents(start, [task] * episodes, list(range(episodes)))
    actions = torch.rand(episodes, CHUNK, simulator.action_dim, device=simulator.device) * 2 - 1

    def batched() -> None:
        dreamt, outcome = simulator.imagine(state, actions)
        simulator.remember(dreamt)
        outcome.reward.cpu()  # waits for the device

    plain, adam = _adapted(checkpoint, FastLearning(), sampler_steps)
    single = plain.begin_latents(start[:1], [task], [0])

    def alone() -> None:
        dreamt, outcome = plain.imagine(single, actions[:1])
        adam.zero_grad()
        with plain.precision():
            losses = episode_losses(
                plain.pipeline.unet, plain.pipeline.scheduler, dreamt.context.clone(), single.seed, single.step
            )
        losses.sum().backward()
        adam.step()
        outcome.reward.cpu()

    return clock(batched), episodes * clock(alone)


def _adapted(
    checkpoint: Checkpoint, learning: FastLearning, sampler_steps: int
) -> tuple[LearnedSimulator, torch.optim.Adam]:
    """A simulator whose denoiser is a copy with a PEFT adapter, and what trains the adapter."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    from sfvgen_plan.model.checkpoint import Checkpoint

    # The copy shares its other parts with the original; only the denoiser is adapted.
    pipeline = copy.copy(checkpoint.pipeline)
    pipeline.unet = unet = copy.deepcopy(checkpoint.pipeline.unet)
    config = LoraConfig(
        r=learning.rank, lora_alpha=learning.alpha, lora_dropout=0.0, target_modules=list(learning.targets)
    )
    inject_adapter_in_model(config, unet)  # freezes everything else
    unet.to(checkpoint.pipeline.device)
    weights = [value for value in unet.parameters() if value.requires_grad]
    copied = Checkpoint(pipeline, checkpoint.card, checkpoint.starts, checkpoint.path)
    return copied.simulator(sampler_steps), torch.optim.Adam(weights, lr=learning.learning_rate)
