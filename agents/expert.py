"""The experts of the real simulators: Metaworld's scripted policies, RLBench's own demonstrations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import EnvAgent, PlanCost
from sfvgen_plan.agents.memory_expert import MemoryExpert
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.envs.rlbench.tasks import is_made
from sfvgen_plan.envs.simulators import MEMORY, RLBENCH, simulator_of
from sfvgen_plan.envs.tasks import canonical


class ExpertAgent:
    """Metaworld's hand-written policy for the task. An ``EnvAgent``: it reads the true state, never the frame.

    For RLBench's tasks, which have none, a ``DemonstratedExpert`` (for ``rlbench/return`` a ``ReturnExpert``); for the
    memory tasks a ``MemoryExpert``.
    """

    def __init__(self) -> None:
        self._policy: Any = None
        self._other: EnvAgent | None = None

    def reset(self, task: str, seed: int) -> None:
        """Choose the policy of ``task``; the seed is used by demonstrations only.

        Raises:
            UserError: unknown task.
        """
        self._other = _other_expert(task)
        if self._other is not None:
            self._other.reset(task, seed)
            return
        import_mujoco()
        from metaworld.policies import ENV_POLICY_MAP  # imports all of Metaworld: only when an expert is played

        policy: Any = ENV_POLICY_MAP[canonical(task)]
        self._policy = policy()

    def act(self, env: Any) -> np.ndarray:
        """The unwrapped environment -> action (4,), for RLBench (7,), float32 in [-1, 1]."""
        if self._other is not None:
            return self._other.act(env)
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


def _other_expert(task: str) -> EnvAgent | None:
    """Who plays the tasks that aren't Metaworld's."""
    simulator = simulator_of(task)
    if simulator is MEMORY:
        return MemoryExpert()
    if simulator is not RLBENCH:
        return None
    from sfvgen_plan.agents.rlbench_demos import DemonstratedExpert
    from sfvgen_plan.agents.rlbench_return_expert import ReturnExpert

    return ReturnExpert() if is_made(task) else DemonstratedExpert()
