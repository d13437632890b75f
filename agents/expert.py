"""Experts: agents that solve a task because they see the simulator's true state."""

from typing import Any

import numpy as np

from sfvgen_plan.agents.base import EnvAgent, Stateless
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.errors import UserError


class ExpertAgent(Stateless):
    """The expert of whatever task is played (an ``EnvAgent``), made by the task's family."""

    def __init__(self) -> None:
        self._expert: EnvAgent | None = None

    def reset(self, task: str, seed: int) -> None:
        """A new episode. Raises UserError: unknown task, or one without an expert."""
        self._expert = expert_of(task)
        self._expert.reset(task, seed)

    def act(self, env: Any) -> np.ndarray:
        assert self._expert is not None, "call reset first"
        return self._expert.act(env)


def expert_of(task: str) -> EnvAgent:
    """A new expert for a task. Raises UserError: unknown task, or one without an expert."""
    family = family_of(task)
    if not family.expert:
        raise UserError(f"task={task!r}: {family.title} has no expert; choose another agent")
    expert: EnvAgent = resolve(family.expert)(task)
    return expert
