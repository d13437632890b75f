"""Fast learning, Algorithm 1a: one Adam step on Θ for the newest chunk of every episode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.memory.weights import ATTENTION_PROJECTIONS, Memory, applied
from sfvgen_plan.model import diffusion, noise
from sfvgen_plan.model.unet import VideoUNet

NOISE_STREAM, LEVEL_STREAM = 11, 12


@dataclass(frozen=True)
class FastLearning:
    """Hyperparameters of fast learning; the defaults are the paper's (appendix of SlowFast-VGen).

    Attributes:
        rank, alpha: LoRA rank and scale (the update is multiplied by alpha / rank).
        learning_rate: Adam's α.
        steps: Adam steps per chunk.
        targets: ends of the names of the adapted layers.
    """

    rank: int = 32
    alpha: float = 32.0
    learning_rate: float = 1e-4
    steps: int = 1
    targets: tuple[str, ...] = ATTENTION_PROJECTIONS


def episode_losses(unet: VideoUNet, scheduler: object, sequence: Tensor, seeds: Tensor, counter: Tensor) -> Tensor:
    """Denoising loss on the whole sequence, eq. 3: every frame noised, no clean frame, no text, no action.

    Args:
        sequence: (N, T, C, h, w) input chunk joined with the generated chunk.
        seeds, counter: (N,) what each episode's noise is drawn from.

    Returns:
        (N,) mean squared error per episode.
    """
    eps = noise.normal(seeds, counter, tuple(sequence.shape[1:]), NOISE_STREAM)
    level = diffusion.noise_level(scheduler, noise.uniform(seeds, counter, 1, LEVEL_STREAM)[:, 0])
    noisy, timestep, target = diffusion.corrupt(scheduler, sequence, eps, level)
    none = sequence.new_zeros(sequence.shape[:2])
    actions = sequence.new_zeros(*sequence.shape[:2], unet.config.action_dim)
    text = sequence.new_zeros(len(sequence), 1, unet.config.cross_attention_dim)
    output = unet.denoise(noisy, none, actions, none, timestep, text)
    return (output.float() - target).square().flatten(1).mean(1)


def learn(
    unet: VideoUNet, scheduler: object, memory: Memory, sequence: Tensor, seeds: Tensor, settings: FastLearning
) -> tuple[Memory, Tensor]:
    """Θ after ``settings.steps`` Adam steps on the sequence (N, T, C, h, w), and the last losses (N,).

    Episodes do not mix: the summed loss has per-episode gradients, and Adam works on each number alone. Φ is untouched.
    """
    losses = sequence.new_zeros(len(sequence))
    memory = memory.owned()
    with torch.inference_mode(False), torch.enable_grad():
        sequence, seeds = sequence.clone(), seeds.clone()  # inference tensors can't enter a graph
        for _ in range(settings.steps):
            down = {k: v.clone().requires_grad_() for k, v in memory.down.items()}
            up = {k: v.clone().requires_grad_() for k, v in memory.up.items()}
            live = Memory(down, up, memory.moments, memory.steps.clone(), memory.owner.clone(), memory.scale)
            with applied(unet, live):
                losses = episode_losses(unet, scheduler, sequence, seeds, live.steps)
            weights = {f"{k}.down": v for k, v in down.items()} | {f"{k}.up": v for k, v in up.items()}
            gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
            memory = _adam(live, weights, dict(zip(weights, gradients, strict=True)), settings.learning_rate)
    return memory, losses.detach()


def _adam(memory: Memory, weights: dict[str, Tensor], gradients: dict[str, Tensor], rate: float) -> Memory:
    """One step of Adam (Kingma and Ba 2015, the constants of torch.optim.Adam) on every episode's weights."""
    steps = memory.steps + 1
    moments, updated = {}, {}
    for name, gradient in gradients.items():
        count = steps.double().view(-1, *[1] * (gradient.ndim - 1))  # 1 - 0.999**count loses digits in float32
        early, late = ((1 - decay**count).to(gradient.dtype) for decay in (0.9, 0.999))
        first = memory.moments[name][0] * 0.9 + gradient * 0.1
        second = memory.moments[name][1] * 0.999 + gradient.square() * 0.001
        denominator = (second / late).sqrt() + 1e-8
        updated[name] = (weights[name] - rate * (first / early) / denominator).detach()
        moments[name] = (first.detach(), second.detach())
    return Memory(
        {k: updated[f"{k}.down"] for k in memory.down},
        {k: updated[f"{k}.up"] for k in memory.up},
        moments,
        steps,
        memory.owner,
        memory.scale,
    )
