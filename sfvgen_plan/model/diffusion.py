"""Noising and denoising with diffusers' schedulers of discrete timesteps: epsilon or v-prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sfvgen_plan.errors import UserError


def corrupt(scheduler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """Noise clean latents (B, T, C, h, w) at timesteps (B,); also the target of the network's output. Raises UserError:
    the scheduler predicts something else."""
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(f"scheduler prediction_type={kind!r} is not supported; use 'epsilon' or 'v_prediction'")
    noisy = scheduler.add_noise(latents, noise, timestep)
    return noisy, noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, timestep)


def sample(scheduler: Any, network: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Denoise from pure noise (B, G, C, h, w) in ``steps`` calls of ``network(latents, timestep (B,))``."""
    scheduler.set_timesteps(steps)
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        output = network(scaled, timestep.to(latents.device).expand(latents.shape[0]))
        latents = scheduler.step(output.float(), timestep, latents, return_dict=False)[0]
    return latents
