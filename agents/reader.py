"""The expert, told what a model reads out of the frames: whether it is the reading or the policy that loses an episode.
Settings: see ``agents.players.simple``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.behaviour import expert_of
from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError


class ReaderAgent:
    """Plays what the expert would if object and goal were where the model reads them (an ``EnvAgent``); the rest of the
    state it knows. ``parts``: which of the two are read."""

    def __init__(self, simulator: Any, parts: Sequence[str], seed: int = 0) -> None:
        self._misled = _Misled(simulator, parts, seed)

    def reset(self, task: str, seed: int) -> None:
        """A new episode. Raises UserError: its expert is not led by the state alone, so it can't be told another."""
        self._misled.expert = expert_of(task)
        if not hasattr(self._misled.expert, "act_misled") or family_of(task).layout is None:
            raise UserError(f"task={task!r}: its expert can't be told another state; give a task of Metaworld")
        self._misled.expert.reset(task, seed)
        self._misled.reset([0], [task], [seed])

    def act(self, env: Any) -> np.ndarray:
        self._misled.env = env
        return self._misled.act([0], env.render()[None])[0]

    def stats(self) -> PlanCost:
        return self._misled.stats(0)


class _Misled(FollowingAgent):
    """Follows the one episode whose frames it is shown."""

    expert: Any
    env: Any

    def __init__(self, simulator: Any, parts: Sequence[str], seed: int) -> None:
        super().__init__(simulator, seed)
        self.parts = parts

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        family = family_of(lanes[0].task)
        gap = self.simulator.read(state).estimates[0, -1].cpu().numpy() - self.env.estimates
        error = np.zeros_like(self.env.state)
        for part in self.parts:
            read = [name.startswith(f"{part}_") for name in family.source.readouts]
            error[getattr(family.layout, part)] = gap[read]
        return self.expert.act_misled(self.env, error)[None]
