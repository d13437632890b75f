"""Agents made worse on purpose: one agent at several strengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfvgen_plan.agents.base import BatchAgent, PlanCost, tell
from sfvgen_plan.agents.lanes import FollowingAgent
from sfvgen_plan.agents.noise import Stream, generator
from sfvgen_plan.errors import UserError


class DisturbedAgent:
    """A ``BatchAgent`` with noise on its actions, and some of them random.

    What disturbs an episode depends on its seed and decision alone, so an agent meets the same disturbance in two
    simulators.

    Args:
        agent: who is disturbed. One that follows its episodes is told what is played instead of its actions.
        noise: standard deviation of the Gaussian noise on each number of an action, before it is clipped to [-1, 1].
        random: probability that a decision is uniformly random instead.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, agent: BatchAgent, noise: float = 0.0, random: float = 0.0) -> None:
        if not 0.0 <= noise < float("inf"):
            raise UserError(f"noise={noise} must be at least 0 and finite")
        if not 0.0 <= random <= 1.0:
            raise UserError(f"random={random} is no probability; give 0 to 1")
        self.agent, self.noise, self.random = agent, noise, random
        self._next: dict[int, tuple[int, int]] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.agent.reset(lanes, tasks, seeds)
        self._next.update({int(lane): (int(seed), 0) for lane, seed in zip(lanes, seeds, strict=True)})

    def told(self, lanes: Sequence[int], texts: Sequence[str]) -> None:
        tell(self.agent, lanes, texts)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        answered = np.asarray(self.agent.act(lanes, frames), np.float32)
        actions = np.stack([self._disturbed(int(lane), action) for lane, action in zip(lanes, answered, strict=True)])
        if isinstance(self.agent, FollowingAgent):
            self.agent.executed(lanes, actions)
        return actions

    def stats(self, lane: int) -> PlanCost:
        return self.agent.stats(lane)

    def _disturbed(self, lane: int, action: np.ndarray) -> np.ndarray:
        seed, decision = self._next[lane]
        self._next[lane] = seed, decision + 1
        drawn = generator((0, seed, decision), Stream.DISTURBANCE)
        chance, uniform = drawn.random(), drawn.uniform(-1.0, 1.0, len(action))
        if chance < self.random:
            return uniform.astype(np.float32)
        noisy = action + self.noise * drawn.standard_normal(len(action))
        return noisy.clip(-1.0, 1.0).astype(np.float32)
