"""What one batch saves: the native vector environment beside single ones, batched memories beside PEFT adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfvgen_plan.memory.learning import FastLearning, episode_losses
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulator import LearnedSimulator

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

ENDLESS = 2**31
"""Decisions; longer than any measurement."""

Clock = Callable[[Callable[[], object]], float]
"""Mean seconds of a call."""


def vector_rate(checkpoint: Checkpoint, num_envs: int, sampler_steps: int, clock: Clock) -> float:
    """Decisions per second of ``num_envs`` imagined environments in one batch.

    Frames are decoded, as for an agent that sees pixels.
    """
    from sfvgen_plan.envs.vector import ImaginedVectorEnv

    task = checkpoint.tasks[0]
    return _rate(
        ImaginedVectorEnv(num_envs, task, checkpoint, sampler_steps=sampler_steps, max_decisions=ENDLESS), clock
    )


def sync_vector_rate(checkpoint: Checkpoint, num_envs: int, sampler_steps: int, clock: Clock) -> float:
    """The same of Gymnasium's ``SyncVectorEnv``, whose environments share the loaded checkpoint.

    It steps one after the other: more than a few of them take longer to measure, and are no faster.
    """
    from gymnasium.vector import SyncVectorEnv

    from sfvgen_plan.envs.imagined import ImaginedEnv

    make = partial(ImaginedEnv, checkpoint.tasks[0], checkpoint, sampler_steps=sampler_steps, max_decisions=ENDLESS)
    return _rate(SyncVectorEnv([make] * num_envs), clock)


def _rate(env: VectorEnv[Any, Any, Any], clock: Clock) -> float:
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = np.asarray(env.action_space.sample())
    rate = env.num_envs / clock(lambda: env.step(actions))
    env.close()
    return rate


def memory_seconds(
    checkpoint: Checkpoint, episodes: int, decisions: int, sampler_steps: int, clock: Clock
) -> tuple[float, float, float]:
    """Seconds to imagine a chunk of ``decisions`` and learn it, for ``episodes`` with a memory each: in one batch, and
    one after the other with a PEFT adapter and ``torch.optim.Adam``; and the bytes of one episode's memory.

    Every episode costs the same where they come one after the other. So one is timed, again and again, and multiplied;
    putting each one's adapter in place would come on top.
    """
    learning = FastLearning()
    simulator = checkpoint.simulator(sampler_steps, learning)
    task = checkpoint.tasks[0]
    start = checkpoint.starts[task][:1, None].expand(episodes, -1, -1, -1, -1)
    state = simulator.begin_latents(start, [task] * episodes, list(range(episodes)))
    actions = torch.rand(episodes, decisions, simulator.action_dim, device=simulator.device) * 2 - 1

    def batched() -> None:
        imagined, outcome = simulator.imagine(state, actions)
        simulator.remember(imagined)
        outcome.reward.cpu()  # waits for the device

    plain, adam = _adapted(checkpoint, learning, sampler_steps)
    single = plain.begin_latents(start[:1], [task], [0])

    def alone() -> None:
        imagined, outcome = plain.imagine(single, actions[:1])
        sequence = imagined.context.clone()
        adam.zero_grad()
        with plain.precision():
            losses = episode_losses(plain.pipeline.unet, plain.pipeline.scheduler, sequence, single.seed, single.step)
        losses.sum().backward()
        adam.step()
        outcome.reward.cpu()

    memory = state.memory
    assert memory is not None
    numbers = [*memory.down.values(), *memory.up.values(), *(part for pair in memory.moments.values() for part in pair)]
    size = sum(values[0].numel() * values.element_size() for values in numbers)
    return clock(batched), episodes * clock(alone), float(size)


def _adapted(
    checkpoint: Checkpoint, learning: FastLearning, sampler_steps: int
) -> tuple[LearnedSimulator, torch.optim.Adam]:
    """A simulator whose denoiser is a copy with a PEFT adapter, and what trains the adapter."""
    from peft import LoraConfig, inject_adapter_in_model

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
