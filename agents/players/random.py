"""``--agent random``: the floor of every table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sfvgen_plan.agents.base import AgentSettings, Given, PlanCost
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(AgentSettings):
    """Uniformly random actions."""

    order: ClassVar[int] = 10
    control: ClassVar[bool] = True
    needs_checkpoint: ClassVar[bool] = False

    action_dim: int | None = setting(None, "numbers in an action; null = those of the task's default actions")


def build(settings: Settings, given: Given) -> RandomAgent:
    """The agent."""
    return RandomAgent(settings.action_dim, given.seed)


class RandomAgent:
    """Plays actions drawn uniformly from [-1, 1] (a ``BatchAgent``). An episode's actions depend only on the agent's
    ``seed`` and the episode's.

    Args:
        action_dim: numbers in an action; None for those of the task's default actions.
        seed: at least 0.
    """

    def __init__(self, action_dim: int | None = None, seed: int = 0) -> None:
        if action_dim is not None and (type(action_dim) is not int or action_dim < 1):
            raise UserError(f"action_dim={action_dim!r} must be a whole number of at least 1, or null")
        self.action_dim, self.seed = action_dim, seed
        self._generators: dict[int, np.random.Generator] = {}
        self._sizes: dict[int, int] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            self._sizes[int(lane)] = self.action_dim or family_of(task).action_dim
            self._generators[int(lane)] = np.random.default_rng([self.seed, int(seed)])

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Actions (E, A); the frames are not looked at."""
        drawn = [self._generator(lane).uniform(-1.0, 1.0, self._sizes[int(lane)]) for lane in lanes]
        return np.asarray(drawn, dtype=np.float32)

    def stats(self, lane: int) -> PlanCost:
        """Nothing: it does not plan."""
        return PlanCost()

    def _generator(self, lane: int) -> np.random.Generator:
        try:
            return self._generators[int(lane)]
        except KeyError:
            raise UserError(f"lane={lane} plays no episode; call reset with it first") from None
