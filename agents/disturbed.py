"""Agents made worse on purpose: one agent at several strengths."""

from collections.abc import Sequence

import numpy as np

from sfvgen_plan.agents.base import BatchAgent, PlanCost, tell
from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.agents.noise import Stream, generator
from sfvgen_plan.errors import check_number


class DisturbedAgent(FollowingAgent):
    """A ``BatchAgent`` with Gaussian ``noise`` of that deviation on each number of an action, before it is clipped to
    [-1, 1], and with uniformly ``random`` decisions at that probability. One that follows its episodes is told what is
    played instead of its actions. Raises UserError: a number out of range.

    What disturbs an episode depends on its seed and decision alone, so an agent meets the same disturbance in two
    simulators.
    """

    def __init__(self, agent: BatchAgent, noise: float = 0.0, random: float = 0.0) -> None:
        check_number("noise", noise, 0)
        check_number("random", random, 0, 1)
        super().__init__(None)
        self.agent, self.noise, self.random = agent, noise, random

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        super().reset(lanes, tasks, seeds)
        self.agent.reset(lanes, tasks, seeds)

    def told(self, lanes: Sequence[int], texts: Sequence[str]) -> None:
        tell(self.agent, lanes, texts)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        answered = self.agent.act(lanes, frames)
        actions = self.answered(lambda: ([self.lane(lane) for lane in lanes], answered))
        if isinstance(self.agent, FollowingAgent):
            self.agent.executed(lanes, actions)
        return actions

    def answer(self, lanes: Sequence[Lane], state: np.ndarray) -> np.ndarray:
        """The actions (E, A) that are left of ``state``, those of the agent."""
        return np.stack([self._disturbed(lane, action) for lane, action in zip(lanes, state, strict=True)])

    def stats(self, lane: int) -> PlanCost:
        return self.agent.stats(lane)

    def _disturbed(self, lane: Lane, action: np.ndarray) -> np.ndarray:
        drawn = generator((0, lane.seed, lane.decision), Stream.DISTURBANCE)
        chance, uniform = drawn.random(), drawn.uniform(-1.0, 1.0, len(action))
        noisy = action + self.noise * drawn.standard_normal(len(action))
        return (uniform if chance < self.random else noisy.clip(-1.0, 1.0)).astype(np.float32)
