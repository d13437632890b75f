"""Gaussian noise that depends on the episode alone: the same seed gives the same numbers whatever batch it is in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
