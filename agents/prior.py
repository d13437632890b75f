"""A behaviour-cloned prior alone: what the real frames so far show is answered, and nothing imagined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.agents.sub_goals import SubGoals
from sfvgen_plan.simulation import Prior


class PriorAgent(FollowingAgent):
    """Plays the prior's action."""

    def __init__(self, simulator: Any, prior: Prior, *, seed: int = 0, sub_goals: SubGoals | None = None) -> None:
        super().__init__(simulator, seed, sub_goals)
        self.prior = prior

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1]."""
        return self.prior.act(state.features).float().clamp(-1.0, 1.0).cpu().numpy()
