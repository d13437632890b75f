"""Noise: drawn so that it depends on the episode alone, whatever batch that is in; preconditioning and noise levels of
EDM (Karras et al. 2022), on data of unit variance; and diffusers' schedulers of discrete timesteps."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError

_GOLDEN = -0x61C8864680B583EB  # 2**64 / golden ratio, as a signed integer
_MIX_1 = -0x40A7B892E31B1A47
_MIX_2 = -0x6B2FB644ECCEEE15


def _mix(x: Tensor) -> Tensor:
    """SplitMix64 finaliser (Steele, Lea and Flood 2014): scrambles 64 bits; int64 multiplication wraps around."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch's is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def bits(seeds: Tensor, counter: Tensor, count: int, stream: int = 0) -> Tensor:
    """Pseudo-random int64 (N, count), a pure function of each episode's seed (N,), its counter (N,) and the stream."""
    key = _mix(_mix(seeds * _GOLDEN + stream) + counter * _GOLDEN)
    index = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device) * _GOLDEN
    return _mix(key[:, None] + index)


def uniform(seeds: Tensor, counter: Tensor, count: int, stream: int = 0) -> Tensor:
    """Uniform numbers in (0, 1), float32 (N, count)."""
    return (_shift(bits(seeds, counter, count, stream), 40).to(torch.float32) + 0.5) / (1 << 24)


def normal(seeds: Tensor, counter: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Standard normal numbers, float32 (N, *shape), by Box and Muller."""
    raw = bits(seeds, counter, math.prod(shape), stream)
    radius = torch.sqrt(-2.0 * torch.log((_shift(raw, 40).to(torch.float32) + 0.5) / (1 << 24)))
    angle = (raw & 0xFFFFFF).to(torch.float32) * (2.0 * math.pi / (1 << 24))
    return (radius * torch.cos(angle)).reshape(-1, *shape)


def denoised(output: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
    """The clean frames that the network's output stands for (EDM's preconditioning, unit data variance)."""
    sigma = noise[..., None, None]
    total = 1 + sigma**2
    return noisy / total + output * sigma / total.sqrt()


def target(clean: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
    """The network's output that stands for the clean frames; of unit variance at every noise level."""
    sigma = noise[..., None, None]
    total = 1 + sigma**2
    return (clean - noisy / total) * total.sqrt() / sigma


def noise_levels(steps: int, highest: float = 20.0, lowest: float = 0.02) -> list[float]:
    """Noise levels of a sampler of so many steps, highest first (EDM's schedule, rho = 7)."""
    if steps == 1:
        return [highest]
    high, low = highest ** (1 / 7), lowest ** (1 / 7)
    return [(high + (low - high) * step / (steps - 1)) ** 7 for step in range(steps)]


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
