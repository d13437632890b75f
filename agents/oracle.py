"""The oracle: the same search as the learned simulator's, in the true one. It bounds what planning can reach."""

from functools import lru_cache
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.planning import Planner, PlanningAgent
from sfvgen_plan.envs.family import family_of, resolve


class OracleAgent:
    """Plans on the true state and the true reward (an ``EnvAgent``), with a search without a prior. Plans on an
    environment of its own and never touches the real one."""

    def __init__(self, planner: Planner, seed: int = 0) -> None:
        self._planning = PlanningAgent(None, planner, seed=seed)

    def reset(self, task: str, seed: int) -> None:
        self._planning.reset([0], [task], [seed])

    def act(self, env: Any) -> np.ndarray:
        self._planning.simulator = simulator = _simulator(env.task, env.repeat)
        moment = [self._planning.lane(0)], simulator.begin_at([env.snapshot()])
        return self._planning.answered(lambda: moment)[0]

    def stats(self) -> PlanCost:
        return self._planning.stats(0)


@lru_cache(maxsize=1)
def _simulator(task: str, repeat: int) -> Any:
    """The true simulator of the task that is played."""
    return resolve(family_of(task).true_simulator)(task, repeat)
