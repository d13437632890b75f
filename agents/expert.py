"""Experts: agents that solve a task because they see the simulator's true state."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import EnvAgent, PlanCost
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.envs.metaworld.family import FAMILY as METAWORLD
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.envs.rlbench.family import is_made
from sfvgen_plan.errors import UserError


class ExpertAgent:
    """The expert of whatever task is played (an ``EnvAgent``), made by the task's family."""

    def __init__(self) -> None:
        self._expert: EnvAgent | None = None

    def reset(self, task: str, seed: int) -> None:
        """A new episode.

        Raises:
            UserError: unknown task, or one without an expert.
        """
        self._expert = expert_of(task)
        self._expert.reset(task, seed)

    def act(self, env: Any) -> np.ndarray:
        """The unwrapped environment -> action (A,) float32 in [-1, 1]."""
        assert self._expert is not None, "call reset first"
        return self._expert.act(env)

    def stats(self) -> PlanCost:
        """Experts plan nothing that is counted."""
        return PlanCost()


class MetaworldExpert:
    """Metaworld's scripted policy of one task (an ``EnvAgent``): it reads the true state, never the frame.

    Raises:
        UserError: unknown task.
    """

    def __init__(self, task: str) -> None:
        name = METAWORLD.canonical(task)
        import_mujoco()
        from metaworld.policies import ENV_POLICY_MAP  # imports all of Metaworld: only when an expert is played

        policy: Any = ENV_POLICY_MAP[name]
        self._policy = policy()

    def reset(self, task: str, seed: int) -> None:
        """Nothing is kept between episodes."""

    def act(self, env: Any) -> np.ndarray:
        """The unwrapped environment -> action (4,) float32 in [-1, 1]."""
        return self.act_on_state(env.state)

    def act_on_state(self, state: np.ndarray) -> np.ndarray:
        """Metaworld's observation with the goal visible (39,) -> action (4,) float32 in [-1, 1]."""
        with warnings.catch_warnings():
            # The policies warn that their gains saturate the action; clipping is what they are meant for.
            warnings.simplefilter("ignore")
            action = self._policy.get_action(state)
        return np.clip(np.asarray(action, dtype=np.float32), -1.0, 1.0)

    def stats(self) -> PlanCost:
        """A scripted policy plans nothing."""
        return PlanCost()


def expert_of(task: str) -> EnvAgent:
    """A new expert for a task.

    Raises:
        UserError: unknown task, or one without an expert.
    """
    family = family_of(task)
    if not family.expert:
        raise UserError(f"task={task!r}: {family.title} has no expert; choose another agent")
    expert: EnvAgent = resolve(family.expert)(task)
    return expert


def rlbench_expert(task: str) -> EnvAgent:
    """RLBench's own demonstrations, or the scripted expert of the task that is made on its table."""
    from sfvgen_plan.agents.rlbench_demos import DemonstratedExpert
    from sfvgen_plan.agents.rlbench_return_expert import ReturnExpert

    return ReturnExpert() if is_made(task) else DemonstratedExpert()
