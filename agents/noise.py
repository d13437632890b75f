"""Random numbers that belong to one decision of one episode, and smooth action noise made of them.

Every number is drawn from a key (agent seed, episode seed, decision) and a stream, so an episode plays out the same
whichever episodes share its batch.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

Key = tuple[int, int, int]  # (agent seed, episode seed, decision), each >= 0


class Stream(IntEnum):
    """What the numbers are for: streams of one key are independent of each other."""

    BEGIN = 0
    FUTURES = 1
    CANDIDATES = 2
    DISTURBANCE = 3


def generator(key: Key, stream: int, *extra: int) -> np.random.Generator:
    """A counter-based generator of its own for each (key, stream, extra)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([*key, stream, *extra])))


def draw_seeds(keys: Sequence[Key], stream: int, count: int, *extra: int) -> Tensor:
    """Seeds (E, count) int64, at least 0, for the random states of imagined episodes."""
    drawn = [generator(key, stream, *extra).integers(0, 2**63 - 1, size=count) for key in keys]
    return torch.from_numpy(np.stack(drawn))


def smooth_noise(
    keys: Sequence[Key],
    stream: int,
    *,
    rounds: int,
    samples: int,
    horizon: int,
    action_dim: int,
    knots: int,
    device: torch.device | str,
) -> Tensor:
    """Unit normal noise (E, rounds, samples, horizon, action_dim), interpolated over time between ``knots`` points.

    ``knots=1`` holds one number over the whole horizon; ``knots=horizon`` or more is white noise.
    """
    knots = min(knots, horizon)
    shape = (rounds, samples, knots, action_dim)
    drawn = np.stack([generator(key, stream).standard_normal(shape, dtype=np.float32) for key in keys])
    weights = np.maximum(0.0, 1.0 - np.abs(np.linspace(0, knots - 1, horizon)[:, None] - np.arange(knots)[None]))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)  # so that unit noise stays unit noise
    return torch.from_numpy(np.einsum("hk,ernka->ernha", weights.astype(np.float32), drawn)).to(device)
