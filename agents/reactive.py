"""Agents that imagine nothing: the behaviour-cloned prior alone, and random actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.agents.sub_goals import SubGoals
from sfvgen_plan.envs.family import family_of

if TYPE_CHECKING:
    from sfvgen_plan.simulation import Prior


class PriorAgent(FollowingAgent):
    """Plays the prior's action for what the real frames so far show."""

    def __init__(self, simulator: Any, prior: Prior, *, seed: int = 0, sub_goals: SubGoals | None = None) -> None:
        super().__init__(simulator, seed, sub_goals)
        self.prior = prior

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        return self.prior.act(state.features).detach().float().clamp(-1.0, 1.0).cpu().numpy()


class RandomAgent(FollowingAgent):
    """Plays actions drawn uniformly from [-1, 1]. They depend only on the agent's ``seed`` and the episode's.
    ``action_dim``: numbers in an action; None for those of the task's simulator."""

    def __init__(self, action_dim: int | None = None, seed: int = 0) -> None:
        super().__init__(None, seed)
        self.action_dim = action_dim

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        return np.stack([self._drawn(lane) for lane in lanes])

    def _drawn(self, lane: Lane) -> np.ndarray:
        """The episode's next action (A,)."""
        lane.kept = lane.kept or np.random.default_rng([self.seed, lane.seed])
        return lane.kept.uniform(-1.0, 1.0, self.action_dim or family_of(lane.task).action_dim).astype(np.float32)
