"""Noising and denoising with any diffusers scheduler: EDM preconditioning, or epsilon / v-prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError


def is_edm(scheduler: Any) -> bool:
    """Whether the scheduler noises by sigma (EDM) rather than by discrete timesteps."""
    return hasattr(scheduler, "precondition_inputs")


def noise_level(scheduler: Any, uniform: Tensor, log_mean: float = 0.0, log_std: float = 1.6) -> Tensor:
    """Noise levels for training from uniform numbers (B,) in (0, 1).

    EDM: sigma with ln sigma ~ N(log_mean, log_std). Others: a discrete timestep, uniform.
    """
    if is_edm(scheduler):
        return (log_mean + log_std * torch.special.ndtri(uniform)).exp()
    return (uniform * scheduler.config.num_train_timesteps).long()


def corrupt(scheduler: Any, latents: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Noise clean latents (B, T, C, h, w) at level (B,).

    Returns:
        The network's input, its timestep (B,), and the target of its output (B, T, C, h, w).
    """
    if not is_edm(scheduler):
        kind = scheduler.config.prediction_type
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(f"scheduler prediction_type={kind!r} is not supported; use 'epsilon' or 'v_prediction'")
        if float(scheduler.init_noise_sigma) > 1.5:  # add_noise of these returns data + sigma * noise, unscaled
            raise UserError(
                f"scheduler={type(scheduler).__name__} scales by sigma, which training does not support; use "
                "DDIMScheduler, DDPMScheduler or EDMDPMSolverMultistepScheduler"
            )
        noisy = scheduler.add_noise(latents, noise, level)
        return noisy, level, noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, level)
    sigma = level.view(-1, 1, 1, 1, 1)
    data = scheduler.config.sigma_data
    total = (sigma**2 + data**2).sqrt()
    noisy = latents + sigma * noise
    sign = -1.0 if scheduler.config.prediction_type == "v_prediction" else 1.0
    # The unit-variance target that EDM's output preconditioning inverts (Karras et al. 2022, table 1).
    target = sign * (latents - noisy * (data / total) ** 2) * total / (sigma * data)
    return noisy / total, 0.25 * level.log(), target


def sample(scheduler: Any, network: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Denoise from pure noise (B, G, C, h, w) in ``steps`` calls of ``network(scaled latents, timestep (B,))``."""
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # otherwise the first step compares tensors and waits for the device
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        output = network(scaled, timestep.to(latents.device).expand(latents.shape[0]))
        latents = scheduler.step(output.float(), timestep, latents, return_dict=False)[0]
    return latents
