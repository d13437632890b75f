"""What an agent is: one that plays a single episode, and one that plays many side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class PlanCost:
    """What the decisions of one episode have cost so far.

    ``denoiser_calls`` counts forward passes of the denoiser for this episode's share of the batch,
    ``imagined_decisions`` the decisions imagined on its behalf, ``plan_seconds`` wall time inside ``act``
    divided by the episodes that shared the call.
    """

    plan_seconds: float = 0.0
    denoiser_calls: int = 0
    imagined_decisions: int = 0


@runtime_checkable
class Agent(Protocol):
    """Plays one episode."""

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of ``task``; ``seed`` decides all that the agent draws."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Frame (H, W, 3) uint8 -> actions (G, A) or (A,) in [-1, 1], to execute before the next call."""

    def stats(self) -> PlanCost:
        """Cost of the episode so far."""


@runtime_checkable
class BatchAgent(Protocol):
    """Plays episodes in lanes, one episode a lane. Lanes are independent: one never changes another's actions."""

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``; other lanes go on. A lane that was never seen before is created."""

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frame of each lane named, (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1], one decision each."""

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode."""


@runtime_checkable
class EnvAgent(Protocol):
    """An agent with access to the real environment (scripted expert, oracle): it runs beside it, in its process."""

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of ``task``; ``seed`` decides all that the agent draws."""

    def act(self, env: Any) -> np.ndarray:
        """The unwrapped real environment -> action (A,) in [-1, 1]. Leaves the environment as it was."""

    def stats(self) -> PlanCost:
        """Cost of the episode so far."""
